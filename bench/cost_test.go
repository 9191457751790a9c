package bench

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// clock is a component that uses 3 ms of processor time, of which 1 in the kernel, between two readings, and holds what it is told.
type clock struct {
	reads int
	holds []Holding // one a reading; the last stays
	err   error
}

func (c *clock) CPU() (total, system time.Duration, err error) {
	c.reads++
	return time.Duration(c.reads) * 3 * time.Millisecond, time.Duration(c.reads) * time.Millisecond, c.err
}

func (c *clock) Hold() (Holding, error) {
	h := c.holds[0]
	if len(c.holds) > 1 {
		c.holds = c.holds[1:]
	}
	return h, nil
}

func TestCostsAreThoseOfTheArmsOwnWindows(t *testing.T) {
	srv := newTarget(t, nil)
	steady := &clock{holds: []Holding{{PSS: 1 << 20, Descriptors: 10}, {PSS: 2 << 20, Descriptors: 18}}}
	arms := []Arm{
		{Path: "direct", Dial: srv.dial, Peer: "peer 1, tuned", Components: []Component{{Name: "router", Product: "p", Meter: steady}, {Name: "alb"}}},
		{Path: "other", Dial: srv.dial, Components: []Component{{Name: "gone", Meter: &clock{holds: []Holding{{}}, err: errors.New("no such process")}}}},
	}
	b, err := Run(t.Context(), Plan{
		Window: 40 * time.Millisecond, Guard: 10 * time.Millisecond, Pairs: 5, Seed: 1, maxLag: time.Minute,
		Workloads: []WorkloadPlan{{Name: "echo", Backend: "witness", Rate: 200, Tunnels: 4, Arrival: ArrivalConstant, Arms: arms}},
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := b.Workloads[0]
	if got := w.Arms[0].Peer; got != "peer 1, tuned" {
		t.Errorf("peer %q", got)
	}
	// Each window reads the clock twice.
	cpu := int64(w.Windows) * int64(3*time.Millisecond)
	done := w.Arms[0].Requests - w.Arms[0].Errors
	if done == 0 {
		t.Fatalf("nothing was answered: %v", w.Arms[0].ErrorSamples)
	}
	if w.Label != "echo" {
		t.Errorf("label %q, by which the costs are found", w.Label)
	}
	want := []result.Cost{{
		Component: "router", Product: "p", Workload: "echo", Path: "direct", Process: true,
		CPUNS: cpu, SystemNS: cpu / 3, CPUPerRequestNS: float64(cpu) / float64(done),
		PSSBytes: 2 << 20, Descriptors: 18, DescriptorsPerTunnel: 2, // of four tunnels the memory says nothing
	}, {Component: "alb", Workload: "echo", Path: "direct"}}
	if diff := cmp.Diff(want, b.Costs); diff != "" {
		t.Errorf("costs (-want +got), and nothing of a component that cannot be read:\n%s", diff)
	}
}

func TestCostsOfNewTunnelsAndMovedBytes(t *testing.T) {
	srv := newTarget(t, nil)
	counting := &clock{holds: []Holding{{Moved: true}, {Moved: true, Spliced: 5, Copied: 7}}}
	// Readings: before and after the opening, before each window; the difference of the first alone is not zero, and there is none that
	// begins at it.
	counting.holds = append([]Holding{{Moved: true}, {Moved: true}}, counting.holds...)
	b, err := Run(t.Context(), Plan{
		Window: 40 * time.Millisecond, Warmup: &Warmup{}, Guard: 10 * time.Millisecond, Pairs: 5, Seed: 1, maxLag: time.Minute,
		Workloads: []WorkloadPlan{{Name: "echo", Backend: "witness", ConnectRate: 100, Arrival: ArrivalConstant, Arms: []Arm{
			{Path: "direct", Dial: srv.dial, Components: []Component{{Name: "router", Meter: counting}}},
		}}},
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := b.Costs[0]
	done := b.Workloads[0].Arms[0].Requests - b.Workloads[0].Arms[0].Errors
	if want := float64(c.CPUNS) / float64(done); c.CPUPerConnectNS != want || c.CPUPerRequestNS != 0 {
		t.Errorf("%v a new tunnel and %v a request, want %v and none", c.CPUPerConnectNS, c.CPUPerRequestNS, want)
	}
	if c.SplicedBytes != 5 || c.CopiedBytes != 7 {
		t.Errorf("%d bytes spliced and %d copied, want 5 and 7", c.SplicedBytes, c.CopiedBytes)
	}
}

func TestMemoryOfATunnelNeedsManyOfThem(t *testing.T) {
	a := &armState{tunnels: make([]slot, minTunnels)}
	g := &gauge{before: Holding{PSS: 1000}, opened: Holding{PSS: 1000 + 300*minTunnels}}
	var c result.Cost
	g.fill(&c, a, 1<<29)
	if c.BytesPerTunnel != 300 {
		t.Errorf("%v bytes a tunnel, want 300", c.BytesPerTunnel)
	}
	g.total = time.Second
	g.fill(&c, a, 1<<29)
	if c.CPUPerGiBNS != 2e9 {
		t.Errorf("%v a GiB, want 2e9", c.CPUPerGiBNS)
	}
}
