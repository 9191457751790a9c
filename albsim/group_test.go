package albsim

import (
	"errors"
	"io"
	"testing"
)

// first is the only target of the only group.
func (m *sim) first() *target { return m.plan.groups["t"].targets[0] }

func TestEveryLeaseGoesBack(t *testing.T) {
	closed := start(t, plain(closedPort(t)), Options{})
	closed.request(plainGet)
	closed.logLines(1) // a line is written behind the return of the lease
	if n := closed.first().outstanding.Load(); n != 0 {
		t.Errorf("target not reached: %d leases are out", n)
	}

	m := start(t, plain(newStub(t, nil, ok).addr), Options{})
	m.request(plainGet)
	m.logLines(1)
	if n := m.first().outstanding.Load(); n != 0 {
		t.Errorf("request answered: %d leases are out", n)
	}

	m = start(t, plain(newStub(t, nil, switching("x", echo)).addr), Options{})
	c := m.dial()
	c.send(upgradeRequest("alpn"))
	c.head()
	c.expect("x")
	if n := m.first().outstanding.Load(); n != 1 {
		t.Errorf("tunnel open: %d leases are out, want 1", n)
	}
	c.Close()
	m.logLines(1)
	if n := m.first().outstanding.Load(); n != 0 {
		t.Errorf("tunnel closed: %d leases are out", n)
	}
}

func TestTheEndOfATargetEndsWhatItIsAtWorkOn(t *testing.T) {
	seen := make(chan error, 1)
	silent := newStub(t, nil, func(c *client, _ string) {
		_, err := c.br.ReadByte()
		seen <- err
		c.Close()
	})
	m := start(t, plain(silent.addr), Options{})
	c := m.dial()
	c.send(plainGet)
	silent.head(t)
	m.first().end(errors.New("deregistered"))
	if status, head, _ := c.response(); status != 502 {
		t.Errorf("a request: got %q, want 502", head)
	}
	if err := <-seen; err == nil {
		t.Error("a request: the target's connection gave a byte, want its end")
	}

	switched := newStub(t, nil, switching("x", func(c *client) {
		_, err := c.br.ReadByte()
		seen <- err
	}))
	m = start(t, plain(switched.addr), Options{})
	c = m.dial()
	c.send(upgradeRequest("alpn"))
	c.head()
	c.expect("x")
	m.first().end(errors.New("deregistered"))
	if _, err := c.br.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("a tunnel: the client saw %v, want EOF", err)
	}
	if err := <-seen; !errors.Is(err, io.EOF) {
		t.Errorf("a tunnel: the target saw %v, want EOF", err)
	}
}
