package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/reports"
)

func compareCommand(env Env) *cli.Command {
	var names []string
	for _, f := range reports.CompareFormats {
		names = append(names, f.Name)
	}
	return &cli.Command{
		Name:      "compare",
		Usage:     "put two or more stored reports side by side; the first is what the others are compared with",
		ArgsUsage: "REPORT REPORT...",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: "text", Usage: strings.Join(names, ", ")},
			&cli.StringFlag{Name: "out", Usage: "leave compare.html, compare.md and compare.json with its schema in `DIR` as well"},
		},
		Action: func(c *cli.Context) error {
			format, err := compareFormat(c.String("format"), names)
			if err != nil {
				return err
			}
			if c.NArg() < 2 {
				return usagef("report compare takes two or more report.json, or the folders they are in")
			}
			var list []reports.Labeled
			var runs []*result.Run
			for _, file := range c.Args().Slice() {
				run, err := readReport(file)
				if err != nil {
					return withStatus(result.ExitUsage, err)
				}
				list, runs = append(list, reports.Labeled{Label: reportLabel(file), Run: run}), append(runs, run)
			}
			compared, err := reports.Compare(list, against(runs))
			if err != nil {
				return err
			}
			if dir := c.String("out"); dir != "" {
				if err := writeComparison(compared, dir); err != nil {
					return err
				}
			}
			return format.Write(env.Stdout, compared)
		},
	}
}

func compareFormat(name string, known []string) (reports.CompareFormat, error) {
	for _, f := range reports.CompareFormats {
		if f.Name == name {
			return f, nil
		}
	}
	return reports.CompareFormat{}, usagef("--format %s: want one of %s", name, strings.Join(known, ", "))
}

// against gives the statistics of each later run against the first one; nil where one of the two has no measurement.
func against(runs []*result.Run) []*result.Against {
	var out []*result.Against
	for _, run := range runs[1:] {
		if run.Bench == nil || runs[0].Bench == nil {
			out = append(out, nil)
			continue
		}
		out = append(out, bench.Against(run.Bench, run.Run.Host, runs[0]))
	}
	return out
}

// reportLabel is the name of the folder a report is in: the default one has the scenario and the time.
func reportLabel(file string) string {
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	if info, err := os.Stat(file); err == nil && !info.IsDir() {
		if name := filepath.Base(file); name != "report.json" {
			return strings.TrimSuffix(name, ".json")
		}
		file = filepath.Dir(file)
	}
	return filepath.Base(file)
}

func writeComparison(c *reports.Compared, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("output folder: %w", err)
	}
	var errs []error
	for _, f := range reports.CompareFormats {
		if f.File != "" {
			errs = append(errs, writeFile(filepath.Join(dir, f.File), func(w io.Writer) error { return f.Write(w, c) }))
		}
	}
	return errors.Join(errs...)
}
