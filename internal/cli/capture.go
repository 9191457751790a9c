package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/tlsroute/tlsroute-bench/internal/lab"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// captureDir is the folder of a run's capture, beside the report.
const captureDir = "capture"

// record captures the run until stop, which puts the files and what must be known of them into r. That packets may not be read is no
// failure of the run.
func (o *runner) record(ctx context.Context, l *lab.Lab, r *result.Growing, dir string) (stop func() error, err error) {
	recording, err := l.Record(ctx, filepath.Join(dir, captureDir))
	if err != nil {
		return nil, err
	}
	return func() error {
		files, notes, err := recording.Stop()
		for _, n := range notes {
			o.log.Warn(n)
		}
		r.Change(func(r *result.Run) {
			for _, f := range files {
				r.Artifacts = append(r.Artifacts, captureDir+"/"+f)
			}
			if r.Bench != nil {
				notes = append(notes, "The run was captured while it was measured: without --capture the figures are better.")
			}
			r.CaptureNotes = notes
		})
		if err != nil {
			return fmt.Errorf("capture: %w", err)
		}
		return nil
	}, nil
}
