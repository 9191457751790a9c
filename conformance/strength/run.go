package strength

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Options of a measurement.
type Options struct {
	// Faults are those that are put before the target; see [Select].
	Faults []Fault
	// All runs every check of a router with each fault: Noticed then has others beside those of the fault.
	All bool
	// Checks are the seed and the like of the runs. What they choose is overridden.
	Checks conformance.Options
	// Progress is told of each fault as it has been measured.
	Progress func(done, total int, last Row)
}

// Report is what came of it, a row a fault.
type Report struct {
	Target string
	Rows   []Row
}

// Row says which checks noticed a fault. Each is counted once, whatever the number of paths.
type Row struct {
	Fault Fault
	// Noticed are ids of checks that FAIL with the fault, on one path at least, and conform on that path without; Missed those that
	// conform without and FAIL nowhere.
	Noticed, Missed []string
	// Absent are those that do not conform without the fault, or cannot be run: they say nothing.
	Absent []string
	// How is a line for each path of a check, as it ended with the fault.
	How []string
}

// Unnoticed says whether there were checks to notice the fault and none did.
func (r Row) Unnoticed() bool { return len(r.Noticed) == 0 && len(r.Missed) > 0 }

// Measured says whether there was anything to measure with.
func (r Row) Measured() bool { return len(r.Noticed)+len(r.Missed) > 0 }

// Run puts one fault after the other before a router and runs the checks that must notice it. First it runs them all before proxies
// without a fault: what does not conform then is left out, on the path on which it does not.
func Run(ctx context.Context, target conformance.Target, opt Options) (*Report, error) {
	if target.Role != conformance.Router {
		return nil, fmt.Errorf("the faults are put before routers, and %s is a target of the role %s", target.Name, target.Role)
	}
	opt.Faults = slices.Clone(opt.Faults)
	for i := range opt.Faults {
		opt.Faults[i].run = opt.Faults[i].Checks
		if opt.All {
			opt.Faults[i].run = judging()
		}
	}
	good, err := conforming(ctx, target, opt)
	if err != nil {
		return nil, err
	}
	report := &Report{Target: target.Name}
	for i, f := range opt.Faults {
		results, err := judge(ctx, target, f, f.run, opt.Checks)
		if err != nil {
			return report, err
		}
		row := weigh(f, results, good[kindOf(f)])
		report.Rows = append(report.Rows, row)
		if opt.Progress != nil {
			opt.Progress(i+1, len(opt.Faults), row)
		}
	}
	return report, nil
}

// kind is what faults have in common whose proxies are the same without them.
type kind struct {
	layer Layer
	idle  time.Duration
}

func kindOf(f Fault) kind { return kind{f.Layer, f.Idle} }

// conforming says of each kind which checks conform without a fault, each with its path.
func conforming(ctx context.Context, target conformance.Target, opt Options) (map[kind]map[string]bool, error) {
	good := map[kind]map[string]bool{}
	for _, f := range opt.Faults {
		k := kindOf(f)
		if good[k] != nil {
			continue
		}
		var ids []string
		for _, other := range opt.Faults {
			if kindOf(other) == k {
				ids = append(ids, other.run...)
			}
		}
		results, err := judge(ctx, target, f.none(), ids, opt.Checks)
		if err != nil {
			return nil, err
		}
		good[k] = map[string]bool{}
		for _, r := range results {
			good[k][r.Check+" "+r.Path] = r.Verdict == result.CheckPass || r.Verdict == result.CheckTolerated
		}
	}
	return good, nil
}

// judging are the checks of a router that can FAIL.
func judging() (ids []string) {
	for _, c := range conformance.Checks() {
		if c.Role == conformance.Router && c.Level != conformance.Info {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// judge runs checks with a fault before the target.
func judge(ctx context.Context, target conformance.Target, f Fault, ids []string, opt conformance.Options) ([]result.CheckResult, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	spoiled, end, err := before(target, f)
	if err != nil {
		return nil, fmt.Errorf("putting %s before the target: %w", f.Name, err)
	}
	defer end()
	opt.Only, opt.Skip, opt.Levels, opt.Tags, opt.Again = ids, nil, nil, nil, nil
	opt.Background, opt.Evidence, opt.Progress, opt.Known = 0, nil, nil, nil
	if f.Layer == Wire {
		opt.Parallel = 1 // a fault between connections is told by those of one check
	}
	spoiled.Known = nil
	c, err := conformance.Run(ctx, spoiled, opt)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("judging with %s before the target", f.Name), err)
	}
	return c.Results, nil
}

func weigh(f Fault, results []result.CheckResult, good map[string]bool) Row {
	row := Row{Fault: f}
	for _, id := range f.run {
		judged, noticed := false, false
		for _, r := range results {
			if r.Check != id || !good[r.Check+" "+r.Path] {
				continue
			}
			judged = true
			noticed = noticed || r.Verdict == result.CheckFail
			row.How = append(row.How, fmt.Sprintf("%s on %s: %s %s", r.Check, r.Path, r.Verdict, r.Outcome))
		}
		if !noticed && !slices.Contains(f.Checks, id) {
			continue
		}
		list := &row.Absent
		switch {
		case noticed:
			list = &row.Noticed
		case judged:
			list = &row.Missed
		}
		*list = append(*list, id)
	}
	return row
}
