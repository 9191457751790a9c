package result

import (
	"slices"
	"sync"
)

// Growing is a run under way: who does the run changes it, and who shows it meanwhile gets copies. Its methods may be called from any
// goroutine.
type Growing struct {
	mu  sync.Mutex // guards run
	run Run
}

// NewGrowing begins with what is known of a run before it.
func NewGrowing(run Run) *Growing { return &Growing{run: run} }

// Change lets f change the run. What f puts into it belongs to copies too from then on, so f replaces or appends, and never changes
// what a slice, map or pointer of the run holds already, but for Topology's own elements and the fields of Conformance and Bench.
func (g *Growing) Change(f func(*Run)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(&g.run)
}

// Copy is the run as it is now. Later changes do not reach it, and the caller may judge it.
func (g *Growing) Copy() *Run {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.run
	c.Reasons = slices.Clone(c.Reasons)
	c.Topology = slices.Clone(c.Topology)
	if c.Conformance != nil {
		conformance := *c.Conformance
		c.Conformance = &conformance
	}
	if c.Bench != nil {
		bench := *c.Bench
		c.Bench = &bench
	}
	return &c
}
