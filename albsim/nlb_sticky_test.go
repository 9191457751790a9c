package albsim

import (
	"io"
	"math"
	"net/netip"
	"testing"
)

// calling is a target that says its name to whoever comes.
func calling(t *testing.T, name string) *stub {
	return sink(t, func(c *client) { say(c, name); _, _ = io.Copy(io.Discard, c.br) })
}

// reached is the name of the target that a connection from that address comes to.
func (m *sim) reached(from string) string {
	m.t.Helper()
	c := m.from(from)
	defer c.Close()
	b, err := c.br.ReadByte()
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}

func TestSourceIPKeepsAClientWithItsTarget(t *testing.T) {
	for _, sticky := range []bool{true, false} {
		cfg := throughTCP(calling(t, "a").addr, calling(t, "b").addr, calling(t, "c").addr)
		cfg.TargetGroups[0].Attributes["stickiness.enabled"] = sticky
		cfg.TargetGroups[0].Attributes["stickiness.type"] = "source_ip"
		m := start(t, cfg, Options{Seed: 1})
		all, moved := map[string]bool{}, false
		for _, from := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.8", "127.0.0.9"} {
			first := m.reached(from)
			all[first] = true
			for range 8 {
				moved = moved || m.reached(from) != first
			}
		}
		if moved == sticky {
			t.Errorf("stickiness %v: a client changed its target: %v", sticky, moved)
		}
		if len(all) < 2 {
			t.Errorf("stickiness %v: eight clients have %d targets", sticky, len(all))
		}
	}
}

func TestSourceIPFindsAnotherTargetWhenItsOwnIsGone(t *testing.T) {
	a, b := calling(t, "a"), calling(t, "b")
	cfg := throughTCP(a.addr, b.addr)
	cfg.TargetGroups[0].Attributes["stickiness.enabled"] = true
	m := start(t, cfg, Options{})
	own := m.reached("127.0.0.2")
	gone, other := a.addr, "b"
	if own == "b" {
		gone, other = b.addr, "a"
	}
	m.deregister(gone)
	for range 4 {
		if got := m.reached("127.0.0.2"); got != other {
			t.Errorf("behind the deregistration of %s: target %s", own, got)
		}
	}
}

func TestFlowsFollowTheWeightsOfTargetGroups(t *testing.T) {
	cfg := throughTCP(calling(t, "a").addr)
	cfg.TargetGroups = append(cfg.TargetGroups,
		TargetGroup{Name: "u", Protocol: "TCP", Targets: []string{calling(t, "b").addr}},
		TargetGroup{Name: "v", Protocol: "TCP", Targets: []string{calling(t, "c").addr}})
	cfg.Listeners[0].Default = Default{Actions: []Action{{Type: "forward", TargetGroups: []WeightedTarget{{"t", 30}, {"u", 10}, {"v", 0}}}}}
	m := start(t, cfg, Options{})
	const flows = 400
	got := map[string]float64{}
	for range flows {
		got[m.reached("127.0.0.1")]++
	}
	// Six standard deviations of a binomial.
	if off := 6 * math.Sqrt(flows*0.25*0.75); math.Abs(got["b"]-flows/4) > off || got["c"] > 0 || got["a"]+got["b"] != flows {
		t.Errorf("weights 30, 10 and 0 gave %v", got)
	}
	for _, s := range m.Targets() {
		if s.State == "unused" {
			t.Errorf("%+v: a listener leads to it", s)
		}
	}

	cfg.Listeners[0].Default.Actions[0].TargetGroups = []WeightedTarget{{"t", 0}, {"u", 0}}
	m = start(t, cfg, Options{})
	m.refused()
	m.counted(map[string]int64{"TCP_ELB_Reset_Count": 1})
}

func TestTheGroupsOfOneFlowHashAreSpreadOverTheirTargets(t *testing.T) {
	a, b := &group{name: "a"}, &group{name: "b"}
	n := &networkListener{groups: []share{{a, 1}, {b, 1}}}
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port) }
	counts := map[string]int{}
	for port := range uint16(4000) {
		h := flowHash(1, at(port), at(443))
		counts[n.group(h).name+string(rune('0'+h%2))]++
	}
	for _, of := range []string{"a0", "a1", "b0", "b1"} {
		if n := counts[of]; n < 850 || n > 1150 {
			t.Errorf("group and target %s: %d of 4000", of, n)
		}
	}
}

func TestWhatANetworkLoadBalancersGroupsRefuse(t *testing.T) {
	sticky := func(g *TargetGroup) { g.Attributes["stickiness.enabled"] = true }
	cfg := throughTLS(t, "None", "127.0.0.1:1")
	sticky(&cfg.TargetGroups[0])
	refused(t, cfg, "listeners[0].default.forward")

	cfg = throughTCP("127.0.0.1:1")
	cfg.TargetGroups[0].Attributes["stickiness.type"] = "lb_cookie"
	refused(t, cfg, "target_groups[0].attributes[stickiness.type]")

	cfg = throughTCP("127.0.0.1:1")
	cfg.TargetGroups[0].Attributes["target_health_state.unhealthy.draining_interval_seconds"] = 1 // flows end at once
	refused(t, cfg, "target_groups[0].attributes[target_health_state.unhealthy.draining_interval_seconds]")
	cfg.TargetGroups[0].Attributes["target_health_state.unhealthy.draining_interval_seconds"] = 360001
	refused(t, cfg, "target_groups[0].attributes[target_health_state.unhealthy.draining_interval_seconds]")

	action := Action{Type: "forward", TargetGroups: []WeightedTarget{{"t", 1}}, TargetGroupStickiness: TargetGroupStickiness{Enabled: true, DurationSeconds: 1}}
	cfg = throughTCP("127.0.0.1:1")
	cfg.Listeners[0].Default = Default{Actions: []Action{action}}
	refused(t, cfg, "listeners[0].default.actions[0].target_group_stickiness_config")
	action = Action{Type: "forward", TargetGroups: []WeightedTarget{{"t", 1000}, {"none", 1}}}
	cfg.Listeners[0].Default = Default{Actions: []Action{action}}
	refused(t, cfg, "listeners[0].default.actions[0].target_groups", "listeners[0].default.actions[0].target_groups")
	action = Action{Type: "forward", TargetGroup: "t", TargetGroups: []WeightedTarget{{"t", 1}}}
	cfg.Listeners[0].Default = Default{Actions: []Action{action}}
	refused(t, cfg, "listeners[0].default.actions[0]")
}
