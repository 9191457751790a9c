package conformance

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// carrier is a load balancer that carries bytes, or with carry false takes connections and closes them.
func carrier(t *testing.T, stub string, carry bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", stub)
			if err != nil || !carry {
				c.Close()
				if err == nil {
					b.Close()
				}
				continue
			}
			wg.Go(func() {
				defer c.Close()
				wg.Go(func() { _, _ = io.Copy(b, c); b.Close() })
				_, _ = io.Copy(c, b)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func TestBalancerSanityPlaysTheTarget(t *testing.T) {
	for name, tc := range map[string]struct {
		carry   bool
		verdict result.CheckVerdict
	}{"carries": {true, result.CheckPass}, "closes": {false, result.CheckInconclusive}} {
		t.Run(name, func(t *testing.T) {
			stub, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer stub.Close()
			target := Target{Name: "carrier", Role: LoadBalancer, Stub: stub, Paths: []Path{{
				Name: "lb", Address: carrier(t, stub.Addr().String(), tc.carry), Upgrade: &UpgradePath{Host: "h", Path: "/", Intermediary: true},
			}}}
			c, err := run(t.Context(), target, Options{}, []Check{fake("LB-01", Observation{Outcome: Routed}, nil, func(c *Check) { c.Role = LoadBalancer })})
			if err != nil {
				t.Fatal(err)
			}
			if r := c.Results[0]; r.Verdict != tc.verdict || r.Path != "lb" {
				t.Errorf("%s: %s", r.Verdict, r.Detail)
			}
		})
	}
}

// TestStubPassesOverConnectionsThatSayNothing: what a check before has left in the queue is not the next check's.
func TestStubPassesOverConnectionsThatSayNothing(t *testing.T) {
	stub, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stub.Close()
	for _, say := range []string{"", "GET / HTTP/1.1\r\n"} {
		c, err := net.Dial("tcp", stub.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	e := &engine{target: Target{Stub: stub}, logger: discard}
	tt := e.newT(Check{ID: "LB-01"}, &Path{Name: "lb"})
	defer tt.closeAll()
	c, hello, err := tt.AcceptStub(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(got), "GET /") || hello.HasSNI {
		t.Errorf("%q, %v", got, err)
	}
}

// leaves has a request in the stub's queue, as a check that gave up does.
func leaves(t *testing.T, stub net.Listener, request string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", stub.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBalancerSanityPassesOverARequestThatWasLeft: the answer is for the request that sanity has sent.
func TestBalancerSanityPassesOverARequestThatWasLeft(t *testing.T) {
	stub, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stub.Close()
	left := leaves(t, stub, "GET /left HTTP/1.1\r\nHost: h\r\n\r\n")
	e := &engine{target: Target{Stub: stub}, logger: discard}
	tt := e.newT(Check{ID: "sanity"}, &Path{Name: "lb", Address: carrier(t, stub.Addr().String(), true), Upgrade: &UpgradePath{Host: "h", Path: "/"}})
	defer tt.closeAll()
	if _, err := tt.saneBalancer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(left); len(got) > 0 {
		t.Errorf("what was left got %q, %v", got, err)
	}
}

// TestDrainStubClosesWhatWasLeft, and the stub accepts all the same.
func TestDrainStubClosesWhatWasLeft(t *testing.T) {
	stub, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stub.Close()
	left := leaves(t, stub, "GET /left HTTP/1.1\r\n\r\n")
	e := &engine{target: Target{Stub: stub}, logger: discard}
	tt := e.newT(Check{ID: "LB-01"}, &Path{Name: "lb"})
	defer tt.closeAll()
	tt.DrainStub()
	if n, err := left.Read(make([]byte, 1)); err == nil {
		t.Errorf("what was left read %d bytes", n)
	}
	next := leaves(t, stub, "next")
	c, err := tt.AcceptRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "next" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestAcceptingEndsWithItsContext, and the next accepting is not cut short by it.
func TestAcceptingEndsWithItsContext(t *testing.T) {
	stub, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stub.Close()
	e := &engine{target: Target{Stub: stub}, logger: discard}
	tt := e.newT(Check{ID: "LB-01"}, &Path{Name: "lb"})
	defer tt.closeAll()
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { _, _, err := tt.AcceptStub(ctx); ended <- err }()
		cancel()
		if err := <-ended; err == nil {
			t.Fatal("a connection was accepted, and nobody has dialled")
		}
		next := leaves(t, stub, "x")
		if _, err := tt.AcceptRaw(t.Context()); err != nil {
			t.Fatalf("the next accepting: %v", err)
		}
		next.Close()
	}
}
