package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// dialPollable is dial over connections that a loop takes; they are kept for the test to look at.
func (s *target) dialPollable(seen *[]*pollable) Dial {
	var mu sync.Mutex
	dial := Pollable(nil)
	return func(ctx context.Context, observe func(string, time.Duration)) (net.Conn, error) {
		began := time.Now()
		c, err := dial(ctx, "tcp", s.ln.Addr().String())
		if err != nil {
			return nil, err
		}
		observe(result.PhaseTCP, time.Since(began))
		mu.Lock()
		defer mu.Unlock()
		*seen = append(*seen, c.(*pollable))
		return c, nil
	}
}

func TestLoopAndWorkersMeasureTheSame(t *testing.T) {
	s := newTarget(t, nil)
	var seen []*pollable
	plan := echoPlan(Arm{Path: "workers", Dial: s.dial}, Arm{Path: "loop", Dial: s.dialPollable(&seen)})
	plan.Workloads[0].Tunnels = 3
	detached := 0
	out, err := Run(t.Context(), plan, Options{Progress: func(string, int, int) {
		detached = 0
		for _, c := range seen {
			if c.fd.Load() >= 0 {
				detached++
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if detached != 3 {
		t.Errorf("%d of 3 tunnels were a loop's", detached)
	}
	arms := out.Workloads[0].Arms
	for _, a := range arms {
		steady, lag := a.Phases[result.PhaseSteady], a.Phases[result.PhaseLag]
		if a.Errors != 0 || a.Dropped != 0 || a.Censored != 0 || steady.Count == 0 || a.Requests != arms[0].Requests || lag.Count != a.Requests ||
			steady.Count+a.Phases[result.PhaseConnect].Count != a.Requests {
			t.Errorf("%s: %d requests, %d errors (%q), %d of them late, %+v", a.Path, a.Requests, a.Errors, a.ErrorSamples, a.Late, steady)
		}
	}
}

func TestLoopKeepsNobodyWaitingForATunnelThatIsStuck(t *testing.T) {
	var stuck [8]byte // what the session that is never answered again puts behind the number of a request
	var mu sync.Mutex
	release := make(chan struct{})
	s := newTarget(t, func(n int64, payload []byte) bool {
		mu.Lock()
		if n == 5 { // two have been opened and asked by then
			copy(stuck[:], payload[8:])
		}
		wait := n >= 5 && bytes.Equal(stuck[:], payload[8:16])
		mu.Unlock()
		if wait {
			<-release
		}
		return true
	})
	defer close(release)
	var seen []*pollable
	plan := echoPlan(Arm{Path: "loop", Dial: s.dialPollable(&seen)})
	plan.Workloads[0].ConnectRate, plan.Workloads[0].Arrival = 0, ArrivalConstant
	plan.Guard, plan.Drain, plan.Pairs = time.Nanosecond, 200*time.Millisecond, 5
	out, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := out.Workloads[0].Arms[0]
	// Ten of the first window's twenty are its own, of which at most two had an answer.
	if a.Censored < 8 || a.Censored > 10 || a.Errors != a.Censored || a.Dropped != 0 {
		t.Errorf("%d requests, %d errors, %d censored: %q", a.Requests, a.Errors, a.Censored, a.ErrorSamples)
	}
	if all := strings.Join(a.ErrorSamples, "\n"); !strings.Contains(all, "never sent, the tunnel was busy") || !strings.Contains(all, "no answer 200ms after the end of the window") {
		t.Errorf("samples %q", a.ErrorSamples)
	}
	if max := time.Duration(a.Phases[result.PhaseSteady].MaxNS); max < plan.Drain {
		t.Errorf("the longest wait on record is %v", max)
	}
}

func TestLoopHandsATunnelThatBreaksToTheWorkers(t *testing.T) {
	s := newTarget(t, func(n int64, _ []byte) bool { return n%20 != 0 })
	var seen []*pollable
	plan := echoPlan(Arm{Path: "loop", Dial: s.dialPollable(&seen)})
	plan.Workloads[0].ConnectRate = 0
	out, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := out.Workloads[0].Arms[0]
	notes := strings.Join(a.Notes, "\n")
	if a.Errors == 0 || a.Errors > a.Requests/10 || a.Censored != 0 || !strings.Contains(notes, "opened again") {
		t.Errorf("%d requests, %d errors, %d censored (%q), notes %q", a.Requests, a.Errors, a.Censored, a.ErrorSamples, notes)
	}
}

func TestRequestsGoToTheActiveTunnelsAlone(t *testing.T) {
	for _, kind := range []string{"workers", "loop"} {
		t.Run(kind, func(t *testing.T) {
			var mu sync.Mutex
			count := map[string]int{}
			s := newTarget(t, func(_ int64, payload []byte) bool {
				mu.Lock()
				defer mu.Unlock()
				count[string(payload[8:16])]++
				return true
			})
			var seen []*pollable
			plan := echoPlan(Arm{Path: "a", Dial: s.dial})
			if kind == "loop" {
				plan.Workloads[0].Arms[0].Dial = s.dialPollable(&seen)
			}
			w := &plan.Workloads[0]
			w.Tunnels, w.ConnectRate, w.Shape.Active = 6, 0, 50
			if _, err := Run(t.Context(), plan, Options{}); err != nil {
				t.Fatal(err)
			}
			busy := 0
			for _, n := range count {
				if n > 2 { // when it was opened, and at the end
					busy++
				}
			}
			if len(count) != 6 || busy != 3 {
				t.Errorf("requests of each of %d tunnels: %v, want 3 with more than 2", len(count), count)
			}
		})
	}
}

func TestLoopAllocatesNothingForARequest(t *testing.T) {
	s := newTarget(t, nil)
	var seen []*pollable
	ctx := t.Context()
	w := &WorkloadPlan{Name: "echo", Rate: 1, Tunnels: 1, Arms: []Arm{{Path: "a", Dial: s.dialPollable(&seen)}}}
	r := newRunOf(&Plan{}, w, "echo", Options{})
	a := r.arms[0]
	a.workload = echoWorkload{size: echoSize}
	if err := a.ensure(ctx, openTimeout, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	defer r.closeTunnels()
	loops := r.newLoops(a)
	defer endLoops(loops, a.tunnels)
	if len(loops) != 1 {
		t.Fatalf("%d loops", len(loops))
	}
	l, slot := loops[0], &a.tunnels[0]
	l.w = &window{
		arm: a, run: r, ctx: ctx, start: time.Now(), length: time.Hour,
		service: a.rec.phase(result.PhaseService), steady: a.rec.phase(result.PhaseSteady), lag: a.rec.phase(result.PhaseLag),
	}
	n := 0
	each := testing.AllocsPerRun(200, func() {
		n++
		now := l.w.now()
		next := arrival{at: now, seq: n}
		l.w.wentOff(next, now)
		slot.push(next, 1)
		l.send(slot)
		for l.flying > 0 {
			l.until(l.w.now() + time.Second)
		}
	})
	if done := l.w.tally.done; done != int64(n) || l.w.tally.errors != 0 {
		t.Errorf("%d of %d answered: %q", done, n, l.w.tally.samples)
	}
	if each > 0 {
		t.Errorf("%v allocations for a request", each)
	}
}

func pollablePair(t *testing.T) (*pollable, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := Pollable(nil)(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near.(*pollable), far
}

func TestPollableKeepsWhatItCannotSend(t *testing.T) {
	c, far := pollablePair(t)
	if err := c.detach(); err != nil {
		t.Fatal(err)
	}
	c.eager.Store(true)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a Read of nothing: %v", err)
	}
	var sent []byte
	for len(c.out) == 0 { // until the kernel is full
		p := make([]byte, maxEcho)
		_, _ = rand.Read(p)
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, p...)
	}
	kept := len(c.out)
	if _, err := c.Write(make([]byte, maxOut-kept+1)); !errors.Is(err, os.ErrDeadlineExceeded) || len(c.out) != kept {
		t.Errorf("more than it may keep: %v, %d bytes, and %d before", err, len(c.out), kept)
	}
	var wg sync.WaitGroup
	got := make([]byte, len(sent))
	wg.Go(func() {
		if _, err := io.ReadFull(far, got); err != nil {
			t.Error(err)
		}
	})
	for done := false; !done; {
		var err error
		if done, err = c.flush(); err != nil {
			t.Fatal(err)
		}
		if !done {
			if err := c.waitWrite(); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
	if !bytes.Equal(got, sent) {
		t.Error("the bytes differ")
	}
}

func TestPollableWaitsWhereItIsAskedTo(t *testing.T) {
	c, far := pollablePair(t)
	if err := errors.Join(c.detach(), c.detach()); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("behind its deadline: %v", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	big := make([]byte, 8<<20)
	_, _ = rand.Read(big)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.CopyN(far, far, int64(len(big))) }) // back
	wg.Go(func() {
		for p := big; len(p) > 0; p = p[maxEcho:] {
			if _, err := c.Write(p[:maxEcho]); err != nil {
				t.Error(err)
				return
			}
		}
	})
	got := make([]byte, len(big))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, big) {
		t.Errorf("%v, or the bytes differ", err)
	}
	wg.Wait()
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the far end sees %v", err)
	}
	waiting := make(chan error)
	go func() { _, err := c.Read(make([]byte, 1)); waiting <- err }()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a Read of what was closed: %v", err)
	}
	for what, err := range map[string]error{"Close": c.Close(), "CloseWrite": c.CloseWrite(), "SetDeadline": c.SetDeadline(past), "detach": c.detach()} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after that: %v", what, err)
		}
	}
}

// Whatever ends a wait ends it at once: many waits of a slice of poll(2) would each have a processor of the runtime's.
func TestPollableIsWoken(t *testing.T) {
	for name, c := range map[string]struct {
		wake func(*pollable, net.Conn)
		want error // of both Reads; nil for one that has the byte, and another that waits on
	}{
		"a byte":     {func(_ *pollable, far net.Conn) { _, _ = far.Write([]byte{1}) }, nil},
		"a deadline": {func(c *pollable, _ net.Conn) { _ = c.SetReadDeadline(past) }, os.ErrDeadlineExceeded},
		"eagerness":  {func(c *pollable, _ net.Conn) { c.setEager(true) }, os.ErrDeadlineExceeded},
		"the end":    {func(_ *pollable, far net.Conn) { _ = far.Close() }, io.EOF},
		"Close":      {func(c *pollable, _ net.Conn) { _ = c.Close() }, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := pollablePair(t)
			if err := near.detach(); err != nil {
				t.Fatal(err)
			}
			results := make(chan error, 2)
			for range 2 {
				go func() { _, err := near.Read(make([]byte, 1)); results <- err }()
			}
			for waiting := 0; waiting < 2; time.Sleep(time.Millisecond) {
				near.mu.Lock()
				waiting = near.reads
				near.mu.Unlock()
			}
			c.wake(near, far)
			if err := <-results; !errors.Is(err, c.want) {
				t.Errorf("the first: %v, want %v", err, c.want)
			}
			if c.want == nil {
				_, _ = far.Write([]byte{2})
			}
			if err := <-results; !errors.Is(err, c.want) {
				t.Errorf("the second: %v, want %v", err, c.want)
			}
			readable.mu.Lock()
			defer readable.mu.Unlock()
			if readable.epoll != nil || len(readable.waiting) > 0 {
				t.Errorf("%d are waited for when nobody waits", len(readable.waiting))
			}
		})
	}
}

func TestPollableIsFoundAtTheBottom(t *testing.T) {
	c, far := pollablePair(t)
	if got := pollableUnder(layer{layer{c}}); got != c {
		t.Errorf("found %v", got)
	}
	if got := pollableUnder(layer{far}); got != nil {
		t.Errorf("found %v in a connection of net's", got)
	}
	near, _ := net.Pipe()
	if got := newPollable(near); got != near {
		t.Error("a pipe became pollable")
	}
}

type layer struct{ net.Conn }

func (l layer) Unwrap() net.Conn { return l.Conn }
