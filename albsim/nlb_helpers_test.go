package albsim

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// throughTCP is a document of a network load balancer with one TCP listener before those targets.
func throughTCP(targets ...string) Config {
	return Config{
		Profile:      "aws-nlb-tcp",
		Listeners:    []Listener{{Listen: "127.0.0.1:0", Protocol: "TCP", Attributes: map[string]any{}, Default: Default{Forward: "t"}}},
		TargetGroups: []TargetGroup{{Name: "t", Protocol: "TCP", Attributes: map[string]any{}, Targets: targets}},
	}
}

// throughTLS is the same with a TLS listener.
func throughTLS(t *testing.T, policy string, targets ...string) Config {
	cfg := throughTCP(targets...)
	cfg.Profile = "aws-nlb-tls"
	l := &cfg.Listeners[0]
	l.Protocol, l.ALPNPolicy, l.SSLPolicy = "TLS", policy, "ELBSecurityPolicy-TLS13-1-2-2021-06"
	l.Certificates = []Certificate{makeCert(t, nil, "nlb.example.test")}
	return cfg
}

// sink is a target that hands each connection over as it is.
func sink(t *testing.T, serve func(c *client)) *stub {
	t.Helper()
	return sinkAt(t, "127.0.0.1", serve)
}

func sinkAt(t *testing.T, host string, serve func(c *client)) *stub {
	t.Helper()
	ln, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{addr: ln.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			s.accepts.Add(1)
			wg.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(2 * patience))
				serve(&client{conn, t, bufio.NewReader(conn)})
			})
		}
	})
	return s
}

// repeat is a target that sends back what it gets.
func repeat(t *testing.T) *stub {
	return sink(t, func(c *client) { _, _ = io.Copy(c.Conn, c.br) })
}

// from dials from another address of this machine.
func (m *sim) from(address string) *client {
	m.t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).Dial("tcp", m.addr)
	if err != nil {
		m.t.Fatal(err)
	}
	return newClient(m.t, conn)
}

// quiet asserts that nothing comes, no end either.
func (c *client) quiet() {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	defer c.SetReadDeadline(time.Now().Add(2 * patience))
	if b, err := c.br.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Errorf("got %q, %v; want silence", b, err)
	}
}

// isReset asserts that the next word is a RST.
func (c *client) isReset() {
	c.t.Helper()
	if b, err := c.br.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		c.t.Errorf("got %q, %v; want a reset", b, err)
	}
}

// refused asserts that a connection is reset at once, which the kernel may tell as early as connect.
func (m *sim) refused() {
	m.t.Helper()
	conn, err := net.Dial("tcp", m.addr)
	if err == nil {
		newClient(m.t, conn).isReset()
	} else if !errors.Is(err, syscall.ECONNRESET) {
		m.t.Errorf("dial: %v, want a reset", err)
	}
}

// until waits for a counter that metrics do not have.
func until(t *testing.T, what string, n *atomic.Int64, want int64) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); n.Load() != want; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d, want %d", what, n.Load(), want)
		}
	}
}

// recorder keeps what went over a connection.
type recorder struct {
	net.Conn
	mu      sync.Mutex // guards what follows
	in, out bytes.Buffer
}

func (w *recorder) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.in.Write(p[:n])
	return n, err
}

func (w *recorder) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out.Write(p[:n])
	return n, err
}

func (w *recorder) both() (in, out []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.in.Bytes()), bytes.Clone(w.out.Bytes())
}
