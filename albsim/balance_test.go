package albsim

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// picks are the targets of n requests in a row, each given back at once.
func (g *group) picks(n int) (who []string) {
	for range n {
		l, _ := g.pick(pickRequest{})
		who = append(who, l.target.address[:1])
		l.release()
	}
	return who
}

// balanced is the only group of a document with those attributes and targets a, b and so on.
func balanced(t *testing.T, attributes map[string]any, names string) *group {
	t.Helper()
	cfg := plain("")
	g := &cfg.TargetGroups[0]
	g.Attributes, g.Targets = attributes, nil
	for _, name := range names {
		g.Targets = append(g.Targets, string(name)+".test:80")
	}
	s, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s.plan.order[0]
}

func TestALB_TG_01_RoundRobinUnlessTold(t *testing.T) {
	g := balanced(t, nil, "abc")
	if got := strings.Join(g.picks(7), ""); got != "abcabca" {
		t.Errorf("picks %s, want abcabca", got)
	}
	if err := g.s.Deregister("t", "b.test:80"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.s.endGroups)
	if got := g.picks(100); slices.Contains(got, "b") {
		t.Error("a target that drains was picked")
	}
}

func TestALB_TG_01_LeastOutstandingRequestsPrefersTheIdle(t *testing.T) {
	slow, release := held(t)
	cfg := plain(slow.addr)
	cfg.TargetGroups[0].Attributes = map[string]any{"load_balancing.algorithm.type": "least_outstanding_requests"}
	m := start(t, cfg, Options{})
	busy := m.dial()
	busy.send(plainGet)
	slow.head(t)
	quickOne := newStub(t, nil, ok)
	if err := m.Register("t", quickOne.addr); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		m.request(plainGet)
		m.logLines(i + 1) // a line is written behind the return of the lease
	}
	if busy, idle := m.served(0), m.served(1); busy != 1 || idle != 10 {
		t.Errorf("the busy target got %d requests, the idle one %d; want 1 and 10", busy, idle)
	}
	release()
	busy.response()
	m.logLines(11)
	for i := range 10 {
		m.request(plainGet)
		m.logLines(12 + i)
	}
	if n := m.served(0); n != 1+5 {
		t.Errorf("of ten requests to equally idle targets the first got %d, want its turn", n-1)
	}
}

func TestALB_TG_01_WeightedRandomReachesAllAlike(t *testing.T) {
	g := balanced(t, map[string]any{"load_balancing.algorithm.type": "weighted_random"}, "abc")
	count := map[string]int{}
	who := g.picks(3000)
	for _, name := range who {
		count[name]++
	}
	for name, n := range count { // 1000 with a deviation of 26; seven of them
		if n < 818 || n > 1182 {
			t.Errorf("%s was picked %d times of 3000", name, n)
		}
	}
	if turns := strings.Repeat("abc", 1000); strings.Join(who, "") == turns {
		t.Error("targets come in turn, not at random")
	}
}

func TestSlowStartGrowsLinearly(t *testing.T) {
	g := balanced(t, map[string]any{"slow_start.duration_seconds": 100}, "a")
	if err := g.s.Register("t", "b.test:80"); err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	began := g.targets[1].warmFrom
	if !g.targets[0].warmFrom.IsZero() || began.IsZero() {
		t.Fatal("the target that came later is to be in slow start, and only that")
	}
	for _, c := range []struct {
		after time.Duration
		want  int // of 1000: part/(1+part)
	}{{0, 0}, {25 * time.Second, 200}, {50 * time.Second, 333}, {100 * time.Second, 500}, {time.Hour, 500}} {
		n := 0
		for range 1000 {
			if g.choose(began.Add(c.after)) == g.targets[1] {
				n++
			}
		}
		if n < c.want-1 || n > c.want+1 {
			t.Errorf("after %v the new target gets %d of 1000, want %d", c.after, n, c.want)
		}
	}
}

func TestWhoEntersSlowStart(t *testing.T) {
	target := newStub(t, nil, healthyOnly("200"))
	other := newStub(t, nil, healthyOnly("200"))
	cfg := checked(target.addr, HealthCheck{})
	cfg.TargetGroups[0].Attributes = map[string]any{"slow_start.duration_seconds": 900}
	cfg.TargetGroups[0].Targets = append(cfg.TargetGroups[0].Targets, other.addr)
	m := start(t, cfg, Options{TimeScale: hurried})
	m.settled("healthy", "healthy")
	g := m.plan.order[0]
	warming := func() (out []bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, t := range g.targets {
			out = append(out, !t.warmFrom.IsZero())
		}
		return out
	}
	if got := warming(); !slices.Equal(got, []bool{false, false}) {
		t.Errorf("those of an empty group are in slow start: %v", got)
	}
	m.deregister(other.addr)
	if err := m.Register("t", other.addr); err != nil {
		t.Fatal(err)
	}
	m.settled("healthy", "healthy")
	if got := warming(); !slices.Equal(got, []bool{false, true}) {
		t.Errorf("in slow start: %v, want the one that was registered anew", got)
	}
	m.deregister(target.addr)
	if err := m.Register("t", target.addr); err != nil {
		t.Fatal(err)
	}
	m.settled("healthy", "healthy")
	if got := warming(); !slices.Equal(got, []bool{false, true}) {
		t.Errorf("in slow start: %v; it takes a healthy target beside it that is in none", got)
	}
}

func TestAlgorithmsThatDoNotGoWithSlowStart(t *testing.T) {
	for path, attributes := range map[string]map[string]any{
		"slow_start.duration_seconds":                 {"slow_start.duration_seconds": 30, "load_balancing.algorithm.type": "weighted_random"},
		"load_balancing.algorithm.anomaly_mitigation": {"load_balancing.algorithm.anomaly_mitigation": "on"},
		"load_balancing.algorithm.type":               {"load_balancing.algorithm.type": "random"},
	} {
		var faults Faults
		planGroupSettings(attributes, "a", &faults)
		if len(faults) != 1 || faults[0].Path != "a["+path+"]" {
			t.Errorf("%v: faults %v, want one at %s", attributes, faults, path)
		}
	}
}
