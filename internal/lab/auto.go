package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// realness is the order in which auto tries.
var realness = []string{backend.Container, backend.Local, backend.Embedded}

// lookTimeout bounds how long auto looks whether one driver can be had: an engine that does not answer must not hold a run up. It is less than
// what the container driver itself gives an engine, so that its silence is known to be one.
const lookTimeout = 9 * time.Second

// silent remembers the drivers that did not answer in time, and what came of it: the next backend does not wait for the same again.
type silent map[string]error

// remember looks only where nothing was silent before.
func (s silent) remember(look func(ctx context.Context, driver string) error) func(ctx context.Context, driver string) error {
	return func(ctx context.Context, driver string) error {
		if err := s[driver]; err != nil {
			return err
		}
		err := look(ctx, driver)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("no answer in %v: %w", lookTimeout, err)
			s[driver] = err
		}
		return err
	}
}

// mostReal is what auto takes of the drivers that a kind has, and why: the first of realness that is available.
func mostReal(ctx context.Context, b scenario.Backend, drivers []string, available func(ctx context.Context, driver string) error) (driver, why string, err error) {
	if len(drivers) == 1 {
		return drivers[0], fmt.Sprintf("chosen by auto: %s is the one driver of kind %s", drivers[0], b.Kind), nil
	}
	look := func(driver string) error {
		switch {
		case driver == backend.Container && b.Version != "" && b.Image == "":
			return fmt.Errorf("version %s is asked of the servers of this machine: for a container say image", b.Version)
		case driver == backend.Container && !slices.Contains(drivers, backend.Local): // one of our own kinds
			return errors.New("what this very program serves is as real in this process")
		}
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		return available(ctx, driver)
	}
	var reasons []string
	for _, driver := range realness {
		if !slices.Contains(drivers, driver) {
			continue
		}
		if err = look(driver); err == nil {
			reasons = append(reasons, driver+" works here")
			return driver, "chosen by auto: " + strings.Join(reasons, "; "), nil
		}
		if ctx.Err() != nil {
			return "", "", context.Cause(ctx)
		}
		reasons = append(reasons, fmt.Sprintf("no %s (%v)", driver, err))
	}
	return "", "", fmt.Errorf("backend %s: auto finds no driver of kind %s: %s", b.Name, b.Kind, strings.Join(reasons, "; "))
}
