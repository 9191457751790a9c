package albsim

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestShutdownDrainsThenCuts(t *testing.T) {
	release := make(chan struct{})
	target := newStub(t, nil, func(c *client, head string) {
		if has(head, "Upgrade") {
			switching("x", func(c *client) { rest(c) })(c, head)
			return
		}
		<-release
		ok(c, head)
	})
	s, err := New(plain(target.addr), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context()) }()
	dial := func() *client {
		conn, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		return newClient(t, conn)
	}
	tunnel, busy := dial(), dial()
	tunnel.send(upgradeRequest("alpn"))
	tunnel.head()
	tunnel.expect("x")
	busy.send(plainGet)
	target.head(t)
	target.head(t)
	down := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		down <- s.Shutdown(ctx)
	}()
	<-s.stopped
	close(release)
	if status, head, _ := busy.response(); status != 200 || fieldOf(head, "Connection") != "close" {
		t.Errorf("the request under way got %q", head)
	}
	if err := <-down; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v, want that it had to cut the tunnel", err)
	}
	if _, err := io.Copy(io.Discard, tunnel.br); err != nil {
		t.Errorf("the tunnel's client: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeEndsWithItsContextAndCutsCleanly(t *testing.T) {
	ended := make(chan error, 1)
	target := newStub(t, nil, func(c *client, head string) {
		if !has(head, "Upgrade") {
			ok(c, head)
			return
		}
		switching("x", func(c *client) {
			_, err := c.br.ReadByte()
			ended <- err
		})(c, head)
	})
	s, err := New(secure(t, target.addr), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := &sim{Server: s, t: t, addr: s.Addrs()[0].String()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	m.dial() // says nothing
	idle, _ := m.dialTLS(&tls.Config{})
	idle.send(plainGet)
	idle.response()
	tunnel, _ := m.dialTLS(&tls.Config{})
	tunnel.send(upgradeRequest("alpn"))
	tunnel.head()
	tunnel.expect("x")
	m.dialTLS(&tls.Config{NextProtos: []string{"h2"}})
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the tunnel's target saw %v, want EOF", err)
	}
}

func TestShutdownEndsWithTheLastH2Stream(t *testing.T) {
	for _, begun := range []bool{false, true} { // whether the answer had begun
		release := make(chan struct{})
		target := newStub(t, nil, func(c *client, _ string) {
			answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"
			if !begun {
				<-release
			}
			say(c, answer)
			if begun {
				<-release
			}
			say(c, "k")
		})
		m := start(t, secure(t, target.addr), Options{})
		h := m.dialH2()
		id := h.open(true, ":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a")
		target.head(t)
		if begun {
			h.status(id)
		}
		down := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			down <- m.Shutdown(ctx)
		}()
		<-m.stopped
		close(release)
		for { // to the end of the connection
			if _, err := h.framer.ReadFrame(); err != nil {
				break
			}
		}
		if err := <-down; err != nil {
			t.Errorf("begun %v: Shutdown: %v", begun, err)
		}
	}
}

func TestCutIsPromptWhenNobodyReads(t *testing.T) {
	cfg := secure(t, "127.0.0.1:1")
	cfg.TargetGroups[0].Protocol = "HTTPS"
	m := start(t, cfg, Options{DialTarget: deafTarget(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: alpn\r\n\r\n")})
	c, _ := m.dialTLS(&tls.Config{})
	c.send(upgradeRequest("alpn"))
	c.head()
	wrote := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(c, zeros{})
		wrote <- n
	}()
	<-time.After(300 * time.Millisecond) // the sockets are full by then
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := m.Shutdown(ctx); err == nil {
		t.Error("Shutdown did not have to cut")
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("Shutdown took %v with 100ms of patience", took)
	}
	if n := <-wrote; n == 0 {
		t.Error("the tunnel carried nothing")
	}
}
