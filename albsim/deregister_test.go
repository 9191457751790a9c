package albsim

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// leaving is plain with that deregistration delay in seconds.
func leaving(delay int, targets ...string) Config {
	cfg := plain("")
	cfg.TargetGroups[0].Targets = targets
	cfg.TargetGroups[0].Attributes = map[string]any{"deregistration_delay.timeout_seconds": delay}
	return cfg
}

// held is a target that answers once it is released.
func held(t *testing.T) (target *stub, release func()) {
	gate := make(chan struct{})
	target = newStub(t, nil, func(c *client, head string) {
		<-gate
		ok(c, head)
	})
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	return target, release
}

func (m *sim) deregister(address string) {
	m.t.Helper()
	if err := m.Deregister("t", address); err != nil {
		m.t.Fatal(err)
	}
}

const drainingState = "draining Target.DeregistrationInProgress"

func TestALB_DRN_01_RequestsUnderWayEndWithinTheDelay(t *testing.T) {
	slow, release := held(t)
	m := start(t, leaving(300, slow.addr), Options{})
	c := m.dial()
	c.send(plainGet)
	slow.head(t)
	m.deregister(slow.addr)
	m.settled(drainingState)
	if status, _, _ := m.request(plainGet); status != 503 {
		t.Errorf("a new request got %d, want 503: nothing is registered", status)
	}
	release()
	if status, head, _ := c.response(); status != 200 {
		t.Errorf("the request under way got %q", head)
	}
}

func TestALB_DRN_01_AfterTheDelayItIs502(t *testing.T) {
	ended := make(chan error, 1)
	silent := newStub(t, nil, func(c *client, _ string) {
		_, err := c.br.ReadByte()
		ended <- err
	})
	m := start(t, leaving(10, silent.addr), Options{TimeScale: 0.01})
	c := m.dial()
	c.send(plainGet)
	silent.head(t)
	begun := time.Now()
	m.deregister(silent.addr)
	status, head, _ := c.response()
	if took := time.Since(begun); status != 502 || took < 100*time.Millisecond {
		t.Errorf("%q after %v, want 502 after 100ms", head, took)
	}
	if err := <-ended; err == nil {
		t.Error("the target got a byte, want its end")
	}
	m.settled() // unused: not there any more
}

func TestALB_DRN_01_TheDelayEndsAConnectToo(t *testing.T) {
	dialing := make(chan struct{})
	m := start(t, leaving(1, "127.0.0.1:1"), Options{
		TimeScale: 0.1,
		DialTarget: func(ctx context.Context, _, _ string) (net.Conn, error) {
			close(dialing)
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	c := m.dial()
	c.send(plainGet)
	<-dialing
	m.deregister("127.0.0.1:1")
	if status, head, _ := c.response(); status != 502 {
		t.Errorf("got %q, want 502", head)
	}
}

func TestALB_DRN_01_ATargetThatClosesEarlyIs502(t *testing.T) {
	release := make(chan struct{})
	target := newStub(t, nil, func(c *client, _ string) {
		<-release
		c.Close()
	})
	closeIt := sync.OnceFunc(func() { close(release) })
	t.Cleanup(closeIt)
	m := start(t, leaving(300, target.addr), Options{})
	c := m.dial()
	c.send(plainGet)
	target.head(t)
	m.deregister(target.addr)
	closeIt()
	if status, head, _ := c.response(); status != 502 {
		t.Errorf("got %q, want 502", head)
	}
}

func TestALB_DRN_01_IdleConnectionsEndWithTheLastRequest(t *testing.T) {
	ended := make(chan error, 1)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	target := newStub(t, nil, func(c *client, head string) {
		<-release
		ok(c, head)
		_, err := c.br.ReadByte()
		ended <- err
	})
	t.Cleanup(free)
	m := start(t, leaving(300, target.addr), Options{})
	c := m.dial()
	c.send(plainGet)
	target.head(t)
	m.deregister(target.addr)
	free()
	c.response()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the target's connection ended with %v, want EOF", err)
	}
	m.settled(drainingState) // AWS shows it so until the delay is over
}

func TestALB_DRN_02_TunnelAtTheEndOfTheDelay(t *testing.T) {
	for _, word := range []string{"cut", "keep"} {
		t.Run(word, func(t *testing.T) {
			target := newStub(t, nil, switching("x", echo))
			cfg := leaving(10, target.addr)
			cfg.Profile = withKnobs(t, func(p *Profile) { p.TunnelAtDeregistration = word })
			m := start(t, cfg, Options{TimeScale: 0.01})
			c := m.dial()
			c.send(upgradeRequest("alpn"))
			c.head()
			c.expect("x")
			m.deregister(target.addr)
			m.settled(drainingState)
			c.send("while it drains")
			c.expect("while it drains")
			m.settled()
			if word == "keep" {
				c.send("y")
				c.expect("y")
				return
			}
			if _, err := c.br.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("the client saw %v, want EOF", err)
			}
		})
	}
}

func TestRegisterTakesADrainingTargetBack(t *testing.T) {
	target, release := held(t)
	after := closedPort(t)
	m := start(t, leaving(20, target.addr, after), Options{TimeScale: 0.01})
	c := m.dial()
	c.send(plainGet)
	target.head(t)
	m.deregister(target.addr)
	if err := m.Register("t", target.addr); err != nil {
		t.Fatal(err)
	}
	m.deregister(after)
	m.settled("unavailable Target.HealthCheckDisabled") // the one that left later is gone, so the first's delay would be over
	release()
	if status, head, _ := c.response(); status != 200 {
		t.Errorf("the request under way got %q", head)
	}
}

func TestRegisterWhileItRuns(t *testing.T) {
	target := newStub(t, nil, healthyOnly("200"))
	cfg := checked("", HealthCheck{})
	cfg.TargetGroups[0].Targets = nil
	m := start(t, cfg, Options{TimeScale: hurried})
	if status, _, _ := m.request(plainGet); status != 503 {
		t.Errorf("an empty group answers %d, want 503", status)
	}
	for range 2 { // the second changes nothing
		if err := m.Register("t", target.addr); err != nil {
			t.Fatal(err)
		}
		m.settled("healthy")
	}
	if status, _, _ := m.request(plainGet); status != 200 {
		t.Errorf("status %d, want 200", status)
	}
	var missing *NotThereError
	if err := m.Register("u", target.addr); !errors.As(err, &missing) || missing.Group != "u" {
		t.Errorf("a group that is not there: %v", err)
	}
	if err := m.Deregister("t", "127.0.0.1:1"); !errors.As(err, &missing) || missing.Address != "127.0.0.1:1" {
		t.Errorf("a target that is not there: %v", err)
	}
	if err := m.Register("t", "nowhere"); err == nil {
		t.Error("an address without a port was taken")
	}
}

func TestATargetMayBeRegisteredBeforeServe(t *testing.T) {
	target := newStub(t, nil, healthyOnly("200"))
	cfg := checked(closedPort(t), HealthCheck{})
	cfg.Logs.Access = filepath.Join(t.TempDir(), "access.log")
	s, err := New(cfg, Options{TimeScale: hurried})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Register("t", target.addr); err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context()) }()
	m := &sim{Server: s, t: t}
	m.settled("unhealthy Target.FailedHealthChecks", "healthy")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
