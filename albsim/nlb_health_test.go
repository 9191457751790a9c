package albsim

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// checkedAt is a TCP listener's document whose targets are checked at another port.
func checkedAt(t *testing.T, at, target string, check HealthCheck) Config {
	t.Helper()
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	cfg := throughTCP(target)
	check.Enabled, check.Port, check.TimeoutSeconds = true, port, 20
	cfg.TargetGroups[0].HealthCheck = check
	return cfg
}

func TestNLB_TCP_05_AnUnhealthyTargetsFlowsAreReset(t *testing.T) {
	for _, terminate := range []bool{true, false} {
		at, conns := holding(t)
		health, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer health.Close()
		cfg := checkedAt(t, health.Addr().String(), at.addr, HealthCheck{})
		cfg.TargetGroups[0].Attributes["target_health_state.unhealthy.connection_termination.enabled"] = terminate
		m := start(t, cfg, Options{TimeScale: hurried})
		m.settled("healthy")
		c := m.dial()
		behind := <-conns
		health.Close()
		m.settled("unhealthy Target.FailedHealthChecks")
		standing := int64(1)
		if terminate {
			standing = 0
			c.isReset()
			behind.isReset()
			m.counted(map[string]int64{"TCP_ELB_Reset_Count": 2, "ActiveFlowCount": 0, "UnHealthyHostCount": 1})
		} else {
			c.send("alive")
			behind.expect("alive")
		}
		c = m.dial() // all are unhealthy: fail-open
		c.send("open")
		(<-conns).expect("open")
		m.counted(map[string]int64{"UnhealthyRoutingFlowCount": 1, "ActiveFlowCount": standing + 1})
	}
}

func TestNLB_PP_01_HealthChecksAreLocal(t *testing.T) {
	const local = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	for _, protocol := range []string{"TCP", "HTTP"} {
		got := make(chan []byte, 64)
		health := sink(t, func(c *client) {
			if protocol == "TCP" {
				b, _ := io.ReadAll(c.br)
				got <- b
				return
			}
			b := make([]byte, len(local))
			_, _ = io.ReadFull(c.br, b)
			head, _ := rawHead(c.br)
			say(c, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")
			got <- append(b, head...)
		})
		cfg := checkedAt(t, health.addr, "127.0.0.1:1", HealthCheck{Protocol: protocol})
		cfg.TargetGroups[0].Attributes["proxy_protocol_v2.enabled"] = true
		m := start(t, cfg, Options{TimeScale: hurried})
		m.settled("healthy")
		b := <-got
		head, ok := bytes.CutPrefix(b, []byte(local))
		if !ok || protocol == "TCP" && len(head) > 0 {
			t.Errorf("%s: a check sent %q", protocol, b)
		}
		if protocol == "HTTP" && (fieldOf(string(head), "Host") != m.addr || !strings.HasPrefix(string(head), "GET / HTTP/1.1\r\n")) {
			t.Errorf("%s: a check sent %q", protocol, b)
		}
		m.counted(map[string]int64{"NewFlowCount": 0, "HealthyHostCount": 1})
	}
}

func TestFlowsOutliveTheDeregistrationUnlessTheyAreToEnd(t *testing.T) {
	for _, terminate := range []bool{false, true} {
		at, conns := holding(t)
		cfg := throughTCP(at.addr)
		cfg.TargetGroups[0].Attributes["deregistration_delay.timeout_seconds"] = 1
		cfg.TargetGroups[0].Attributes["deregistration_delay.connection_termination.enabled"] = terminate
		m := start(t, cfg, Options{TimeScale: 0.1})
		c := m.dial()
		behind := <-conns
		begun := time.Now()
		if err := m.Deregister("t", at.addr); err != nil {
			t.Fatal(err)
		}
		m.refused() // at once, for new ones
		if terminate {
			c.isReset()
			behind.isReset()
			if took := time.Since(begun); took < 100*time.Millisecond {
				t.Errorf("cut after %v", took)
			}
			continue
		}
		m.settled() // the delay is over, and the target gone
		c.send("alive")
		behind.expect("alive")
	}
}

func TestChecksOfANetworkLoadBalancerRefuse(t *testing.T) {
	cfg := throughTCP("127.0.0.1:1")
	cfg.TargetGroups[0].HealthCheck = HealthCheck{Enabled: true, Path: "/"}
	refused(t, cfg, "target_groups[0].health_check")
	cfg.TargetGroups[0].TargetType = "alb"
	cfg.TargetGroups[0].HealthCheck = HealthCheck{Enabled: true, Protocol: "TCP"}
	refused(t, cfg, "target_groups[0].health_check.protocol")
	cfg.TargetGroups[0].HealthCheck = HealthCheck{Enabled: true, Path: "/up"}
	if _, err := New(cfg, Options{}); err != nil {
		t.Errorf("a load balancer as target, checked by HTTP: %v", err)
	}
}
