package conformance

import (
	"context"
	"slices"
	"sync"
)

// timers are the jobs of all groups that sit out timers: begun before the first group and left to themselves beside the groups, until
// a job has to be alone or the groups have ended. Only what runs the groups uses this.
type timers struct {
	batch *batch
	wg    sync.WaitGroup
	again []job            // were disturbed; to be read when wg is done
	gone  map[string]error // what a look at a path's sanity found wrong meanwhile
	ended bool
}

// splitTimers takes those jobs out of the groups that nothing waits for, that wait for nothing, and that are no crowd.
func (e *engine) splitTimers(groups [][]job) (sit []job, rest [][]job) {
	all := slices.Concat(groups...)
	for _, g := range groups {
		var others []job
		for _, j := range g {
			awaited := slices.ContainsFunc(all, func(o job) bool { return slices.Contains(o.check.Depends, j.check.ID) })
			if e.class(j, all) == sitsOut && !awaited && !slices.Contains(j.check.Tags, Crowd) {
				sit = append(sit, j)
			} else {
				others = append(others, j)
			}
		}
		if len(others) > 0 {
			rest = append(rest, others)
		}
	}
	return sit, rest
}

func (e *engine) startTimers(ctx context.Context, jobs []job) {
	t := &e.timers
	if t.ended = len(jobs) == 0; t.ended {
		return
	}
	t.batch, t.gone = e.before(ctx, jobs), map[string]error{}
	t.wg.Go(func() { t.again = e.together(ctx, t.batch, jobs) })
}

// endTimers waits for them, runs again alone what was disturbed, and looks at the target: a path that was found gone at any time since
// they began proves nothing. The second time it does nothing.
func (e *engine) endTimers(ctx context.Context) {
	t := &e.timers
	if t.ended {
		return
	}
	t.wg.Wait()
	t.ended = true
	for _, j := range t.again {
		e.alone(ctx, t.batch, j)
	}
	for path, err := range t.gone {
		e.doubt(t.batch.jobs, path, err)
	}
	e.after(ctx, t.batch)
}
