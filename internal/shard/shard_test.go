package shard

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

type outcome struct {
	parts []Delivery
	err   error
}

// serve starts a coordinator on loopback.
func serve(t *testing.T, c Coordinator, secure *tls.Config, own ...net.Conn) (address string, done <-chan outcome) {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0", secure)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan outcome, 1)
	go func() {
		parts, err := c.Serve(t.Context(), l, own...)
		ended <- outcome{parts, err}
	}()
	return l.Addr().String(), ended
}

func hello(index, of int) *Hello {
	return &Hello{Shard: result.Shard{Index: index, Host: "here", PlanSHA256: "plan", BinarySHA256: "binary"}, Of: of}
}

func join(t *testing.T, address string, h *Hello) (*Agent, error) {
	t.Helper()
	conn, err := Dial(t.Context(), address, nil, patience)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Join(t.Context(), conn, h, patience)
	if err == nil {
		t.Cleanup(func() { _ = a.Close() })
	}
	return a, err
}

// Agents, one of them in the coordinator's process, come to every point together, are told the same, and all parts arrive.
func TestAgentsMeet(t *testing.T) {
	const of, points = 4, 50
	near, far := net.Pipe()
	address, done := serve(t, Coordinator{Of: of}, nil, far)
	starts := make([][]time.Time, of)
	var wg sync.WaitGroup
	for i := range of {
		wg.Go(func() {
			conn := near
			if i > 0 {
				var err error
				if conn, err = Dial(t.Context(), address, nil, patience); err != nil {
					t.Error(err)
					return
				}
			}
			a, err := Join(t.Context(), conn, hello(i, of), patience)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = a.Close() }()
			for p := range points {
				start, sums, err := a.Meet(t.Context(), fmt.Sprint(p), float64(i), 1)
				if err != nil || sums[0] != 0+1+2+3 || sums[1] != of {
					t.Errorf("shard %d at %d: %v %v", i, p, sums, err)
					return
				}
				starts[i] = append(starts[i], start)
			}
			report, _ := json.Marshal(i)
			if err := a.Deliver(t.Context(), Part{Report: report, Logs: map[string][]byte{"a.hlog": make([]byte, 3*maxLine)}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := <-done
	if got.err != nil || len(got.parts) != of {
		t.Fatalf("%d parts: %v", len(got.parts), got.err)
	}
	for i, p := range got.parts {
		if p.Hello.Index != i || string(p.Part.Report) != fmt.Sprint(i) || len(p.Part.Logs["a.hlog"]) != 3*maxLine {
			t.Errorf("part %d: %+v", i, p.Hello)
		}
		// One machine, one clock: what differs is what the readings of it were off by, half a round trip at most each.
		for k := range starts[i] {
			off := starts[i][k].Sub(starts[0][k]).Abs()
			if limit := time.Duration(p.Hello.RoundTripNS + got.parts[0].Hello.RoundTripNS); off > limit {
				t.Errorf("shard %d starts %v off, its clock can be %v off", i, off, limit)
			}
		}
	}
}

// Whoever does not belong to the others is told why, and so are they.
func TestAgentsThatDoNotFit(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*Hello)
		want   string
	}{
		"plan":   {func(h *Hello) { h.PlanSHA256 = "other" }, "another plan"},
		"binary": {func(h *Hello) { h.BinarySHA256 = "other" }, "another build"},
		"number": {func(h *Hello) { h.Of = 3 }, "is of 3"},
		"index":  {func(h *Hello) { h.Index = 2 }, "the shards 0 to 1"},
		"twice":  {func(h *Hello) { h.Index = 0 }, "there twice"},
	} {
		t.Run(what, func(t *testing.T) {
			joined := make(chan struct{})
			address, done := serve(t, Coordinator{Of: 2, Joined: func(Hello) { close(joined) }}, nil)
			first := make(chan error, 1)
			go func() {
				_, err := join(t, address, hello(0, 2))
				first <- err
			}()
			<-joined
			h := hello(1, 2)
			c.change(h)
			_, err := join(t, address, h)
			for who, err := range map[string]error{"it": err, "the other": <-first, "the coordinator": (<-done).err} {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s was told %v, want %q", who, err, c.want)
				}
			}
		})
	}
}

// pair is two agents that have joined.
func pair(t *testing.T, c Coordinator) (a, b *Agent, done <-chan outcome) {
	t.Helper()
	c.Of = 2
	address, done := serve(t, c, nil)
	var wg sync.WaitGroup
	wg.Go(func() { a, _ = join(t, address, hello(0, 2)) })
	wg.Go(func() { b, _ = join(t, address, hello(1, 2)) })
	wg.Wait()
	if a == nil || b == nil {
		t.Fatal("they did not join")
	}
	return a, b, done
}

func TestAgentsThatFail(t *testing.T) {
	for what, c := range map[string]struct {
		patience time.Duration
		do       func(a *Agent)
		want     string
	}{
		"gone":      {patience, func(a *Agent) { _ = a.Close() }, "shard 1 on here is gone"},
		"elsewhere": {patience, func(a *Agent) { _, _, _ = a.Meet(context.Background(), "y") }, "they do not send one plan"},
		"missing":   {time.Second, func(*Agent) {}, "shard 1 at x: not there within 1s"},
		"too much":  {patience, func(a *Agent) { _, _, _ = a.Meet(context.Background(), "x", 1) }, "they do not send one plan"},
		"garbage":   {patience, func(a *Agent) { _, _ = a.line.conn.Write([]byte("GET / HTTP/1.1\r\n\r\n")) }, "shard 1 on here is gone: no message"},
	} {
		t.Run(what, func(t *testing.T) {
			a, b, done := pair(t, Coordinator{Patience: c.patience})
			var wg sync.WaitGroup
			wg.Go(func() { c.do(b) })
			_, _, err := a.Meet(t.Context(), "x")
			wg.Wait()
			for who, err := range map[string]error{"the other": err, "the coordinator": (<-done).err} {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s was told %v, want %q", who, err, c.want)
				}
			}
			if _, _, again := a.Meet(t.Context(), "x"); !errors.Is(again, err) {
				t.Errorf("at the next point: %v", again)
			}
		})
	}
}

// An agent is let go when its context ends, and the others hear of it.
func TestAnInterruptEndsAll(t *testing.T) {
	a, b, done := pair(t, Coordinator{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := a.Meet(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, _, err := b.Meet(t.Context(), "x"); err == nil {
		t.Error("the other went on")
	}
	if got := <-done; got.err == nil || !strings.Contains(got.err.Error(), "shard 0") {
		t.Errorf("the coordinator: %v", got.err)
	}
}

// Strangers who say nothing of use neither join nor disturb; nor does an agent that comes when it has begun.
func TestStrangersAreLetGo(t *testing.T) {
	address, done := serve(t, Coordinator{Of: 1}, nil)
	for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "{}\n", strings.Repeat("x", 2*maxLine), "null\n"} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(text))
		if text == "{}\n" || text == "null\n" {
			// A message that is none of an agent's ends it, plainly.
			got := <-done
			if got.err == nil || !strings.Contains(got.err.Error(), "who it is") {
				t.Errorf("%q: %v", text, got.err)
			}
			address, done = serve(t, Coordinator{Of: 1}, nil)
		}
		_ = conn.Close()
	}
	a, err := join(t, address, hello(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := join(t, address, hello(0, 1)); err == nil || !strings.Contains(err.Error(), "begun without you") {
		t.Errorf("late: %v", err)
	}
	if err := a.Deliver(t.Context(), Part{Report: json.RawMessage("{}")}); err != nil {
		t.Error(err)
	}
	if got := <-done; got.err != nil || len(got.parts) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestPlaintextIsForLoopback(t *testing.T) {
	l, err := Listen(t.Context(), "0.0.0.0:0", nil)
	if err == nil {
		_ = l.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "certificates") {
		t.Errorf("listening: %v", err)
	}
}

// With certificates both sides ask for one of their own authority.
func TestCertificates(t *testing.T) {
	ours, err := certs.NewCA("agents")
	if err != nil {
		t.Fatal(err)
	}
	others, err := certs.NewCA("others")
	if err != nil {
		t.Fatal(err)
	}
	config := func(ca *certs.CA, client bool) *tls.Config {
		leaf, err := ca.Issue(certs.Leaf{CommonName: "agent", Client: client, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{
			Certificates: []tls.Certificate{leaf}, RootCAs: ours.Pool(), ClientCAs: ours.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
		}
	}
	address, done := serve(t, Coordinator{Of: 1}, config(ours, false))
	conn, err := Dial(t.Context(), address, config(others, true), patience)
	if err == nil { // TLS 1.3: the client is through before the server has looked
		_, err = Join(t.Context(), conn, hello(0, 1), patience)
	}
	if err == nil {
		t.Fatal("a stranger's certificate is accepted")
	}
	conn, err = Dial(t.Context(), address, config(ours, true), patience)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Join(t.Context(), conn, hello(0, 1), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	if err := a.Deliver(t.Context(), Part{Report: json.RawMessage("{}")}); err != nil {
		t.Error(err)
	}
	if got := <-done; got.err != nil {
		t.Error(got.err)
	}

	// And the coordinator's certificate must be of it, too.
	l, err := Listen(t.Context(), "127.0.0.1:0", config(others, false))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if conn, err := l.Accept(); err == nil {
			_ = conn.(*tls.Conn).HandshakeContext(context.Background())
			_ = conn.Close()
		}
	})
	if _, err := Dial(t.Context(), l.Addr().String(), config(ours, true), patience); err == nil {
		t.Error("a strange coordinator is believed")
	}
	_ = l.Close()
	wg.Wait()
}
