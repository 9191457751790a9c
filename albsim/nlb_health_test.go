package albsim

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
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

// pair is a group of two targets whose health is checked on one port of either's address.
type pair struct {
	*sim
	sick   *atomic.Bool // the first target's health breaks off
	conns  chan *client // that came to the first
	target string       // the first
}

// answering is a target that says its name on a connection's first byte, and then leaves it be.
func answering(t *testing.T, host, name string) (*stub, chan *client) {
	conns, done := make(chan *client, 64), make(chan struct{})
	s := sinkAt(t, host, func(c *client) {
		if _, err := c.br.ReadByte(); err == nil {
			say(c, name)
			conns <- c
			<-done
		}
	})
	t.Cleanup(func() { close(done) })
	return s, conns
}

// newPair starts them; targets are what of the two is registered.
func newPair(t *testing.T, targets int, attributes map[string]any) *pair {
	t.Helper()
	first, conns := answering(t, "127.0.0.1", "1")
	second, _ := answering(t, "127.0.0.2", "2")
	p := &pair{conns: conns, target: first.addr, sick: new(atomic.Bool)}
	cfg := checkedAt(t, healthOfTwo(t, p.sick), first.addr, HealthCheck{Protocol: "HTTP"})
	cfg.TargetGroups[0].Targets = []string{first.addr, second.addr}[:targets]
	cfg.TargetGroups[0].Attributes = attributes
	cfg.Listeners[0].Attributes["tcp.idle_timeout.seconds"] = 6000 // no flow is to end by it
	p.sim = start(t, cfg, Options{TimeScale: hurried})
	p.states("healthy")
	return p
}

// healthOfTwo serves checks on one port of two addresses, and breaks those of the first off when it is sick.
func healthOfTwo(t *testing.T, sick *atomic.Bool) string {
	t.Helper()
	for range 16 { // the other address's port may be taken
		one, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(one.Addr().String())
		two, err := net.Listen("tcp", "127.0.0.2:"+port)
		if err != nil {
			one.Close()
			continue
		}
		for _, ln := range []net.Listener{one, two} {
			ts := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				if ln == one && sick.Load() {
					panic(http.ErrAbortHandler)
				}
			}))
			ts.Listener.Close()
			ts.Listener = ln
			ts.Start()
			t.Cleanup(ts.Close)
		}
		return one.Addr().String()
	}
	t.Fatal("no port is free on two addresses")
	return ""
}

// states waits for the first target's, and the second's to be healthy.
func (p *pair) states(first string) {
	p.t.Helper()
	want := []string{first, "healthy"}
	p.settled(want[:len(p.Targets())]...)
}

// flow is one to the first target: both of its ends.
func (p *pair) flow() (front, behind *client) {
	p.t.Helper()
	for range 64 {
		c := p.dial()
		c.send("?")
		if b, err := c.br.ReadByte(); err != nil {
			p.t.Fatal(err)
		} else if b == '1' {
			return c, <-p.conns
		}
		c.Close()
	}
	p.t.Fatal("no flow of 64 goes to the first target")
	return nil, nil
}

// alive asserts that a flow carries bytes both ways.
func alive(front, behind *client) {
	front.t.Helper()
	front.send("up")
	behind.expect("up")
	say(behind, "down")
	front.expect("down")
}

const failedChecks = " Target.FailedHealthChecks"

func TestNLB_TCP_05_AnUnhealthyTargetsFlowsAreReset(t *testing.T) {
	for name, one := range map[string]struct {
		targets          int
		terminate, reset bool
	}{
		"the other one is healthy": {2, true, true},
		"all are unhealthy":        {1, true, false}, // the group opens to all
		"they are not to end":      {2, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, one.targets, map[string]any{"target_health_state.unhealthy.connection_termination.enabled": one.terminate})
			front, behind := p.flow()
			p.sick.Store(true)
			p.states("unhealthy" + failedChecks)
			if one.reset {
				front.isReset()
				behind.isReset()
				p.counted(map[string]int64{"TCP_ELB_Reset_Count": 2, "UnHealthyHostCount": 1})
			} else {
				alive(front, behind)
				p.counted(map[string]int64{"TCP_ELB_Reset_Count": 0, "UnHealthyHostCount": 1})
			}
			if one.targets == 1 {
				alive(p.flow())
				p.counted(map[string]int64{"UnhealthyRoutingFlowCount": 1})
			}
		})
	}
}

// draining is a pair whose first target has turned unhealthy with a draining interval of so many seconds.
func drainingPair(t *testing.T, interval int) (p *pair, front, behind *client) {
	t.Helper()
	p = newPair(t, 2, map[string]any{
		"target_health_state.unhealthy.connection_termination.enabled": false,
		"target_health_state.unhealthy.draining_interval_seconds":      interval,
	})
	front, behind = p.flow()
	p.sick.Store(true)
	p.states("unhealthy.draining" + failedChecks)
	return p, front, behind
}

func TestAnUnhealthyTargetDrainsForItsInterval(t *testing.T) {
	p, front, behind := drainingPair(t, 300) // 2 s
	alive(front, behind)
	p.counted(map[string]int64{"UnHealthyHostCount": 1, "HealthyHostCount": 1})
	for range 16 { // a new flow goes elsewhere
		c := p.dial()
		c.send("?")
		c.expect("2")
	}
	front.isReset() // the interval is over
	behind.isReset()
	p.states("unhealthy" + failedChecks)
	p.counted(map[string]int64{"TCP_ELB_Reset_Count": 2})
}

func TestADrainingTargetThatRecoversKeepsItsFlows(t *testing.T) {
	p, front, behind := drainingPair(t, 360000)
	p.sick.Store(false)
	p.states("healthy")
	alive(front, behind)
	p.flow() // and new ones come again
	p.sick.Store(true)
	p.states("unhealthy.draining" + failedChecks) // an interval of its own
	alive(front, behind)
}

func TestADrainingTargetThatIsDeregisteredDrainsByTheOtherDelay(t *testing.T) {
	p, front, behind := drainingPair(t, 360000)
	if err := p.Deregister("t", p.target); err != nil {
		t.Fatal(err)
	}
	p.states(drainingState)
	alive(front, behind)
	if err := p.Register("t", p.target); err != nil {
		t.Fatal(err)
	}
	p.states("initial Elb.InitialHealthChecking") // its health is still away
	alive(front, behind)
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
