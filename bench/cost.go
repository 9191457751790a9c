package bench

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Component is a program that an arm's path goes through.
type Component struct {
	// Name is its name in the topology, Product what it is.
	Name, Product string
	// Meter reads what it uses; nil where it is no process of its own, and then nothing is known of it alone.
	Meter Meter
}

// Meter reads what a component has used of the machine so far, and what it holds.
type Meter interface {
	// CPU is called at the edges of windows and should take microseconds.
	CPU() (total, system time.Duration, err error)
	// Hold is called between windows.
	Hold() (Holding, error)
}

// Holding is what a component holds, and the bytes that it has moved so far where it counts them.
type Holding struct {
	PSS         int64
	Descriptors int
	// Moved tells whether it counts: Spliced inside the kernel, Copied through the process.
	Moved           bool
	Spliced, Copied int64
}

// What is a difference of memory between few tunnels is the noise of an allocator: fewer than minTunnels say nothing. They are
// read once memory has not moved by a fiftieth and descriptors not at all for settleEvery, or after settleMost: an opening leaves garbage, which a Go program gives back later.
const (
	minTunnels  = 100
	settleEvery = 500 * time.Millisecond
	settleMost  = 10 * time.Second
)

// gauge is what one component has used for one arm.
type gauge struct {
	Component
	broken                 error // a reading failed: nothing is said
	total, system          time.Duration
	spliced, copied        int64
	moved                  bool
	before, opened, atLast Holding

	// Of the window under way.
	fromTotal, fromSystem time.Duration
	fromHold              Holding
}

func newGauges(list []Component) []*gauge {
	gauges := make([]*gauge, len(list))
	for i, c := range list {
		gauges[i] = &gauge{Component: c}
	}
	return gauges
}

func (g *gauge) works() bool { return g.Meter != nil && g.broken == nil }

func (g *gauge) hold() (h Holding) {
	if g.works() {
		h, g.broken = g.Meter.Hold()
	}
	return h
}

// metered runs f, which opens the lasting tunnels of an arm, between two readings.
func (r *run) metered(ctx context.Context, a *armState, f func() error) error {
	many := len(a.tunnels) >= minTunnels
	for _, g := range a.gauges {
		if many { // tunnels of the workload before may still be closing
			g.settle(ctx)
		}
		g.before = g.hold()
	}
	if err := f(); err != nil {
		return err
	}
	for _, g := range a.gauges {
		if many {
			g.settle(ctx)
		}
		g.opened = g.hold()
	}
	return nil
}

func (g *gauge) settle(ctx context.Context) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for end := time.Now().Add(settleMost); g.works() && time.Now().Before(end); {
		was := g.hold()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := g.hold(); now.Descriptors == was.Descriptors && abs(now.PSS-was.PSS) <= was.PSS/50 {
			return
		}
	}
}

func abs(n int64) int64 { return max(n, -n) }

// meter reads the components of a window's arm: bytes before its guard, processor time from the end of the guard, when the measured part
// begins, to the end of the drain, then bytes again. It returns what is to be called at that end. What other arms' components do
// meanwhile, and these in the windows of others, is in none of the differences.
func (w *window) meter(ctx context.Context) (stop func()) {
	gauges := slices.DeleteFunc(slices.Clone(w.arm.gauges), func(g *gauge) bool { return !g.works() })
	if len(gauges) == 0 {
		return func() {}
	}
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		guard := time.NewTimer(time.Until(w.wallStart()))
		defer guard.Stop()
		select {
		case <-guard.C:
		case <-ctx.Done():
		}
		for _, g := range gauges {
			g.fromTotal, g.fromSystem, g.broken = g.Meter.CPU()
		}
	}()
	return func() {
		<-begun
		for _, g := range gauges {
			if g.works() {
				var total, system time.Duration
				total, system, g.broken = g.Meter.CPU()
				w.used = append(w.used, use{g, total - g.fromTotal, system - g.fromSystem, Holding{}})
			}
		}
		for i := range w.used {
			u := &w.used[i]
			h := u.gauge.hold()
			u.moved = Holding{Moved: h.Moved && u.gauge.fromHold.Moved, Spliced: h.Spliced - u.gauge.fromHold.Spliced, Copied: h.Copied - u.gauge.fromHold.Copied}
		}
	}
}

// use is what one component used in one window.
type use struct {
	gauge         *gauge
	total, system time.Duration
	moved         Holding
}

// beforeWindow notes the bytes moved so far; it is called before a window is made.
func (a *armState) beforeWindow() {
	for _, g := range a.gauges {
		g.fromHold = g.hold()
	}
}

// spend adds what the components used in a window that is kept.
func (w *window) spend() {
	for _, u := range w.used {
		g := u.gauge
		g.total += u.total
		g.system += u.system
		g.moved = u.moved.Moved
		g.spliced += u.moved.Spliced
		g.copied += u.moved.Copied
	}
}

// holdAtLast reads what the components hold at the end.
func (r *run) holdAtLast() {
	for _, a := range r.arms {
		for _, g := range a.gauges {
			g.atLast = g.hold()
		}
	}
}

// costs is what the components used for each arm; done are the arms as they are reported.
func (r *run) costs(done []result.Arm) []result.Cost {
	var list []result.Cost
	for i, a := range r.arms {
		for _, g := range a.gauges {
			c := result.Cost{Component: g.Name, Product: g.Product, Workload: r.label, Path: a.Path}
			switch {
			case g.Meter == nil:
			case g.broken != nil:
				r.opt.Logger.Warn("what a component uses cannot be read", slog.String("component", g.Name), slog.Any("err", g.broken))
				continue
			case a.measured > 0:
				g.fill(&c, a, done[i].Bytes)
			}
			list = append(list, c)
		}
	}
	return list
}

func (g *gauge) fill(c *result.Cost, a *armState, payload int64) {
	c.Process = true
	c.CPUNS, c.SystemNS = int64(g.total), int64(g.system)
	c.PSSBytes, c.Descriptors = g.atLast.PSS, g.atLast.Descriptors
	if payload > 0 {
		c.CPUPerGiBNS = float64(g.total) / float64(payload) * (1 << 30)
	}
	// With both kinds of arrivals in one window nobody can tell whose processor time it was.
	switch connects, requests := a.total.connects, a.total.done-a.total.connects; {
	case requests == 0 && connects > 0:
		c.CPUPerConnectNS = float64(g.total) / float64(connects)
	case connects == 0 && requests > 0:
		c.CPUPerRequestNS = float64(g.total) / float64(requests)
	}
	if n := len(a.tunnels); n > 0 {
		c.DescriptorsPerTunnel = float64(g.opened.Descriptors-g.before.Descriptors) / float64(n)
		if n >= minTunnels {
			c.BytesPerTunnel = float64(g.opened.PSS-g.before.PSS) / float64(n)
		}
	}
	if g.moved {
		c.SplicedBytes, c.CopiedBytes = g.spliced, g.copied
	}
}
