package albsim

import (
	"crypto/tls"
	"slices"
	"sync"
	"testing"
	"time"
)

// timeline keeps events.
type timeline struct {
	mu     sync.Mutex
	events []Event
}

func (l *timeline) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// until waits for an event.
func (l *timeline) until(t *testing.T, want func(Event) bool) Event {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		l.mu.Lock()
		i := slices.IndexFunc(l.events, want)
		var e Event
		if i >= 0 {
			e = l.events[i]
		}
		l.mu.Unlock()
		if i >= 0 {
			return e
		}
	}
	t.Fatalf("no such event in %+v", l.events)
	return Event{}
}

func TestObserverSeesATunnelFromItsBeginningToItsEnd(t *testing.T) {
	var l timeline
	target := newStub(t, nil, switching("", echo))
	cfg := plain(target.addr)
	cfg.Attributes["idle_timeout.timeout_seconds"] = 2
	opt := tenth
	opt.Observe = l.add
	c := start(t, cfg, opt).dial()
	c.send(upgradeRequest("alpn"))
	c.head()
	c.send("ping")
	c.expect("ping")
	c.untilEnd(time.Now())
	for _, hop := range []string{"client", "target"} {
		closed := l.until(t, func(e Event) bool { return e.Hop == hop && e.Kind == EventClose })
		if closed.Number != 1 || closed.Remote == "" || closed.Time.IsZero() {
			t.Errorf("%+v", closed)
		}
	}
	timer := l.until(t, func(e Event) bool { return e.Kind == EventTimer })
	if timer.Hop != "client" || timer.Detail != "idle timeout" {
		t.Errorf("%+v", timer)
	}
	moved := map[string]int{}
	last := map[string]EventKind{}
	for _, e := range l.events {
		if e.Kind == EventOpen && last[e.Hop] != "" {
			t.Errorf("%s begins behind %s", e.Hop, last[e.Hop])
		}
		last[e.Hop] = e.Kind
		moved[e.Hop+" "+e.Direction] += e.Bytes
	}
	if up := len(upgradeRequest("alpn")) + len("ping"); moved["client up"] != up {
		t.Errorf("%d bytes from the client, want %d", moved["client up"], up)
	}
	if moved["target down"] == 0 || moved["target up"] <= moved["client up"] || moved["client down"] != moved["target down"] {
		t.Errorf("bytes %v", moved)
	}
}

func TestObserverSeesAlerts(t *testing.T) {
	var l timeline
	cfg := secure(t, "127.0.0.1:1")
	cfg.Profile = "alpn-alert"
	m := start(t, cfg, Options{Observe: l.add})
	if _, err := tls.Dial("tcp", m.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"x"}}); err == nil {
		t.Error("the handshake succeeded")
	}
	if e := l.until(t, func(e Event) bool { return e.Kind == EventAlert }); e.Detail != "120" || e.Hop != "client" {
		t.Errorf("%+v", e)
	}
}
