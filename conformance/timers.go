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
	gone  map[string]error // what a look at a path's sanity found wrong meanwhile; guarded by the engine's mu
	ended bool
}

// splitTimers takes those jobs out that sit out timers, that nothing waits for, that wait for nothing, and that are no crowd.
func (e *engine) splitTimers(jobs []job) (sit, others []job) {
	for _, j := range jobs {
		awaited := slices.ContainsFunc(jobs, func(o job) bool { return slices.Contains(o.check.Depends, j.check.ID) })
		if slices.Contains(j.check.Tags, Timing) && e.class(j, jobs) < exclusive && !awaited && !slices.Contains(j.check.Tags, Crowd) {
			sit = append(sit, j)
		} else {
			others = append(others, j)
		}
	}
	return sit, others
}

func (e *engine) startTimers(ctx context.Context, jobs []job) {
	t := &e.timers
	if t.ended = len(jobs) == 0; t.ended {
		return
	}
	t.batch = e.before(ctx, jobs)
	t.wg.Go(func() { t.again = e.begin(ctx, t.batch)() })
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
		e.beside(ctx, t.batch, j, nil)
	}
	for path, err := range t.gone {
		e.doubt(t.batch.jobs, path, err)
	}
	e.after(ctx, t.batch)
}
