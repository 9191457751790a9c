package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/lab"
	"github.com/tlsroute/tlsroute-bench/internal/progress"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// execute does the run, and keeps r at what is known of it. It returns an error for trouble of the harness only; ctx ending is no error
// here, for the caller sees it.
func (o *runner) execute(ctx context.Context, sc *scenario.Scenario, r *result.Growing, dir string, p *progress.Progress) (err error) {
	checks := o.checks
	if len(checks.Only) == 0 {
		checks.Only = sc.Conformance.Only
	}
	checks.Skip = slices.Concat(checks.Skip, sc.Conformance.Skip)
	if len(checks.Levels) == 0 {
		checks.Levels = sc.Conformance.Levels
	}
	if checks.Background == 0 {
		checks.Background = sc.Conformance.UnderLoad
	}
	judging := !o.noChecks && !sc.Conformance.Disabled
	measuring := !o.noBench && len(o.strangers) == 0 && !sc.Bench.Disabled && len(sc.Bench.Workloads) > 0

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	step := p.Step("topology", 0)
	logs := backendLogs{dir: dir, run: r}
	l, err := lab.Start(ctx, sc, lab.Options{
		Backends: o.backends, Conformance: judging, Strangers: o.strangers, Record: o.capture, Logger: o.log, Step: step.Note, Failed: cancel,
		KeepLog: func(name string, log []byte) {
			if err := logs.save(name, log); err != nil {
				o.log.Warn("the log of a backend is lost", "backend", name, "error", err)
			}
		},
	})
	step.Done()
	if err != nil {
		return unlessEnded(ctx, listenHint(err))
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		err = errors.Join(err, logs.unlessPassed(closing, l, err), l.Close(closing))
	}()
	if o.capture {
		stop, failed := o.record(ctx, l, r, dir)
		if failed != nil {
			return unlessEnded(ctx, failed)
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	topology := l.Topology()
	r.Change(func(r *result.Run) {
		r.Backends, r.LoadBalancers, r.Topology = l.Backends(), l.LoadBalancers(), topology
	})

	if len(o.strangers) == 0 {
		step = p.Step("wire", len(topology))
		wire, source, err := l.Walk(ctx, func(path string) { step.Note(path); step.Add(1) })
		r.Change(func(r *result.Run) {
			r.Wire, r.WireSource = wire, source
			r.CountTLS()
		})
		step.Done()
		if err != nil {
			return unlessEnded(ctx, fmt.Errorf("wire: %w", err))
		}
	}
	if judging {
		sink := &evidence{dir: dir}
		checks.Evidence, checks.Logger = sink, o.log
		version := r.Copy().Run.Version
		targets, failed := l.Targets(version)
		if failed != nil {
			return failed
		}
		stop := func() error { return nil }
		if checks.Background == 0 { // or the traffic beside the checks is all that a capture of the hops could hold
			stop = sink.watch(l, targets, o.log)
		}
		err := errors.Join(judge(ctx, targets, checks, r, p), stop())
		r.Change(func(r *result.Run) { r.Artifacts = append(r.Artifacts, sink.files...) })
		if err == nil {
			var likeness []result.Likeness
			likeness, err = compare(ctx, l.Pairs(version), checks, p)
			r.Change(func(r *result.Run) { r.Likeness = likeness })
		}
		if err != nil {
			return unlessEnded(ctx, fmt.Errorf("conformance: %w", err))
		}
	}
	if sc.Matrix != nil && len(o.strangers) == 0 && !o.noChecks {
		step = p.Step("matrix", 0)
		sink := &evidence{dir: dir}
		matrix, err := l.Matrix(ctx, sink, func(_, total int) { step.Total(total); step.Add(1) })
		r.Change(func(r *result.Run) { r.Matrix, r.Artifacts = matrix, append(r.Artifacts, sink.files...) })
		step.Done()
		if err != nil {
			return unlessEnded(ctx, fmt.Errorf("matrix: %w", err))
		}
	}
	if measuring {
		return o.measure(ctx, l, r, dir, p)
	}
	return nil
}

// measure runs the bench, and the scenario's faults meanwhile.
func (o *runner) measure(ctx context.Context, l *lab.Lab, r *result.Growing, dir string, p *progress.Progress) error {
	plan, err := l.Plan(o.checks.Seed)
	if err != nil {
		return err
	}
	total := 0
	for _, w := range plan.Workloads {
		total += len(w.Arms) * plan.Pairs * max(1, len(plan.Levels))
	}
	step := p.Step("bench", total)
	shown := benchSoFar{run: r, step: step, total: total}
	faults := l.PlayFaults(ctx, o.checks.Seed)
	opt := bench.Options{
		Logger: o.log,
		Log: func(name string) (io.WriteCloser, error) {
			r.Change(func(r *result.Run) { r.Artifacts = append(r.Artifacts, name) })
			return os.Create(filepath.Join(dir, name))
		},
		Progress: shown.progress,
		Opening:  shown.opening,
	}
	if !o.quiet || o.live != nil { // else nobody looks
		opt.Partial = shown.partial
	}
	measured, err := bench.Run(ctx, plan, opt)
	if measured != nil && o.earlier != nil {
		measured.Against = bench.Against(measured, r.Copy().Run.Host, o.earlier)
	}
	struck := faults.Stop()
	r.Change(func(r *result.Run) { r.Bench, r.Faults = measured, struck })
	step.Done()
	if err != nil {
		return unlessEnded(ctx, fmt.Errorf("bench: %w", err))
	}
	return nil
}

// judge puts the checks to every target and joins what came of them in r, each result as it comes. Run.Judge counts, and says so when
// there is nothing.
func judge(ctx context.Context, targets []conformance.Target, opt conformance.Options, r *result.Growing, p *progress.Progress) error {
	all := result.Conformance{Results: []result.CheckResult{}}
	show := func(so result.Conformance) { r.Change(func(r *result.Run) { r.Conformance = &so }) }
	show(all)
	for _, t := range targets {
		step := p.Step("checks: "+string(t.Role), 0)
		opt.Progress = func(done, total int, last result.CheckResult) {
			step.Total(total)
			if last.Verdict != result.CheckNotRun {
				step.Add(1)
			}
			if last.Verdict == result.CheckFail || last.Verdict == result.CheckInconclusive {
				step.Note(fmt.Sprintf("%s %s %s on %s", last.Verdict, last.Check, last.Slug, last.Path))
			}
			r.Change(func(r *result.Run) { r.Conformance.Results = append(r.Conformance.Results, last) })
		}
		part, err := conformance.Run(ctx, t, opt)
		step.Done()
		if part != nil { // what came one by one is replaced by the same in the catalogue's order
			all.Results = slices.Concat(all.Results, part.Results)
			all.Background = slices.Concat(all.Background, part.Background)
		}
		show(all)
		if err != nil {
			return err
		}
	}
	return nil
}

// compare puts the checks of load balancers to each real product and to the simulator's profile of it.
func compare(ctx context.Context, pairs []lab.Pair, opt conformance.Options, p *progress.Progress) ([]result.Likeness, error) {
	opt.Evidence, opt.Known = nil, nil // these are for verdicts
	var list []result.Likeness
	for _, pair := range pairs {
		step := p.Step("profile "+pair.Likeness.Profile+" beside the product", 0)
		opt.Progress = func(_, total int, _ result.CheckResult) {
			step.Total(2 * total)
			step.Add(1)
		}
		simulated, err := conformance.Run(ctx, pair.Simulated, opt)
		var real *result.Conformance
		if err == nil {
			real, err = conformance.Run(ctx, pair.Real, opt)
		}
		step.Done()
		if err != nil {
			return list, err
		}
		pair.Likeness.Compare(simulated.Results, real.Results)
		list = append(list, pair.Likeness)
	}
	return list, nil
}

// unlessEnded drops the errors that come of an interrupt: the report says that it is partial.
func unlessEnded(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if ctx.Err() == nil {
		return err
	}
	return nil
}
