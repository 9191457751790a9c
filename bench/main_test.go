package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Tests that only compute are parallel: the package runs them when those that measure time are done.
func TestMain(m *testing.M) {
	if os.Getenv(farEnd) != "" {
		serveFarEnd()
		return
	}
	goleak.VerifyTestMain(m)
}

// target is a witness-like echo server. Its hook is called for each payload before the answer goes out; false ends the connection.
type target struct {
	ln       net.Listener
	hook     func(n int64, payload []byte) bool
	requests atomic.Int64
	conns    atomic.Int64
	mu       sync.Mutex // guards open
	open     map[net.Conn]bool
	wg       sync.WaitGroup
}

func newTarget(t testing.TB, hook func(n int64, payload []byte) bool) *target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &target{ln: ln, hook: hook, open: map[net.Conn]bool{}}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			s.mu.Lock()
			s.open[c] = true
			s.mu.Unlock()
			s.wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for c := range s.open {
			c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func (s *target) serve(c net.Conn) {
	defer func() {
		c.Close()
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	}()
	r := bufio.NewReader(c)
	line, err := r.ReadBytes('\n')
	if err != nil {
		return
	}
	order, ok := witness.ParseOrder(line)
	if !ok {
		return
	}
	rec, _ := json.Marshal(witness.Record{Witness: "stub", Nonce: order.Nonce})
	if _, err := c.Write(append(rec, '\n')); err != nil {
		return
	}
	buf := make([]byte, echoSize)
	for {
		if _, err := io.ReadFull(r, buf); err != nil {
			return
		}
		if n := s.requests.Add(1); s.hook != nil && !s.hook(n, buf) {
			return
		}
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}

// dial is an arm's dial function for the target, with phases as a real dialer reports them.
func (s *target) dial(ctx context.Context, observe func(string, time.Duration)) (net.Conn, error) {
	began := time.Now()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", s.ln.Addr().String())
	if err != nil {
		return nil, err
	}
	observe(result.PhaseTCP, time.Since(began))
	return c, nil
}

func echoPlan(arms ...Arm) Plan {
	return Plan{
		Workloads: []WorkloadPlan{{Name: "echo", Backend: "stub", Arms: arms, Rate: 200, ConnectRate: 20, Tunnels: 2, Arrival: ArrivalPoisson}},
		Window:    100 * time.Millisecond, Guard: 20 * time.Millisecond, Drain: time.Second, Pairs: 6, Seed: 1, Warmup: &Warmup{},
		maxLag: time.Minute, // the tests run on machines that are busy with other tests
	}
}

// logs collects interval logs in memory.
type logs map[string]*bytes.Buffer

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func (l logs) open(name string) (io.WriteCloser, error) {
	l[name] = &bytes.Buffer{}
	return nopCloser{l[name]}, nil
}
