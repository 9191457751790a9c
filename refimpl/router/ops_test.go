package router

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestReloadLeavesOpenTunnelsAlone(t *testing.T) {
	one, two := echoBackend(t, "one"), echoBackend(t, "two")
	b := startRouter(t, Config{Routes: []Route{echoRoute(one.addr)}})
	old := secure(t, b.stream(t, "websocket"), b.clientConfig("echo.routes.example.test", "echo"))
	if got := readLine(t, old); got != "one" {
		t.Fatalf("reached %q", got)
	}
	config := b.config
	config.Routes = []Route{echoRoute(two.addr)}
	if err := b.Reload(config); err != nil {
		t.Fatal(err)
	}
	if got := b.Generation(); got != 2 {
		t.Errorf("generation %d, want 2", got)
	}
	roundTrip(t, old, "still one")
	if got := readLine(t, secure(t, b.tcp(t), b.clientConfig("echo.routes.example.test", "echo"))); got != "two" {
		t.Errorf("a new connection reached %q", got)
	}

	for field, spoil := range map[string]func(*Config){
		"listen: ":                    func(c *Config) { c.Listen = "127.0.0.1:1" },
		"admin: ":                     func(c *Config) { c.Admin = "127.0.0.1:1" },
		"certificates[1].cert: ":      func(c *Config) { c.Certificates = append(c.Certificates, Certificate{"no.pem", "no.key"}) },
		"routes[0].backend.address: ": func(c *Config) { c.Routes = []Route{echoRoute("")} },
	} {
		bad := config.clone()
		spoil(&bad)
		if err := b.Reload(bad); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("reload with a bad %s: %v", field, err)
		}
	}
	if got := b.Generation(); got != 2 {
		t.Errorf("generation %d after refused reloads, want 2", got)
	}
	if got := readLine(t, secure(t, b.tcp(t), b.clientConfig("echo.routes.example.test", "echo"))); got != "two" {
		t.Errorf("after refused reloads a new connection reached %q", got)
	}
	if got := b.Stats().ReloadFailures; got != 4 {
		t.Errorf("%d failures counted, want 4", got)
	}
}

func TestDrainLetsTunnelsFinish(t *testing.T) {
	back := echoBackend(t, "echo")
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	tunnel := secure(t, b.stream(t, "alpn"), b.clientConfig("echo.routes.example.test", "echo"))
	readLine(t, tunnel)
	idle := b.tcp(t) // an HTTP connection between two requests
	br := bufio.NewReader(idle)
	ask(t, idle, br, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")

	done := make(chan error, 1)
	go func() { done <- b.Shutdown(context.Background()) }()
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the idle HTTP connection: %v, want EOF", err)
	}
	if b.Ready() {
		t.Error("ready while draining")
	}
	if conn, err := net.DialTimeout("tcp", b.Addr().String(), patience); !errors.Is(err, syscall.ECONNREFUSED) {
		conn.Close()
		t.Errorf("a new connection while draining: %v", err)
	}
	roundTrip(t, tunnel, "still here")
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned %v with a tunnel open", err)
	default:
	}
	_ = tunnel.CloseWrite()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDrainCutsWhatOutlivesIt(t *testing.T) {
	back := echoBackend(t, "echo")
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}, Drain: Drain{Timeout: Duration(100 * time.Millisecond)}})
	tunnel := secure(t, b.stream(t, "websocket"), b.clientConfig("echo.routes.example.test", "echo"))
	readLine(t, tunnel)
	silent := b.tcp(t)
	began := time.Now()
	if err := b.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 100*time.Millisecond || took > patience/2 {
		t.Errorf("took %v", took)
	}
	if _, err := tunnel.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the tunnel ended with %v, want an abort", err)
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the silent connection ended with %v", err)
	}
	b.log.wait(t, "route=echo", "cause=\"cancelled")
}

func TestConnectionsBeyondTheLimitAreClosed(t *testing.T) {
	back := echoBackend(t, "echo")
	for name, limits := range map[string]Limits{"all": {Connections: 2}, "per address": {ConnectionsPerIP: 2}} {
		b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}, Limits: limits})
		var open []*tls.Conn
		for range 2 {
			conn := secure(t, b.tcp(t), b.clientConfig("echo.routes.example.test", "echo"))
			readLine(t, conn)
			open = append(open, conn)
		}
		if n, err := b.tcp(t).Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the third: %d, %v", name, n, err)
		}
		open[0].Close()
		b.log.wait(t, "route=echo", "cause=eof")
		for deadline := time.Now().Add(patience); b.Stats().Active >= 2 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond) // its place is given back behind the log line
		}
		readLine(t, secure(t, b.tcp(t), b.clientConfig("echo.routes.example.test", "echo")))
	}
}

func TestForwardedForCountsAndSpeaksForTheClient(t *testing.T) {
	got := make(chan string, 1)
	back := serveBackend(t, func(conn net.Conn) {
		line, _ := bufio.NewReader(conn).ReadString('\n')
		got <- line
		_, _ = io.Copy(io.Discard, conn)
	})
	route := echoRoute(back.addr)
	route.Backend.SendProxy = ProxyV1
	b := startRouter(t, Config{
		Routes:       []Route{route},
		ForwardedFor: ForwardedFor{Trusted: []string{"127.0.0.0/8"}},
		Limits:       Limits{ConnectionsPerIP: 1},
	})
	request := func(client string) string {
		return strings.Replace(upgradeRequest, "Host:", "X-Forwarded-For: 9.9.9.9, "+client+"\r\nHost:", 1)
	}
	for i, client := range []string{"198.51.100.7", "198.51.100.8", "2001:db8::1"} {
		conn := b.tcp(t)
		inner := secure(t, &gluedConn{Conn: conn, before: request(client)}, b.clientConfig("echo.routes.example.test", "echo"))
		family, dest := "TCP4", "127.0.0.1"
		if i == 2 {
			family, dest = "TCP6", "::ffff:127.0.0.1"
		}
		_, port, _ := net.SplitHostPort(b.Addr().String())
		if line, want := <-got, fmt.Sprintf("PROXY %s %s %s 0 %s\r\n", family, client, dest, port); line != want {
			t.Errorf("the backend read %q, want %q", line, want)
		}
		if e := <-b.hellos; e.Source.Addr().String() != client {
			t.Errorf("hello event %+v", e)
		}
		defer inner.Close()
	}
	conn := b.tcp(t)
	if status, _ := ask(t, conn, bufio.NewReader(conn), request("198.51.100.8")); status != "429" {
		t.Errorf("a second connection of the same client: %s", status)
	}
}

func TestAStrangerCannotFloodTheLog(t *testing.T) {
	b := startRouter(t, Config{})
	var names []string
	for i := range 150 {
		names = append(names, fmt.Sprintf("%0200d", i))
	}
	config := b.clientConfig(ownName, names...)
	config.InsecureSkipVerify = true
	if got := alertOf(tls.Client(b.tcp(t), config).Handshake()); got != uint8(120) {
		t.Errorf("got %v, want alert 120", got)
	}
	line := b.log.wait(t, "outcome=alert_120")
	if len(line) > 2<<10 {
		t.Errorf("a line of %d bytes", len(line))
	}
	if strings.Count(line, "conn_id=") != 1 {
		t.Errorf("the line is cut off: %s", line)
	}
}

func TestACatchAllInFrontOfTheEndpointIsPointedOut(t *testing.T) {
	b := startRouter(t, Config{Routes: []Route{{Name: "all", Mode: ModeTerminate, Backend: Backend{Address: "127.0.0.1:1"}}}})
	b.log.wait(t, "level=WARN", "route=all", "no load balancer reaches the upgrade endpoint")
}
