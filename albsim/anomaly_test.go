package albsim

import (
	"math"
	"testing"
	"time"
)

// rounds lets n windows pass in which each target answers 20 times, and those of bad fail.
func (g *group) rounds(n int, bad ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range n {
		for _, t := range g.targets {
			t.account.answers = 20
			for _, name := range bad {
				if t.address[:1] == name {
					t.account.failures = 10
				}
			}
		}
		g.assess(g.assessed.Add(time.Hour))
	}
	g.assessed = time.Now() // a window begins
}

func TestAnomalyMitigationSendsATargetLess(t *testing.T) {
	on := map[string]any{"load_balancing.algorithm.type": "weighted_random", "load_balancing.algorithm.anomaly_mitigation": "on"}
	for _, c := range []struct {
		name       string
		attributes map[string]any
		targets    string
		bad        []string
		anomalous  bool
		weight     float64
	}{
		{"one of three", on, "abc", []string{"b"}, true, 1.0 / 8},
		{"mitigation off", map[string]any{"load_balancing.algorithm.type": "weighted_random"}, "abc", []string{"b"}, true, 1},
		{"two targets are too few", on, "ab", []string{"b"}, false, 1},
		{"all alike", on, "abc", []string{"a", "b", "c"}, false, 1},
	} {
		g := balanced(t, c.attributes, c.targets)
		g.rounds(3, c.bad...)
		got := g.s.Targets()[1]
		if weight := 1 - g.targets[1].account.cut; got.Anomalous != c.anomalous || weight != c.weight || got.Mitigated != (c.weight < 1) {
			t.Errorf("%s: %+v with weight %v, want anomalous %v and %v", c.name, got, weight, c.anomalous, c.weight)
		}
	}
}

func TestAnAnomalousTargetKeepsALittleAndRecovers(t *testing.T) {
	g := balanced(t, map[string]any{
		"load_balancing.algorithm.type": "weighted_random", "load_balancing.algorithm.anomaly_mitigation": "on",
	}, "abc")
	g.rounds(20, "b")
	if weight := 1 - g.targets[1].account.cut; weight != leastWeight {
		t.Errorf("weight %v after 20 bad windows, want %v", weight, leastWeight)
	}
	n := 0
	for _, name := range g.picks(10000) {
		if name == "b" {
			n++
		}
	}
	if want := 10000 * leastWeight / (2 + leastWeight); math.Abs(float64(n)-want) > 6*math.Sqrt(want) {
		t.Errorf("it got %d of 10000, want about %.0f", n, want)
	}
	if got := g.s.GroupMetrics()["t"]; got["AnomalousHostCount"] != 1 || got["MitigatedHostCount"] != 1 {
		t.Errorf("metrics %v, want one anomalous and one mitigated", got)
	}
	g.rounds(6)
	if got := g.s.Targets()[1]; got.Anomalous || got.Mitigated {
		t.Errorf("after good windows: %+v", got)
	}
}

func TestWhatCountsAsAFailureOfATarget(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		if fieldOf(head, "X-Bad") != "" {
			say(c, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
			return
		}
		say(c, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
	})
	cfg := plain(target.addr)
	cfg.TargetGroups[0].Targets = append(cfg.TargetGroups[0].Targets, closedPort(t))
	m := start(t, cfg, Options{TimeScale: 100})                // one window
	for _, bad := range []string{"", "", "X-Bad: 1\r\n", ""} { // in turn
		m.request("GET / HTTP/1.1\r\nHost: a\r\n" + bad + "\r\n")
	}
	m.logLines(4)
	g := m.plan.order[0]
	g.mu.Lock()
	defer g.mu.Unlock()
	if up, down := g.targets[0].account, g.targets[1].account; up.answers != 2 || up.failures != 1 || down.answers != 2 || down.failures != 2 {
		t.Errorf("accounts %+v and %+v", up, down)
	}
}
