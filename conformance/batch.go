package conformance

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// batch is what is run between two looks at the target's sanity.
type batch struct {
	jobs   []job
	paths  []*Path          // on which something is run
	sanity map[string]error // of these, before
}

// before looks at the sanity of each path on which something will be run.
func (e *engine) before(ctx context.Context, jobs []job) *batch {
	b := &batch{jobs: jobs, sanity: map[string]error{}}
	for _, j := range jobs {
		if j.path == nil || e.missing(j.check) != "" || ctx.Err() != nil {
			continue
		}
		if _, known := b.sanity[j.path.Name]; !known {
			b.sanity[j.path.Name] = e.look(ctx, j.path, func() error { return e.sane(ctx, j.path) })
			b.paths = append(b.paths, j.path)
		}
	}
	return b
}

// after looks again, and takes back what was said of a path that is gone.
func (e *engine) after(ctx context.Context, b *batch) {
	for _, p := range b.paths {
		if b.sanity[p.Name] != nil || ctx.Err() != nil {
			continue
		}
		if err := e.look(ctx, p, func() error { return e.stillSane(ctx, b.jobs, p) }); err != nil && ctx.Err() == nil {
			e.doubt(b.jobs, p.Name, err)
		}
	}
}

// look has sane look at a path, which dials and so needs a place at the gate, beside the timers.
func (e *engine) look(ctx context.Context, p *Path, sane func() error) error {
	at, ok := e.gate.enter(ctx, atRest, math.MaxInt)
	if !ok {
		return context.Cause(ctx)
	}
	defer at.leave()
	err := sane()
	if err != nil && ctx.Err() == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.timers.gone[p.Name] = err
	}
	return err
}

// doubt takes back what was said of a path whose sanity was gone when it had been said, or meanwhile.
func (e *engine) doubt(jobs []job, path string, err error) {
	judged := []result.CheckVerdict{
		result.CheckPass, result.CheckTolerated, result.CheckFail, result.CheckFlaky, result.CheckXFail, result.CheckXPass,
		result.CheckDepFailed,
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, j := range jobs {
		if r := &e.results[j.at]; r.Path == path && slices.Contains(judged, r.Verdict) {
			r.Detail = fmt.Sprintf("the target no longer answered a plain connection after group %s (%v); it had been %s: %s", r.Group, err, r.Verdict, r.Detail)
			r.Verdict = result.CheckInconclusive
		}
	}
}
