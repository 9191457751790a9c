package conformance

import (
	"context"
	"slices"
	"sync"
)

// atRest is how many checks that mostly sit out timers weigh as one of the others.
const atRest = 4

// group runs the jobs of one group between two looks at the target's sanity: wave after wave of those whose dependencies have
// ended.
func (e *engine) group(ctx context.Context, jobs []job) {
	b := e.before(ctx, jobs)
	for left := jobs; len(left) > 0; {
		var wave []job
		wave, left = e.wave(left)
		e.run(ctx, b, wave)
	}
	e.after(ctx, b)
}

// The classes of jobs, in the order in which those of a group are run.
const (
	sitsOut   = iota // timers
	inCompany        // of others, if there are any
	exclusive
	waits // for another job that is left
)

func (e *engine) class(j job, left []job) int {
	switch {
	case slices.ContainsFunc(left, func(l job) bool { return slices.Contains(j.check.Depends, l.check.ID) }):
		return waits
	case slices.Contains(j.check.Tags, Exclusive), e.target.Stub != nil, e.opt.Parallel == 1:
		return exclusive
	case slices.Contains(j.check.Tags, Timing):
		return sitsOut
	}
	return inCompany
}

// wave takes the jobs that can be run now: of those that wait for no other job that is left, the ones that sit out timers, or else
// all that may have company, or else the first of those that may not.
func (e *engine) wave(left []job) (wave, rest []job) {
	least := waits
	for _, j := range left {
		least = min(least, e.class(j, left))
	}
	if least >= exclusive { // when all wait they wait in a circle: then they are taken as they come
		i := slices.IndexFunc(left, func(j job) bool { return e.class(j, left) == least })
		return left[i : i+1], slices.Concat(left[:i], left[i+1:])
	}
	for _, j := range left {
		if e.class(j, left) == least {
			wave = append(wave, j)
		} else {
			rest = append(rest, j)
		}
	}
	return wave, rest
}

// run runs the jobs of a wave, several at a time where they may have company, and then one by one those that must be alone or were
// disturbed.
func (e *engine) run(ctx context.Context, b *batch, wave []job) {
	alone := wave
	if e.class(wave[0], nil) < exclusive && (len(wave) > 1 || !e.timers.ended) {
		alone = e.together(ctx, b, wave)
	}
	if len(alone) > 0 {
		e.endTimers(ctx)
	}
	for _, j := range alone {
		e.alone(ctx, b, j)
	}
}

// together runs jobs several at a time, and returns those that others may have disturbed: they have no result.
func (e *engine) together(ctx context.Context, b *batch, jobs []job) (again []job) {
	disturbed := make([]bool, len(jobs))
	var wg sync.WaitGroup
	for i, j := range jobs {
		weight := atRest
		if e.class(j, nil) == sitsOut {
			weight = 1
		}
		p, ok := e.gate.enter(ctx, weight, e.opt.Parallel*atRest)
		if !ok {
			e.alone(ctx, b, j) // which says that it was interrupted
			continue
		}
		wg.Go(func() {
			defer p.leave()
			disturbed[i] = !e.beside(ctx, b, j, p)
		})
	}
	wg.Wait()
	for i, j := range jobs {
		if disturbed[i] {
			e.logger.Debug("run again alone: others may have done what it counted", "check", j.check.ID, "path", j.path.Name)
			again = append(again, j)
		}
	}
	return again
}

// alone runs a job that has no other beside it.
func (e *engine) alone(ctx context.Context, b *batch, j job) { e.beside(ctx, b, j, nil) }

// beside runs a job among others. False means that they may have disturbed it: then there is no result.
func (e *engine) beside(ctx context.Context, b *batch, j job, p *place) bool {
	r, refused := e.refuse(ctx, b, j)
	if !refused {
		var disturbed bool
		if r, disturbed = e.judge(ctx, j, p); disturbed {
			return false
		}
	}
	e.put(j, r)
	return true
}
