package albsim

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// By the server's clock an end comes to those that stand, with For to those that begin until it is over, and to none behind it.
func TestServerClockIsOneForAll(t *testing.T) {
	target := newStub(t, nil, switching("", func(c *client) { _, _ = io.Copy(c, c.br) }))
	m := start(t, plain(target.addr), Options{})
	stands := m.dial()
	stands.send(upgradeRequest("alpn"))
	stands.head()
	if err := m.Inject(Injection{Kind: "reset", Hop: "client", Clock: "server"}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(stands.br); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("who stood saw %v, want a reset", err)
	}
	next := m.dial()
	next.send(upgradeRequest("alpn"))
	next.head()
	next.send("ping")
	next.expect("ping")

	if err := m.Inject(Injection{Kind: "reset", Hop: "client", Clock: "server", For: Duration(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	begins, err := net.Dial("tcp", m.addr)
	if err == nil {
		defer begins.Close()
		_, err = io.ReadAll(begins)
	}
	if !errors.Is(err, syscall.ECONNRESET) { // which may come before the dialling is over
		t.Errorf("who began while it lasted saw %v, want a reset", err)
	}
}

// A state by the server's clock is over for connections that begin behind it; by their own it waits for each.
func TestStatesByEitherClock(t *testing.T) {
	since := time.Now()
	at := func(d time.Duration) *wire { return &wire{born: since.Add(d)} }
	for _, c := range []struct {
		clock       string
		born        time.Duration
		from, until time.Duration
		over        bool
	}{
		{"", -time.Minute, 2 * time.Second, 5 * time.Second, false},
		{"", time.Minute, time.Minute + 2*time.Second, time.Minute + 5*time.Second, false},
		{"connection", time.Minute, time.Minute + 2*time.Second, time.Minute + 5*time.Second, false},
		{"server", -time.Minute, 2 * time.Second, 5 * time.Second, false},
		{"server", 4 * time.Second, 2 * time.Second, 5 * time.Second, false},
		{"server", time.Minute, 2 * time.Second, 5 * time.Second, true},
	} {
		f := &standing{Injection{Kind: "stall", At: Duration(2 * time.Second), For: Duration(3 * time.Second), Clock: c.clock}, since}
		w := at(c.born)
		if from := f.from(w).Sub(since); from != c.from || f.until(f.from(w)).Sub(since) != c.until || f.over(w.born) != c.over {
			t.Errorf("clock %q, born %v: from %v until %v, over %v", c.clock, c.born, from, f.until(f.from(w)).Sub(since), f.over(w.born))
		}
	}
}
