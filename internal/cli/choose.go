package cli

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/baseline"
	"github.com/tlsroute/tlsroute-bench/internal/document"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// baselines reads that of --baseline and those of the targets that are judged. An earlier report given as --baseline is one of the
// measurement, and knows nothing of the checks.
func (o *runner) baselines(file string) (known []conformance.Known, err error) {
	var files []string
	switch {
	case isReport(file):
		if o.earlier, err = readReport(file); err != nil {
			return nil, usagef("--baseline: %w", err)
		}
		if o.earlier.Bench == nil || !o.earlier.Bench.Validity.OK {
			return nil, usagef("--baseline: %s has no valid measurement to compare with", file)
		}
	case file != "":
		files = append(files, file)
	}
	for _, role := range slices.Sorted(maps.Keys(o.strangers)) {
		if b := o.strangers[role].Baseline; b != "" {
			files = append(files, b)
		}
	}
	for _, f := range files {
		list, err := loadBaseline(f)
		if err != nil {
			return nil, err
		}
		known = append(known, list...)
	}
	return known, nil
}

// isReport tells a report, or the folder of one, from a file of known failures: it is JSON and names its schema.
func isReport(file string) bool {
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		return true
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	var head struct {
		Schema string `json:"schema"`
	}
	return json.Unmarshal(data, &head) == nil && head.Schema != ""
}

// loadBaseline reads a baseline for a command; its faults are printed whole and end the command with status 2.
func loadBaseline(file string) ([]conformance.Known, error) {
	known, err := baseline.Load(file)
	if faults, ok := errors.AsType[*document.Faults](err); ok {
		return nil, usagef("the baseline %s has %s; nothing was started\n%w", file, plural(len(faults.List), "fault"), err)
	}
	return known, withStatus(result.ExitUsage, err)
}

// asExpected are the verdicts of checks that are not run again: they passed, or there is nothing to run.
var asExpected = []result.CheckVerdict{result.CheckPass, result.CheckTolerated, result.CheckXFail, result.CheckUnsupported}

// failedIn lists the checks that did not pass in a report, or were not run, on one path at least. It is empty and not nil when all
// passed.
func failedIn(file string) ([]string, error) {
	run, err := readReport(file)
	if err != nil {
		return nil, usagef("--rerun-failed: %w", err)
	}
	if run.Conformance == nil {
		return nil, usagef("--rerun-failed: %s is of a run without checks", file)
	}
	ids := []string{}
	for _, r := range run.Conformance.Results {
		if !slices.Contains(asExpected, r.Verdict) && !slices.Contains(ids, r.Check) {
			ids = append(ids, r.Check)
		}
	}
	return ids, nil
}
