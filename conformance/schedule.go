package conformance

import (
	"context"
	"slices"
	"sync"
)

// atRest is how many checks that mostly sit out timers weigh as one of the others.
const atRest = 4

func (e *engine) weight(c Check) int {
	switch {
	case slices.Contains(c.Tags, Timing):
		return 1
	case slices.Contains(c.Tags, Crowd):
		return e.opt.Parallel * atRest
	}
	return atRest
}

// The classes of jobs, in the order in which they are run.
const (
	inCompany = iota // of others, if there are any
	counting         // what the witnesses accept: in the company of others that do, so that all share the silence
	exclusive
	waits // for another job that is left
)

func (e *engine) class(j job, left []job) int {
	own := e.ownClass(j)
	for _, l := range left {
		if slices.Contains(j.check.Depends, l.check.ID) && (!before(l, j) || e.class(l, left) != own) {
			return waits
		}
	}
	return own
}

// before says whether of two jobs of a wave the one has begun when the turn of the other comes, in the same batch.
func before(one, other job) bool {
	return one.at < other.at && group(one.check.ID) == group(other.check.ID)
}

// ownClass is the class of a job that depends on nothing.
func (e *engine) ownClass(j job) int {
	switch {
	case slices.Contains(j.check.Tags, Exclusive), e.target.Stub != nil, e.opt.Parallel == 1:
		return exclusive
	case slices.Contains(j.check.Tags, Counts):
		return counting
	}
	return inCompany
}

// waves runs the jobs of all groups, wave after wave of one class and of those whose dependencies have ended.
func (e *engine) waves(ctx context.Context, left []job) {
	for len(left) > 0 {
		least := waits
		for _, j := range left {
			least = min(least, e.class(j, left))
		}
		var wave, rest []job
		for _, j := range left {
			if e.class(j, left) == least && (least < waits || len(wave) == 0) { // when all wait they wait in a circle: then they are taken as they come
				wave = append(wave, j)
			} else {
				rest = append(rest, j)
			}
		}
		if left = rest; least < exclusive && (len(wave) > 1 || !e.timers.ended) {
			wave = e.together(ctx, wave)
		}
		e.alone(ctx, wave)
	}
}

// byGroup cuts a list of jobs where the group changes.
func byGroup(jobs []job) (groups [][]job) {
	for len(jobs) > 0 {
		g := group(jobs[0].check.ID)
		n := slices.IndexFunc(jobs, func(j job) bool { return group(j.check.ID) != g })
		if n < 0 {
			n = len(jobs)
		}
		groups, jobs = append(groups, jobs[:n:n]), jobs[n:]
	}
	return groups
}

// together runs jobs several at a time, the next group's while those of one end, each group's between two looks at the target's sanity.
// It returns those that others may have disturbed, and those that depend on them: they have no result.
func (e *engine) together(ctx context.Context, jobs []job) (again []job) {
	var groups sync.WaitGroup
	for _, g := range byGroup(jobs) {
		b := e.before(ctx, g)
		rest := e.begin(ctx, b)
		groups.Go(func() {
			list := rest()
			e.after(ctx, b)
			e.mu.Lock()
			defer e.mu.Unlock()
			again = append(again, list...)
		})
	}
	groups.Wait()
	slices.SortFunc(again, func(a, b job) int { return a.at - b.at })
	return again
}

// begin returns when the last of a batch has begun, with a function that waits for their end and returns those that have to be run again.
func (e *engine) begin(ctx context.Context, b *batch) (rest func() []job) {
	bad := make([]bool, len(b.jobs))
	over := make([]sync.WaitGroup, len(b.jobs))
	for i, j := range b.jobs {
		for k, l := range b.jobs[:i] {
			if slices.Contains(j.check.Depends, l.check.ID) {
				over[k].Wait()
				bad[i] = bad[i] || bad[k]
			}
		}
		if bad[i] {
			continue
		}
		p, ok := e.gate.enter(ctx, e.weight(j.check), e.opt.Parallel*atRest)
		if !ok {
			e.beside(ctx, b, j, nil) // which says that it was interrupted
			continue
		}
		over[i].Go(func() {
			defer p.leave()
			bad[i] = !e.beside(ctx, b, j, p)
		})
	}
	return func() (again []job) {
		for i, j := range b.jobs {
			if over[i].Wait(); bad[i] {
				e.logger.Debug("run again alone: others may have done what was counted", "check", j.check.ID, "path", j.path.Name)
				again = append(again, j)
			}
		}
		return again
	}
}

// alone runs jobs that have no other beside them, one by one, each group's between two looks at the target's sanity.
func (e *engine) alone(ctx context.Context, jobs []job) {
	if len(jobs) > 0 {
		e.endTimers(ctx)
	}
	for _, g := range byGroup(jobs) {
		b := e.before(ctx, g)
		for _, j := range g {
			e.beside(ctx, b, j, nil)
		}
		e.after(ctx, b)
	}
}

// beside runs a job, among others unless its place is nil. False means that they may have disturbed it: then there is no result.
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
