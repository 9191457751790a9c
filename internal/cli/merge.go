package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/reports"
)

func reportMergeCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "merge",
		Usage: "put measurements together exactly: histograms are added bucket by bucket, and no percentile is averaged",
		Description: "Reports of the parts of one plan (see agent) become that plan's; others are further runs of the same measurement, whose pairs of\n" +
			"windows follow each other. The .hlog files must be beside the reports. Of .hlog files alone the distributions are printed, and with\n" +
			"--out DIR they are merged into DIR/merged.hlog.",
		ArgsUsage: "report.json|DIR|FILE.hlog...",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "write the merged report and logs to `DIR` (default for reports: reports/out/merged-<time>)"},
			&cli.StringFlag{Name: "format", Value: "text", Usage: "what to print on standard output: text, json, github, markdown, …"},
		},
		Action: func(c *cli.Context) error {
			files := c.Args().Slice()
			if len(files) == 0 {
				return usagef("report merge takes reports, or .hlog files")
			}
			format, err := reports.Get(c.String("format"))
			if err != nil {
				return usagef("--format: %w", err)
			}
			switch logs := len(slices.DeleteFunc(slices.Clone(files), func(f string) bool { return !strings.HasSuffix(f, ".hlog") })); {
			case logs == len(files):
				return withStatus(result.ExitUsage, mergeLogs(env, files, c.String("out")))
			case logs > 0:
				return usagef("report merge takes reports or .hlog files, not both: a report finds its own logs")
			}
			var runs []*result.Run
			var parts []bench.Part
			for _, file := range files {
				run, err := readReport(file)
				if err != nil {
					return withStatus(result.ExitUsage, err)
				}
				runs = append(runs, run)
				dir := file
				if info, err := os.Stat(file); err == nil && !info.IsDir() {
					dir = filepath.Dir(file)
				}
				parts = append(parts, bench.Part{Name: file, Bench: run.Bench, Log: logsIn(dir)})
			}
			dir := c.String("out")
			if dir == "" {
				dir = filepath.Join("reports", "out", "merged-"+time.Now().UTC().Format("20060102-150405"))
			}
			run, err := mergeRuns(runs, parts, nil, dir)
			if err != nil {
				return withStatus(result.ExitUsage, err)
			}
			run.Run.Command = append([]string{"tlsroute-bench"}, env.Args[1:]...)
			return finish(env, run, dir, format, c.Bool("quiet"))
		},
	}
}

// mergeRuns merges the measurements of runs of one scenario into a run whose logs are in dir. Limits nil means those of the parts.
func mergeRuns(runs []*result.Run, parts []bench.Part, limits []string, dir string) (*result.Run, error) {
	first := runs[0]
	out := &result.Run{
		Schema: result.Schema, Scenario: first.Scenario, Run: first.Run,
		Backends: first.Backends, LoadBalancers: first.LoadBalancers, Topology: first.Topology, Wire: first.Wire, WireSource: first.WireSource,
	}
	out.Run.ID = newID()
	for i, r := range runs {
		switch {
		case r.Bench == nil:
			return nil, fmt.Errorf("%s: it has no measurement", parts[i].Name)
		case r.Scenario.SHA256 != first.Scenario.SHA256:
			return nil, fmt.Errorf("%s is of scenario %s, and %s of %s, or of another version of it", parts[0].Name, first.Scenario.Name, parts[i].Name, r.Scenario.Name)
		}
		if r.Run.Started.Before(out.Run.Started) {
			out.Run.Started = r.Run.Started
		}
		if r.Run.Finished.After(out.Run.Finished) {
			out.Run.Finished = r.Run.Finished
		}
		out.Partial = out.Partial || r.Partial
		out.Faults = append(out.Faults, r.Faults...)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("output folder: %w", err)
	}
	var err error
	out.Bench, err = bench.Merge(parts, bench.MergeOptions{Seed: first.Run.Seed, Limits: limits, Log: keepLog(dir, out)})
	return out, err
}

// keepLog makes the logs of a run in its folder, and artifacts of them.
func keepLog(dir string, r *result.Run) func(string) (io.WriteCloser, error) {
	return func(name string) (io.WriteCloser, error) {
		if name != filepath.Base(name) {
			return nil, fmt.Errorf("log %q: want a name without folders", name)
		}
		r.Artifacts = append(r.Artifacts, name)
		return os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) // the parts may be in the same folder
	}
}

// logsIn opens logs of a folder by the names that a report, perhaps a foreign one, gives them.
func logsIn(dir string) func(string) (io.ReadCloser, error) {
	return func(name string) (io.ReadCloser, error) {
		if name != filepath.Base(name) {
			return nil, fmt.Errorf("log %q: want a name without folders", name)
		}
		return os.Open(filepath.Join(dir, name))
	}
}

// finish judges a run, writes its reports and says what came of it.
func finish(env Env, r *result.Run, dir string, format reports.Format, quiet bool) error {
	status := r.Judge()
	if err := errors.Join(writeReports(r, dir), format.Write(env.Stdout, r)); err != nil {
		return withStatus(result.ExitInconclusive, err)
	}
	if !quiet {
		fmt.Fprintf(env.Stderr, "report: %s\n", filepath.Join(dir, "report.html"))
	}
	if status == result.ExitOK {
		return nil
	}
	return silent(status)
}

func mergeLogs(env Env, files []string, dir string) (err error) {
	var logs []io.Reader
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("report merge: %w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		logs = append(logs, f)
	}
	out := io.Discard
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("output folder: %w", err)
		}
		f, err := os.OpenFile(filepath.Join(dir, "merged.hlog"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return fmt.Errorf("report merge: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	phases, err := bench.MergeLogs(out, logs)
	if err != nil {
		return fmt.Errorf("report merge: %w", err)
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "tag\tcount\tp50\tp90\tp99\tp99.9\tmax")
	for _, tag := range slices.Sorted(maps.Keys(phases)) {
		p := phases[tag]
		fmt.Fprintf(w, "%s\t%d", tag, p.Count)
		for _, ns := range []int64{p.P50NS, p.P90NS, p.P99NS, p.P999NS, p.MaxNS} {
			fmt.Fprintf(w, "\t%v", time.Duration(ns))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
