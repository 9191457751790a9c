package conformance

import (
	"context"
	"sync"
	"time"
)

const (
	// gateWait bounds how long a check waits for the others to be done before it counts.
	gateWait = 5 * time.Second
	// company is how many are let in while one waits to count, so that they share the silence.
	company = 48
)

// gate lets checks run side by side though some of them count what the witnesses accept (T.Accepted), which has no way to tell
// whose doing a connection is. Those are quiet from their first count on: it waits until every check beside it has ended or is
// quiet too, and no other begins before all quiet ones have ended.
//
// That makes it seldom that a count is disturbed, and not impossible: two quiet checks may be beside each other when one of them
// meets a router that dials. So the engine trusts only a count that did not change, which is true whoever is there. When it
// changed, the check is run again with no other beside it, and that is what counts (see engine.alone).
//
// Only those that are busy count against the limit: who is quiet does nothing but wait, and who is at rest (T.AtRest) has left.
type gate struct {
	mu      sync.Mutex // guards what follows
	busy    int        // as the others, by weight
	waiting int
	quiet   int
	late    int           // let in since somebody waits
	changed chan struct{} // closed at the next change
}

// place is that of one check.
type place struct {
	g      *gate
	weight int
	most   int  // that may be busy when it enters
	in     *int // the one of g's counts that it is part of; nil before and after
}

// enter takes a place when fewer than most are busy and nobody is quiet, or about to be. False means that ctx ended before.
func (g *gate) enter(ctx context.Context, weight, most int) (*place, bool) {
	p := &place{g: g, weight: weight, most: most}
	return p, p.enter(ctx)
}

// enter does so again for a place that was given up; one that was not is kept.
func (p *place) enter(ctx context.Context) bool {
	g := p.g
	return g.wait(ctx.Done(), func() bool {
		return p.in != nil || g.busy < p.most && g.quiet == 0 && (g.waiting == 0 || g.late < company)
	}, func(yes bool) {
		if !yes || p.in != nil {
			return
		}
		if g.late++; g.waiting == 0 {
			g.late = 0
		}
		p.move(&g.busy)
	})
}

// quiet waits for the others, at most limit, and says whether they are.
func (p *place) quiet(limit time.Duration) bool {
	g := p.g
	g.mu.Lock()
	if p.in != &g.busy {
		defer g.mu.Unlock()
		return p.in == &g.quiet
	}
	p.move(&g.waiting)
	g.mu.Unlock()
	late := make(chan struct{})
	timer := time.AfterFunc(limit, func() { close(late) })
	defer timer.Stop()
	return g.wait(late, func() bool { return g.busy == 0 }, func(yes bool) {
		switch {
		case p.in == nil: // it was told to leave meanwhile
		case yes:
			p.move(&g.quiet)
		default:
			p.move(&g.busy)
		}
	})
}

// leave gives the place up; a check that has not understood that its time is over can do no more harm with it.
func (p *place) leave() {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	p.move(nil)
}

// move changes what the place is part of; mu is held.
func (p *place) move(to *int) {
	if p.in != nil {
		*p.in -= p.weight
	}
	if p.in = to; to != nil {
		*to += p.weight
	}
	if p.g.changed != nil {
		close(p.g.changed)
		p.g.changed = nil
	}
}

// wait waits for cond or for end, and then does what is to be done while it still holds.
func (g *gate) wait(end <-chan struct{}, cond func() bool, then func(yes bool)) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !cond() {
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
			g.mu.Lock()
		case <-end:
			g.mu.Lock()
			yes := cond()
			then(yes)
			return yes
		}
	}
	then(true)
	return true
}

// count is what a check has counted.
type count struct {
	first   int64
	any     bool
	changed bool
}

func (c *count) see(n int64) {
	if !c.any {
		c.first, c.any = n, true
	}
	c.changed = c.changed || n != c.first
}

// disturbed says whether the check counted something that others beside it may have done.
func (t *T) disturbed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.place != nil && t.count.changed
}
