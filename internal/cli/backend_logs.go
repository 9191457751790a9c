package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/lab"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// backendLogs keeps what the servers behind the router wrote, as evidence/backend-NAME.log, where a run did not pass.
type backendLogs struct {
	dir string
	run *result.Growing
}

func (b backendLogs) save(name string, log []byte) error {
	file := filepath.Join("evidence", "backend-"+strings.ReplaceAll(name, string(filepath.Separator), "_")+".log")
	if err := os.MkdirAll(filepath.Join(b.dir, "evidence"), 0o755); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, file), log, 0o644); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	b.run.Change(func(r *result.Run) { r.Artifacts = append(r.Artifacts, file) })
	return nil
}

// unlessPassed saves the logs of a lab that is still up when its run ended with err, or will be judged as anything but a pass.
func (b backendLogs) unlessPassed(ctx context.Context, l *lab.Lab, err error) error {
	if err == nil && ctx.Err() == nil && b.run.Copy().Judge() == result.ExitOK {
		return nil
	}
	logs := l.BackendLogs(ctx)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(logs)) {
		errs = append(errs, b.save(name, logs[name]))
	}
	return errors.Join(errs...)
}
