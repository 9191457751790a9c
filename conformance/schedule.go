package conformance

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// atRest is how many checks that mostly sit out timers weigh as one.
const atRest = 4

// group runs the jobs of one group between two looks at the target's sanity: wave after wave of those whose dependencies have
// ended.
func (e *engine) group(ctx context.Context, jobs []job) {
	paths := e.before(ctx, jobs)
	for left := jobs; len(left) > 0; {
		var wave []job
		wave, left = e.wave(left)
		e.run(ctx, wave)
	}
	for _, p := range paths {
		if e.sanity[p.Name] != nil || ctx.Err() != nil {
			continue
		}
		if err := e.stillSane(ctx, jobs, p); err != nil && ctx.Err() == nil {
			e.doubt(jobs, p.Name, err)
		}
	}
}

// before looks at the sanity of each path on which something will be run, and returns these.
func (e *engine) before(ctx context.Context, jobs []job) (paths []*Path) {
	e.sanity = map[string]error{}
	for _, j := range jobs {
		if j.path == nil || e.missing(j.check) != "" || ctx.Err() != nil {
			continue
		}
		if _, known := e.sanity[j.path.Name]; !known {
			e.sanity[j.path.Name] = e.sane(ctx, j.path)
			paths = append(paths, j.path)
		}
	}
	return paths
}

// wave takes the jobs that can be run now: of those that wait for no other job that is left, the ones that sit out timers, or else
// all that may have company, or else the first of those that may not.
func (e *engine) wave(left []job) (wave, rest []job) {
	class := func(j job) int {
		switch {
		case slices.ContainsFunc(left, func(l job) bool { return slices.Contains(j.check.Depends, l.check.ID) }):
			return 3
		case slices.Contains(j.check.Tags, Exclusive), j.check.Setup != nil && j.check.Setup.Alone, e.target.Stub != nil:
			return 2
		case slices.Contains(j.check.Tags, Timing):
			return 0
		}
		return 1
	}
	least := 3
	for _, j := range left {
		least = min(least, class(j))
	}
	if least >= 2 { // 3 is a circle: then they are taken as they come
		i := slices.IndexFunc(left, func(j job) bool { return class(j) == least })
		return left[i : i+1], slices.Concat(left[:i], left[i+1:])
	}
	for _, j := range left {
		if class(j) == least {
			wave = append(wave, j)
		} else {
			rest = append(rest, j)
		}
	}
	return wave, rest
}

// run runs the jobs of a wave, several at a time, and then one by one those that disturbed each other.
func (e *engine) run(ctx context.Context, wave []job) {
	if len(wave) == 1 || e.opt.Parallel == 1 {
		for _, j := range wave {
			e.alone(ctx, j)
		}
		return
	}
	most := e.opt.Parallel
	if slices.Contains(wave[0].check.Tags, Timing) {
		most *= atRest
	}
	again := make([]bool, len(wave))
	var wg sync.WaitGroup
	for i, j := range wave {
		p, ok := e.gate.enter(ctx, most)
		if !ok {
			e.alone(ctx, j) // which says that it was interrupted
			continue
		}
		wg.Go(func() {
			defer p.leave()
			again[i] = !e.beside(ctx, j, p)
		})
	}
	wg.Wait()
	for i, j := range wave {
		if again[i] {
			e.logger.Debug("run again alone: others may have done what it counted", "check", j.check.ID, "path", j.path.Name)
			e.alone(ctx, j)
		}
	}
}

// alone runs a job that has no other beside it.
func (e *engine) alone(ctx context.Context, j job) { e.beside(ctx, j, nil) }

// beside runs a job among others. False means that they may have disturbed it: then there is no result.
func (e *engine) beside(ctx context.Context, j job, p *place) bool {
	r, refused := e.refuse(ctx, j)
	if !refused {
		var disturbed bool
		if r, disturbed = e.judge(ctx, j, p); disturbed {
			return false
		}
	}
	e.put(j, r)
	return true
}

// doubt takes back what was said of a path whose sanity was gone after the group.
func (e *engine) doubt(jobs []job, path string, err error) {
	judged := []result.CheckVerdict{
		result.CheckPass, result.CheckTolerated, result.CheckFail, result.CheckFlaky, result.CheckXFail, result.CheckXPass,
		result.CheckDepFailed,
	}
	for _, j := range jobs {
		if r := &e.results[j.at]; r.Path == path && slices.Contains(judged, r.Verdict) {
			r.Detail = fmt.Sprintf("the target no longer answered a plain connection after group %s (%v); it had been %s: %s", r.Group, err, r.Verdict, r.Detail)
			r.Verdict = result.CheckInconclusive
		}
	}
}
