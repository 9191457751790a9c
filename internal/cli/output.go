package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/reports"
)

func writeReports(r *result.Run, dir string) error {
	var errs []error
	formats := reports.Formats()
	// The result first: every other report can be made from it again.
	slices.SortStableFunc(formats, func(a, b reports.Format) int {
		return boolInt(b.Name == "json") - boolInt(a.Name == "json")
	})
	for _, f := range formats {
		if f.File == "" {
			continue
		}
		errs = append(errs, writeReport(f, r, filepath.Join(dir, f.File)))
	}
	return errors.Join(errs...)
}

func writeReport(f reports.Format, r *result.Run, file string) error {
	return writeFile(file, func(w io.Writer) error { return f.Write(w, r) })
}

func writeFile(file string, write func(io.Writer) error) error {
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := errors.Join(write(out), out.Close()); err != nil {
		return errors.Join(fmt.Errorf("report: %w", err), os.Remove(file)) // half a report is none
	}
	return nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
