package albsim

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// watched keeps the events of a simulator.
type watched struct {
	mu     sync.Mutex
	events []Event
}

func (w *watched) observe(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// find waits for an event.
func (w *watched) find(t *testing.T, what string, is func(Event) bool) Event {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		w.mu.Lock()
		i := slices.IndexFunc(w.events, is)
		if i >= 0 {
			defer w.mu.Unlock()
			return w.events[i]
		}
		w.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Fatalf("never told of %s, but of %+v", what, w.events)
	return Event{}
}

func TestObserverIsToldOfBytesAlertsAndEnds(t *testing.T) {
	target := newStub(t, nil, ok)
	var seen watched
	m := start(t, secure(t, target.addr), Options{Observe: seen.observe})
	c, _ := m.dialTLS(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}) //nolint:gosec // it is looked at, not trusted
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	c.response()
	open := seen.find(t, "a connection to the target", func(e Event) bool { return e.Kind == EventOpen && e.Hop == "target" })
	if open.Remote != target.addr || open.Local == "" {
		t.Errorf("open: %+v", open)
	}
	up := seen.find(t, "the request", func(e Event) bool { return e.Kind == EventBytes && e.Hop == "target" && e.Direction == "up" })
	if up.Bytes < len("GET / HTTP/1.1\r\n") || up.Local != open.Local {
		t.Errorf("bytes: %+v", up)
	}
	c.Close() // its close_notify is encrypted
	alert := seen.find(t, "the client's alert", func(e Event) bool { return e.Kind == EventAlert && e.Direction == "up" })
	if alert.Detail != "encrypted" || alert.Hop != "client" {
		t.Errorf("alert: %+v", alert)
	}
	seen.find(t, "the end", func(e Event) bool { return e.Kind == EventClose && e.Hop == "client" && e.Remote == alert.Remote })

	raw := m.dial()
	raw.send("\x15\x03\x01\x00\x02\x02\x70") // fatal, 112
	alert = seen.find(t, "an alert in the clear", func(e Event) bool { return e.Kind == EventAlert && e.Detail == "112" })
	if alert.Direction != "up" {
		t.Errorf("alert: %+v", alert)
	}
}

func TestObserverIsToldOfAnIdleTimeout(t *testing.T) {
	target := newStub(t, nil, switching("", rest))
	var seen watched
	m := start(t, plain(target.addr), Options{Observe: seen.observe, TimeScale: 0.001})
	c := m.dial()
	c.send(upgradeRequest("alpn"))
	c.head()
	timer := seen.find(t, "the timer", func(e Event) bool { return e.Kind == EventTimer })
	if timer.Hop != "client" || timer.Remote != c.LocalAddr().String() {
		t.Errorf("timer: %+v", timer)
	}
}

func TestRecordsFindAlertsWhereverTheyAreCut(t *testing.T) {
	stream := []byte("\x16\x03\x01\x00\x03abc\x15\x03\x03\x00\x02\x02\x28\x14\x03\x03\x00\x01\x01\x15\x03\x03\x00\x20" +
		"0123456789abcdef0123456789abcdef\x17\x03\x03\x00\x00\x15\x03\x03\x00\x02\x01\x00")
	for size := 1; size <= len(stream); size++ {
		var r records
		var got []string
		for piece := range slices.Chunk(stream, size) {
			r.feed(piece, func(detail string) { got = append(got, detail) })
		}
		if !slices.Equal(got, []string{"40", "encrypted", "0"}) {
			t.Errorf("in pieces of %d: %q", size, got)
		}
	}
	var r records
	r.feed([]byte("GET / HTTP/1.1\r\n\x15\x03\x03\x00\x02\x02\x28"), func(detail string) { t.Errorf("an alert %s in plaintext", detail) })
}

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
