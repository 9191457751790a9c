package bench

import (
	"math"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestGateHasAQuietLimitAndAWrongOne(t *testing.T) {
	for name, c := range map[string]struct {
		got      result.Gate
		ok       bool
		advisory bool
		limit    float64
	}{
		"quiet":              {atMost(result.Gate{}, 1, 1, 2), true, false, 1},
		"noisy":              {atMost(result.Gate{}, 2, 1, 2), false, true, 1},
		"wrong":              {atMost(result.Gate{}, 3, 1, 2), false, false, 2},
		"advisory and quiet": {atMost(result.Gate{}, 1, 1, never), true, true, 1},
		"advisory and noisy": {atMost(result.Gate{}, 1e9, 1, never), false, true, 1},
		"enough":             {atLeast(result.Gate{}, 0.99, 0.99, 0.95), true, false, 0.99},
		"little":             {atLeast(result.Gate{}, 0.97, 0.99, 0.95), false, true, 0.99},
		"too little":         {atLeast(result.Gate{}, 0.9, 0.99, 0.95), false, false, 0.95},
		"too few, advisory":  {atLeast(result.Gate{}, 1, 2, -never), false, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if g := c.got; g.OK != c.ok || g.Advisory != c.advisory || g.Limit != c.limit {
				t.Errorf("got %+v", g)
			}
		})
	}
}

func TestReasonsAreTheFailedGatesThatAreNotAdvisory(t *testing.T) {
	got := reasons([]result.Gate{
		{OK: true, Detail: "fine"}, {Advisory: true, Detail: "noisy"}, {Detail: "of the run"}, {Workload: "echo", Path: "direct", Detail: "wrong"},
	})
	if want := "of the run\necho: direct: wrong"; strings.Join(got, "\n") != want {
		t.Errorf("got %q", got)
	}
}

func TestStealIsReadFromTheFirstLine(t *testing.T) {
	for text, want := range map[string][2]uint64{
		"cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 1 1 1 1 1 1 1 1 1\n": {80, 360}, // guest times are in user and nice already
		"cpu  10 20 30 40": {0, 0}, "": {0, 0}, "cpu a b c d e f g h": {0, 0},
	} {
		if s, total := parseSteal(text); s != want[0] || total != want[1] {
			t.Errorf("%q: %d of %d, want %v", text, s, total, want)
		}
	}
}

func TestSpreadIsTheCoefficientOfVariation(t *testing.T) {
	var pairs []map[string]windowStat
	for _, v := range []float64{2, 4, 4, 4, 5, 5, 7, 9} { // mean 5, sample standard deviation sqrt(32/7)
		pairs = append(pairs, map[string]windowStat{"a": {n: 1, q: [3]float64{v}}}, nil)
	}
	if got, want := spread(pairs, "a"), math.Sqrt(32./7)/5; math.Abs(got-want) > 1e-12 {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := spread(pairs, "b"); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
}

func TestUnlikeArmsAreShown(t *testing.T) {
	w := &result.Workload{ConnectRatePerS: 10, Arms: []result.Arm{
		{Path: "a", Requests: 1000, TLS: map[string]string{"curve": "X25519"}},
		{Path: "b", Requests: 1000, Errors: 20, TLS: map[string]string{"curve": "P-256"}},
	}}
	gates := errorGates("echo", w)
	of := func(name, path string) result.Gate {
		for _, g := range gates {
			if g.Name == name && g.Path == path {
				return g
			}
		}
		t.Fatalf("no gate %s of %q in %+v", name, path, gates)
		return result.Gate{}
	}
	if g := of("errors", "b"); g.OK || !g.Advisory || g.Value != 0.02 {
		t.Errorf("%+v", g)
	}
	if g := of("errors_differ", ""); g.OK || !g.Advisory {
		t.Errorf("%+v", g)
	}
	if g := of("same_curve", ""); g.OK || g.Advisory {
		t.Errorf("handshakes are compared: %+v", g)
	}
	w.ConnectRatePerS = 0
	gates = errorGates("echo", w)
	if g := of("same_curve", ""); g.OK || !g.Advisory {
		t.Errorf("no handshakes are compared: %+v", g)
	}
}

// Over the whole way: a run has every gate as data, and more tunnels than descriptors is no measurement.
func TestRunHasItsGates(t *testing.T) {
	s := newTarget(t, nil)
	plan := echoPlan(Arm{Path: "direct", Dial: s.dial}, Arm{Path: "detour", Dial: s.dial})
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, g := range b.Validity.Gates {
		seen[g.Name]++
		if g.Detail == "" || g.Unit == "" || math.IsInf(g.Limit, 0) || math.IsNaN(g.Value) {
			t.Errorf("%+v", g)
		}
	}
	for name, n := range map[string]int{
		"dropped": 2, "beyond_scale": 2, "achieved_rate": 2, "sched_lag.p99": 2, "errors": 2, "errors_differ": 1, "baseline_cv": 1,
		"pairs.steady_rtt": 1, "pairs.connect": 1, "clock": 1, "gomaxprocs": 1,
	} {
		if seen[name] != n {
			t.Errorf("%d gates %s, want %d", seen[name], name, n)
		}
	}
	if _, ok := processorTime(); ok && seen["generator_cpu"] != 1 {
		t.Error("no gate of the generator's processor time")
	}
	n, ok := openFiles()
	if !ok || n > 1<<40 {
		return
	}
	p := Plan{Workloads: []WorkloadPlan{{Rate: 1, Tunnels: int(n), Arms: make([]Arm, 2)}}}
	if got := strings.Join(reasons(p.preflight()), ""); !strings.Contains(got, "ulimit -n") {
		t.Errorf("reasons %q", got)
	}
}
