// Command aa puts the bench to the test that it cannot pass by luck: the same path as both arms, run after run, where any difference
// that is found is false; and a path on which a known delay is added to every answer, which has to be found, of the right size.
//
//	go run ./internal/aa                     # 20 runs of A/A, 3 with 200 µs, about 6 minutes
//	go run ./internal/aa -runs 5 -delay 1ms
//
// Both are over TLS on loopback, to an echo server of its own. The delay is slept; what it came to, the timer's own lateness included, is
// measured, and the interval has to be no further from that than its own width or 5 per cent: on two cores some 5 µs more are found than were
// added, for who waits longer is woken later. The status is 1 when more than one run in twenty found a difference where there is none,
// when a delay was not found, or when too many runs were not valid to tell: on a machine that is busy with other things that is all it says.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

const host = "aa.example.test"

func main() {
	runs := flag.Int("runs", 20, "runs of the same path against itself")
	delays := flag.Int("delays", 3, "runs with the delay")
	delay := flag.Duration("delay", 200*time.Microsecond, "what one arm's answers are late")
	pairs := flag.Int("pairs", bench.DefaultPairs, "pairs of windows in a run")
	window := flag.Duration("window", 400*time.Millisecond, "length of a window")
	rate := flag.Float64("rate", 400, "requests a second")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	plan := bench.Plan{Pairs: *pairs, Window: *window, Guard: 50 * time.Millisecond}
	load := bench.WorkloadPlan{Name: "echo", Backend: "loopback", Rate: *rate, ConnectRate: 20}
	ok, err := try(ctx, os.Stdout, plan, load, *runs, *delays, *delay)
	if err != nil {
		fmt.Fprintln(os.Stderr, "aa:", err)
	}
	if err != nil || !ok {
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func try(ctx context.Context, out io.Writer, plan bench.Plan, load bench.WorkloadPlan, runs, delays int, delay time.Duration) (ok bool, err error) {
	plain, err := serve(0)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	slow, err := serve(delay)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, slow.close()) }()

	load.Arms = []bench.Arm{{Path: "direct", Dial: plain.dial}, {Path: "direct-again", Dial: plain.dial}}
	wrong, judged := 0, 0
	fmt.Fprintf(out, "The same path as both arms\n%4s  %-6s %-12s %s\n", "run", "valid", "comparisons", "differences found")
	for i := range runs {
		b, err := measure(ctx, plan, load, int64(i))
		if err != nil {
			return false, err
		}
		found := claims(b)
		if b.Validity.OK {
			judged++
			if len(found) > 0 {
				wrong++
			}
		}
		fmt.Fprintf(out, "%4d  %-6v %-12d %s\n", i+1, b.Validity.OK, len(b.Workloads[0].Comparisons), strings.Join(found, "; "))
	}
	fmt.Fprintf(out, "%d of %d valid runs found a difference where there is none; at most %d may\n", wrong, judged, judged/20)
	ok = wrong*20 <= judged && judged*2 >= runs

	// With a third arm each is compared with its neighbour as a difference in time, which is what a delay is.
	load.Arms = append(load.Arms, bench.Arm{Path: "delayed", Dial: slow.dial})
	fmt.Fprintf(out, "\nWith %v added to each answer\n%4s  %-6s %-12s %-12s %-28s %s\n", delay, "run", "valid", "was added", "found", "95 % interval", "verdict")
	for i := range delays {
		b, err := measure(ctx, plan, load, int64(1000+i))
		if err != nil {
			return false, err
		}
		s, verdict := stepTo(b, "delayed"), verdictOf(b, "delayed")
		added := slow.typicalDelay()
		beside := max(s.CI95NS[1]-s.CI95NS[0], int64(added)/20)
		hit := verdict == "slower" && s.CI95NS[0] > 0 && s.CI95NS[0] <= int64(added)+beside && int64(added)-beside <= s.CI95NS[1]
		words := verdict
		switch {
		case !b.Validity.OK:
			words += ", not judged"
			ok = false // it proves nothing, and that is no pass
		case !hit:
			words += ", MISSED"
			ok = false
		case int64(added) < s.CI95NS[0] || int64(added) > s.CI95NS[1]:
			words += ", the interval is beside it by less than its width or 5 %"
		}
		us := func(ns int64) string { return time.Duration(ns).Round(100 * time.Nanosecond).String() }
		fmt.Fprintf(out, "%4d  %-6v %-12s %-12s %-28s %s\n", i+1, b.Validity.OK, us(int64(added)), us(s.AddedNS), us(s.CI95NS[0])+" to "+us(s.CI95NS[1]), words)
	}
	return ok, nil
}

func measure(ctx context.Context, plan bench.Plan, load bench.WorkloadPlan, seed int64) (*result.Bench, error) {
	plan.Seed, plan.Workloads = seed, []bench.WorkloadPlan{load}
	return bench.Run(ctx, plan, bench.Options{})
}

func claims(b *result.Bench) []string {
	var out []string
	for _, c := range b.Workloads[0].Comparisons {
		if c.Verdict == "slower" || c.Verdict == "faster" {
			out = append(out, fmt.Sprintf("%s %.3f [%.3f, %.3f] p %.4f", c.Metric, c.Ratio, c.CI95[0], c.CI95[1], c.PAdjusted))
		}
	}
	return out
}

func stepTo(b *result.Bench, path string) result.Step {
	for _, s := range b.Workloads[0].Steps {
		if s.To == path && s.Metric == result.PhaseSteady+".p50" {
			return s
		}
	}
	return result.Step{}
}

func verdictOf(b *result.Bench, path string) string {
	for _, c := range b.Workloads[0].Comparisons {
		if c.Candidate == path && c.Metric == result.PhaseSteady+".p50" {
			return c.Verdict
		}
	}
	return "not compared"
}

// server is an echo witness over TLS that answers late.
type server struct {
	ln     net.Listener
	tcp    bench.NetDial
	roots  *tls.Config
	delay  time.Duration
	mu     sync.Mutex // guards conns and spent
	conns  map[net.Conn]struct{}
	spent  []time.Duration
	served sync.WaitGroup
}

func serve(delay time.Duration) (*server, error) {
	ca, err := certs.NewCA("aa")
	if err != nil {
		return nil, err
	}
	leaf, err := ca.Issue(certs.Leaf{CommonName: host, DNS: []string{host}})
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{
		ln: tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS13}), delay: delay,
		tcp: bench.Pollable(nil), roots: &tls.Config{RootCAs: ca.Pool(), ServerName: host, MinVersion: tls.VersionTLS13}, conns: map[net.Conn]struct{}{},
	}
	s.served.Go(func() {
		for {
			c, err := s.ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = struct{}{}
			s.mu.Unlock()
			s.served.Go(func() { s.echo(c) })
		}
	})
	return s, nil
}

func (s *server) close() error {
	err := s.ln.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.served.Wait()
	return err
}

// patience is how long a connection may be silent.
const patience = time.Minute

func (s *server) echo(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	_ = c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReaderSize(c, witness.MaxLine)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return
	}
	order, ok := witness.ParseOrder(line)
	if !ok {
		return
	}
	rec, err := json.Marshal(witness.Record{Witness: "aa", Nonce: order.Nonce})
	if err != nil {
		return
	}
	if _, err := c.Write(append(rec, '\n')); err != nil {
		return
	}
	late, err := newTimer()
	if err != nil {
		return
	}
	defer func() { _ = late.close() }()
	buf := make([]byte, 64) // as the echo workload sends
	for {
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(r, buf); err != nil {
			return
		}
		if err := s.wait(late); err != nil {
			return
		}
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}

func (s *server) wait(t *timer) error {
	if s.delay == 0 {
		return nil
	}
	began := time.Now()
	if err := t.sleep(s.delay); err != nil {
		return err
	}
	took := time.Since(began)
	s.mu.Lock()
	s.spent = append(s.spent, took)
	s.mu.Unlock()
	return nil
}

// typicalDelay is the median of what the delay came to since the last call.
func (s *server) typicalDelay() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.spent)
	defer func() { s.spent = s.spent[:0] }()
	if len(s.spent) == 0 {
		return 0
	}
	return s.spent[len(s.spent)/2]
}

func (s *server) dial(ctx context.Context, observe func(string, time.Duration)) (net.Conn, error) {
	began := time.Now()
	raw, err := s.tcp(ctx, "tcp", s.ln.Addr().String())
	if err != nil {
		return nil, err
	}
	observe(result.PhaseTCP, time.Since(began))
	began = time.Now()
	c := tls.Client(raw, s.roots)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	observe(result.PhaseInnerTLS, time.Since(began))
	return c, nil
}
