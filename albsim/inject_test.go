package albsim

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// noted is a connection that goes nowhere and notes where the writes to it end; it gives an endless stream to read.
type noted struct {
	net.Conn
	at   int
	cuts []int
}

func (c *noted) Write(p []byte) (int, error) {
	c.at += len(p)
	c.cuts = append(c.cuts, c.at)
	return len(p), nil
}

func (c *noted) Read(p []byte) (int, error) { return len(p), nil }

func (c *noted) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// cuts sends 5000 bytes in writes of that size through the nth connection of a hop, and says where it was cut.
func cuts(t *testing.T, i Injection, nth, size int) []int {
	t.Helper()
	b := newBoard(nil)
	var c *noted
	var w *wire
	for range nth {
		c = &noted{}
		w = b.wire("client", "", false, c)
	}
	b.inject(i, time.Now())
	for sent := 0; sent < 5000; sent += size {
		if n, err := w.write(make([]byte, size)); n != size || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	return c.cuts
}

func TestSameSeedCutsAtTheSameOffsets(t *testing.T) {
	split := Injection{Kind: "split", Hop: "client", Bytes: 100, Seed: 7}
	whole := cuts(t, split, 1, 5000)
	if len(whole) < 50 || len(whole) > 5000 {
		t.Errorf("%d pieces of at most 100 bytes", len(whole))
	}
	for at, before := range append([]int{0}, whole[:len(whole)-1]...) {
		if whole[at]-before > 100 {
			t.Errorf("a piece of %d bytes", whole[at]-before)
		}
	}
	if again := cuts(t, split, 1, 5000); !slices.Equal(again, whole) {
		t.Error("the same seed cuts elsewhere the second time")
	}
	small := cuts(t, split, 1, 8) // its writes end in other places too
	for _, at := range whole {
		if !slices.Contains(small, at) {
			t.Errorf("small writes are not cut at %d", at)
		}
	}
	if other := cuts(t, split, 2, 5000); slices.Equal(other, whole) {
		t.Error("another connection is cut at the same offsets")
	}
	split.Seed = 8
	if other := cuts(t, split, 1, 5000); slices.Equal(other, whole) {
		t.Error("another seed cuts at the same offsets")
	}
}

func TestReadsAreCutLikeWrites(t *testing.T) {
	lengths := func(seed uint64) (out []int) {
		b := newBoard(nil)
		w := b.wire("target", "", false, &noted{})
		b.inject(Injection{Kind: "split", Hop: "target", Direction: "down", Bytes: 100, Seed: seed}, time.Now())
		for range 50 {
			n, err := w.read(make([]byte, 4096))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, n)
		}
		return out
	}
	if a, b := lengths(1), lengths(1); !slices.Equal(a, b) || slices.Max(a) > 100 || slices.Equal(a, lengths(2)) {
		t.Errorf("reads of %v, then %v", a, b)
	}
}

func TestJitterIsDrawnFromTheSeed(t *testing.T) {
	draws := func(seed uint64) (out []time.Duration) {
		b := newBoard(nil)
		w := b.wire("client", "", false, &noted{})
		b.inject(Injection{Kind: "latency", Hop: "client", Delay: Duration(time.Hour), Jitter: Duration(time.Hour), Seed: seed}, time.Now())
		w.out.take()
		for range 20 {
			out = append(out, time.Until(w.out.when(1, true)).Round(time.Minute))
		}
		return out
	}
	a, b := draws(1), draws(1)
	if !slices.Equal(a, b) || slices.Equal(a, draws(2)) || slices.Min(a) < time.Hour || slices.Max(a) > 2*time.Hour || slices.Min(a) == slices.Max(a) {
		t.Errorf("delays %v, then %v", a, b)
	}
}

// disturbed opens a tunnel through a simulator with those faults. The target runs serve behind the 101.
func disturbed(t *testing.T, serve func(c *client), faults ...Injection) (*sim, *client) {
	t.Helper()
	target := newStub(t, nil, switching("", serve))
	cfg := plain(target.addr)
	cfg.Faults = faults
	m := start(t, cfg, Options{})
	c := m.dial()
	c.send(upgradeRequest("alpn"))
	c.head()
	return m, c
}

// timed says how long it takes to send a message and to have it echoed.
func (c *client) timed(message string) time.Duration {
	c.t.Helper()
	begun := time.Now()
	c.send(message)
	c.expect(message)
	return time.Since(begun)
}

func TestLatencyDelaysABurstOnceInEachDirection(t *testing.T) {
	const late = 60 * time.Millisecond
	for _, i := range []Injection{
		{Hop: "client", Direction: "up"}, {Hop: "client", Direction: "down"}, {Hop: "target", Direction: "up"}, {Hop: "target", Direction: "down"},
	} {
		i.Kind, i.Delay = "latency", Duration(late)
		_, c := disturbed(t, echo, i)
		c.timed("first") // the upgrade and its answer may be of the same burst
		<-time.After(10 * burst)
		if took := c.timed("ping"); took < late || took > late+patience/2 {
			t.Errorf("%s %s: a round trip took %v, want %v and a bit", i.Hop, i.Direction, took, late)
		}
	}
	_, c := disturbed(t, echo, Injection{Kind: "latency", Hop: "client", Delay: Duration(late)})
	bulk := strings.Repeat("0123456789abcdef", 64<<10)
	sent := make(chan error, 1)
	begun := time.Now()
	go func() {
		_, err := io.WriteString(c, bulk)
		sent <- err
	}()
	c.expect(bulk)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if pieces := len(bulk) / (16 << 10); time.Since(begun) > time.Duration(pieces)*late/2 {
		t.Errorf("1 MiB took %v: every piece of it was delayed", time.Since(begun))
	}
}

func TestBandwidthBoundsTheRate(t *testing.T) {
	_, c := disturbed(t, echo, Injection{Kind: "bandwidth", Hop: "target", Direction: "up", BytesPerSecond: 100_000})
	begun := time.Now()
	c.timed(strings.Repeat("x", 30_000))
	if took := time.Since(begun); took < 250*time.Millisecond {
		t.Errorf("30 kB at 100 kB/s took %v", took)
	}
}

func TestDripSendsPieces(t *testing.T) {
	var conns recorded
	target := newStub(t, nil, switching("", echo))
	cfg := plain(target.addr)
	cfg.Faults = []Injection{{Kind: "drip", Hop: "client", Direction: "down", Bytes: 5, Delay: Duration(2 * time.Millisecond)}}
	c := start(t, cfg, Options{Wrap: conns.wrap}).dial()
	c.send(upgradeRequest("alpn"))
	head := c.head()
	begun := time.Now()
	message := strings.Repeat("y", 100)
	c.timed(message)
	if took := time.Since(begun); took < 30*time.Millisecond {
		t.Errorf("twenty pieces took %v", took)
	}
	pieces := conns.writes()
	for _, n := range pieces {
		if n > 5 {
			t.Errorf("a piece of %d bytes", n)
		}
	}
	if want := (len(head) + len(message)) / 5; len(pieces) < want {
		t.Errorf("%d pieces, want %d", len(pieces), want)
	}
}

// recorded notes the sizes of the writes to connections in front.
type recorded struct {
	mu    sync.Mutex
	sizes []int
}

func (r *recorded) writes() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sizes)
}

func (r *recorded) wrap(ln net.Listener) net.Listener { return recordedListener{ln, r} }

type recordedListener struct {
	net.Listener
	r *recorded
}

func (l recordedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return recordedConn{conn.(*net.TCPConn), l.r}, nil
}

type recordedConn struct {
	*net.TCPConn
	r *recorded
}

func (c recordedConn) Write(p []byte) (int, error) {
	c.r.mu.Lock()
	c.r.sizes = append(c.r.sizes, len(p))
	c.r.mu.Unlock()
	return c.TCPConn.Write(p)
}

func TestStallHoldsWhatComesBehindIt(t *testing.T) {
	const pause = 200 * time.Millisecond
	request := len(upgradeRequest("alpn"))
	_, c := disturbed(t, echo, Injection{Kind: "stall", Hop: "client", Direction: "up", AtByte: int64(request + 4), For: Duration(pause)})
	if took := c.timed("ping"); took > pause {
		t.Errorf("what comes before the stall took %v", took)
	}
	if took := c.timed("late"); took < pause-20*time.Millisecond {
		t.Errorf("what comes behind it took %v, want %v", took, pause)
	}
	if took := c.timed("well"); took > pause {
		t.Errorf("behind the stall's end %v", took)
	}
}

func TestStalledTunnelIsIdleAndCanBeCut(t *testing.T) {
	forGood := Injection{Kind: "stall", Hop: "target", AtByte: 1}
	target := newStub(t, nil, switching("", echo))
	cfg := plain(target.addr)
	cfg.Attributes["idle_timeout.timeout_seconds"] = 2
	m := start(t, cfg, tenth)
	c := m.dial()
	c.send(upgradeRequest("alpn"))
	c.head()
	forGood.AtByte = 0
	if err := m.Inject(forGood); err != nil {
		t.Fatal(err)
	}
	c.send("lost")
	if b, err := io.ReadAll(c.br); len(b) > 0 || timedOut(err) {
		t.Errorf("got %q, %v; want the end that the idle timeout brings", b, err)
	}

	m, c = disturbed(t, echo)
	if err := m.Inject(forGood); err != nil {
		t.Fatal(err)
	}
	c.send("lost")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestHalfCloseEndsOneDirectionAtItsByte(t *testing.T) {
	request := int64(len(upgradeRequest("alpn")))
	got := make(chan string, 1)
	_, c := disturbed(t, func(c *client) {
		b, err := io.ReadAll(c.br)
		if err != nil {
			t.Errorf("the target saw %v, want EOF", err)
		}
		got <- string(b)
		say(c, "bye")
	}, Injection{Kind: "half-close", Hop: "client", Direction: "up", AtByte: request + 5})
	c.send("0123456789")
	if b := <-got; b != "01234" {
		t.Errorf("the target got %q, want the first five bytes", b)
	}
	c.expect("bye")
}

func TestTruncateEndsTheStreamAtItsByte(t *testing.T) {
	_, c := disturbed(t, echo)
	c.Close()
	target := newStub(t, nil, func(c *client, _ string) { say(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789") })
	cfg := plain(target.addr)
	cfg.Faults = []Injection{{Kind: "truncate", Hop: "client", Direction: "down", AtByte: 20}}
	m := start(t, cfg, Options{})
	c = m.dial()
	c.send(plainGet)
	if b, err := io.ReadAll(c.br); err != nil || string(b) != "HTTP/1.1 200 OK\r\nCon" {
		t.Errorf("got %q, %v; want 20 bytes and the end", b, err)
	}

	cfg.Faults = []Injection{{Kind: "truncate", Hop: "target", Direction: "down", AtByte: 20}}
	if status, head, _ := start(t, cfg, Options{}).request(plainGet); status != 502 {
		t.Errorf("a head cut short: got %q", head)
	}
}

func TestResetReachesBothEnds(t *testing.T) {
	for _, hop := range []string{"client", "target"} {
		ended := make(chan error, 1)
		_, c := disturbed(t, func(c *client) {
			_, err := io.Copy(c, c.br)
			ended <- err
		}, Injection{Kind: "reset", Hop: hop, Direction: "up", AtByte: int64(len(upgradeRequest("alpn"))) + 400})
		c.send(strings.Repeat("x", 1000)) // a target's head is longer than the client's, and not by 600 bytes
		if _, err := io.ReadAll(c.br); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the client saw %v, want a reset", hop, err)
		}
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the target saw %v, want a reset", hop, err)
		}
	}
}

func TestInjectStrikesWhatStands(t *testing.T) {
	for _, c := range []struct {
		i    Injection
		want error
	}{
		{Injection{Kind: "reset", Hop: "client", At: Duration(20 * time.Millisecond)}, syscall.ECONNRESET},
		{Injection{Kind: "reset", Hop: "target"}, syscall.ECONNRESET},
		{Injection{Kind: "truncate", Hop: "client"}, nil},
	} {
		target := newStub(t, nil, switching("", rest))
		events := make(chan Event, 10)
		m := start(t, plain(target.addr), Options{Observe: func(e Event) {
			if e.Kind == EventFault {
				events <- e
			}
		}})
		cl := m.dial()
		cl.send(upgradeRequest("alpn"))
		cl.head()
		if err := m.Inject(c.i); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(cl.br); len(b) > 0 || !errors.Is(err, c.want) {
			t.Errorf("%v: the client got %q, %v; want %v", c.i, b, err, c.want)
		}
		if e := <-events; e.Detail != c.i.Kind || e.Hop != c.i.Hop || e.Remote == "" || e.Local == "" || e.Injection != c.i || e.Time.IsZero() {
			t.Errorf("told of %+v", e)
		}
	}
}

func TestDeadTargetRefusesUntilItIsBack(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		if has(head, "Upgrade") {
			switching("", rest)(c, head)
			return
		}
		ok(c, head)
	})
	m := start(t, plain(target.addr), Options{})
	c := m.dial()
	c.send(upgradeRequest("alpn"))
	c.head()
	const gone = 200 * time.Millisecond
	died := time.Now()
	if err := m.Inject(Injection{Kind: "target-death", Hop: "target", Target: target.addr, For: Duration(gone)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.br.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the tunnel ended with %v, want a reset", err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	refused := 0
	for status := 0; status != 200; <-tick.C {
		if status, _, _ = m.request(plainGet); status == 502 {
			refused++
		}
		if time.Since(died) > patience {
			t.Fatal("the target does not come back")
		}
	}
	if refused == 0 || time.Since(died) < gone {
		t.Errorf("%d requests refused, back after %v", refused, time.Since(died))
	}
}

func TestFaultsBelowTLSLeaveAWholeSession(t *testing.T) {
	target := newStub(t, nil, switching("", echo))
	cfg := secure(t, target.addr)
	cfg.Faults = []Injection{
		{Kind: "split", Hop: "client", Bytes: 7, Seed: 1},
		{Kind: "jitter", Hop: "target", Jitter: Duration(2 * time.Millisecond), Seed: 2},
	}
	m := start(t, cfg, Options{})
	c, _ := m.dialTLS(&tls.Config{})
	c.send(upgradeRequest("alpn"))
	c.head()
	message := strings.Repeat("payload ", 500)
	for range 5 {
		c.timed(message)
	}
}

func TestFaultsOfADocumentAreChecked(t *testing.T) {
	cfg := plain("127.0.0.1:1")
	cfg.Faults = []Injection{
		{Kind: "latncy", Hop: "client"},
		{Kind: "latency", Hop: "router"},
		{Kind: "split", Hop: "client", Direction: "left", Bytes: -1},
		{Kind: "stall", Hop: "client", At: 1, AtByte: 1, Delay: 5},
		{Kind: "target-death", Hop: "client", At: -1},
		{Kind: "bandwidth", Hop: "target", BytesPerSecond: 1, For: Duration(time.Second)}, // sound
	}
	_, err := New(cfg, Options{})
	faults, ok := errors.AsType[Faults](err)
	if !ok {
		t.Fatalf("New: %v", err)
	}
	var paths []string
	for _, f := range faults {
		paths = append(paths, f.Path)
	}
	want := []string{
		"faults[0].kind", "faults[1].hop", "faults[1].delay", "faults[2].direction", "faults[2].bytes", "faults[3].at_byte", "faults[3].delay",
		"faults[4].hop", "faults[4].at", "faults[4].target",
	}
	if !slices.Equal(paths, want) || !strings.Contains(faults[0].Message, "did you mean latency") {
		t.Errorf("faults\n%v\nat %q, want %q", err, paths, want)
	}
	good := cfg
	good.Faults = nil
	s, err := New(good, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Inject(cfg.Faults[0]); err == nil {
		t.Error("Inject takes an unknown kind")
	}
}

func TestConnectionsWithoutFaultsPayNothing(t *testing.T) {
	b := newBoard(nil)
	w := b.wire("client", "", false, &noted{})
	p := bytes.Repeat([]byte("x"), 100)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := w.read(p); err != nil {
			t.Error(err)
		}
		w.deadlines(true, true, time.Time{})
	}); n > 0 {
		t.Errorf("%v allocations a read", n)
	}
}

// fed is a connection whose reads wait for what a test has for them, and say that they wait.
type fed struct {
	net.Conn
	waits chan struct{}
	bytes chan string
}

func (c fed) Read(p []byte) (int, error) {
	c.waits <- struct{}{}
	return copy(p, <-c.bytes), nil
}

func (c fed) SetReadDeadline(time.Time) error { return nil }

func (c fed) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// readWhile injects a fault while a read waits, lets bytes come, and reads until it has them or nothing comes in time.
func readWhile(t *testing.T, earlier int, i Injection) (got string, err error) {
	t.Helper()
	b := newBoard(nil)
	c := fed{waits: make(chan struct{}, 9), bytes: make(chan string, 9)}
	w := b.wire("target", "", false, c)
	for range earlier { // so that bytes have been counted before
		b.inject(Injection{Kind: "bandwidth", Hop: "target", BytesPerSecond: 1 << 40}, time.Now())
		c.bytes <- "before"
		if _, err := w.read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		<-c.waits
	}
	done := make(chan struct{})
	var p [100]byte
	var n int
	go func() {
		defer close(done)
		n, err = w.read(p[:])
	}()
	<-c.waits
	b.inject(i, time.Now())
	w.deadlines(true, false, time.Now().Add(50*time.Millisecond)) // for a stall
	c.bytes <- "answer"
	<-done
	if got = string(p[:n]); err == nil && got != "answer" {
		n, err = w.read(p[:])
		got += "|" + string(p[:n])
	}
	return got, err
}

// TestAFaultStrikesAReadThatWaits wants what comes behind Inject to meet it, be it the first of the server or not.
func TestAFaultStrikesAReadThatWaits(t *testing.T) {
	for earlier := range 2 {
		if got, err := readWhile(t, earlier, Injection{Kind: "stall", Hop: "target", Clock: "server"}); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("behind %d: a stall lets %q pass, %v", earlier, got, err)
		}
		if got, err := readWhile(t, earlier, Injection{Kind: "half-close", Hop: "target", Direction: "down", AtByte: 2, Clock: "server"}); got != "an|" || !errors.Is(err, io.EOF) {
			t.Errorf("behind %d: an end behind 2 bytes lets %q pass, %v", earlier, got, err)
		}
		if got, err := readWhile(t, earlier, Injection{Kind: "stall", Hop: "target", AtByte: 2, Clock: "server"}); got != "an|" || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("behind %d: a stall behind 2 bytes lets %q pass, %v", earlier, got, err)
		}
	}
}
