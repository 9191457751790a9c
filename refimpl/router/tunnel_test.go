package router

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

func echoRoute(addr string) Route {
	return Route{
		Name: "echo", SNI: []string{"echo.routes.example.test"}, ALPN: []string{"echo"}, Mode: ModeTerminate,
		Backend: Backend{Address: addr},
	}
}

func TestTunnelsKeepAHalfClose(t *testing.T) {
	// The backend answers only when the client has said its last.
	back := serveBackend(t, func(conn net.Conn) {
		all, _ := io.ReadAll(conn)
		_, _ = conn.Write(append([]byte("read "), all...))
		_ = conn.(*net.TCPConn).CloseWrite()
	})
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	for _, transport := range transports {
		conn := secure(t, b.stream(t, transport), b.clientConfig("echo.routes.example.test", "echo"))
		_, _ = io.WriteString(conn, "all of it")
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != "read all of it" {
			t.Errorf("%s: %q, %v", transport, got, err)
		}
		conn.Close()
		<-b.hellos
	}
}

func TestTunnelsKeepTheBackendsHalfClose(t *testing.T) {
	got := make(chan string, 1)
	back := serveBackend(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "bye\n")
		_ = conn.(*net.TCPConn).CloseWrite()
		all, _ := io.ReadAll(conn)
		got <- string(all)
	})
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	for _, transport := range transports {
		conn := secure(t, b.stream(t, transport), b.clientConfig("echo.routes.example.test", "echo"))
		if all, err := io.ReadAll(conn); err != nil || string(all) != "bye\n" {
			t.Fatalf("%s: %q, %v", transport, all, err)
		}
		_, _ = io.WriteString(conn, "still here")
		_ = conn.CloseWrite()
		if all := <-got; all != "still here" {
			t.Errorf("%s: the backend read %q after its half-close", transport, all)
		}
		conn.Close()
		<-b.hellos
	}
}

func TestRouterKeepsBytesSentWithUpgrade(t *testing.T) {
	back := echoBackend(t, "echo")
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	for _, plaintext := range []bool{true, false} {
		var conn net.Conn = b.tcp(t)
		if !plaintext {
			conn = secure(t, conn, b.clientConfig(ownName))
			<-b.hellos
		}
		// The request is sent together with the ClientHello, in one write.
		glued := &gluedConn{Conn: conn, before: upgradeRequest}
		inner := tls.Client(glued, b.clientConfig("echo.routes.example.test", "echo"))
		if err := inner.Handshake(); err != nil {
			t.Fatalf("plaintext %v: %v", plaintext, err)
		}
		if got := readLine(t, inner); got != "echo" {
			t.Errorf("reached %q", got)
		}
		roundTrip(t, inner, "x")
		<-b.hellos
	}
}

// gluedConn puts a request in front of the first write and takes the answer's head off the first read.
type gluedConn struct {
	net.Conn
	before string
	br     *bufio.Reader
}

func (g *gluedConn) Write(p []byte) (int, error) {
	_, err := g.Conn.Write(append([]byte(g.before), p...))
	g.before = ""
	return len(p), err
}

func (g *gluedConn) Read(p []byte) (int, error) {
	if g.br == nil {
		g.br = bufio.NewReader(g.Conn)
		for {
			line, err := g.br.ReadString('\n')
			if err != nil {
				return 0, err
			}
			if line == "\r\n" {
				break
			}
		}
	}
	return g.br.Read(p)
}

func TestUpgradesNestUpToThree(t *testing.T) {
	back := echoBackend(t, "echo")
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	var conn net.Conn = b.tcp(t)
	for _, typ := range []string{"websocket", "alpn", "alpn-ping"} {
		conn = secure(t, conn, b.clientConfig(ownName, "http/1.1"))
		conn = b.upgrade(t, conn, typ)
	}
	inner := secure(t, conn, b.clientConfig("echo.routes.example.test", "echo"))
	readLine(t, inner)
	roundTrip(t, inner, "deep")
	inner.Close()
	b.log.wait(t, "upgrade=websocket>alpn>alpn-ping", "route=echo", "out=10")

	conn = b.tcp(t)
	for range 3 {
		conn = b.upgrade(t, conn, "alpn")
	}
	var status *upgrade.StatusError
	_, err := upgrade.Dial(t.Context(), conn, upgrade.ClientOptions{Type: "alpn", Host: ownName})
	if !errors.As(err, &status) || status.Status != 508 {
		t.Errorf("the fourth upgrade: %v", err)
	}
}

// truncate ends the TCP connection under a client's TLS without close_notify.
func truncate(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := splice.CloseWrite(conn); err != nil {
		t.Fatal(err)
	}
}

func TestATruncatedClientIsAnAbortForTheBackend(t *testing.T) {
	ended := make(chan error, 1)
	back := serveBackend(t, func(conn net.Conn) {
		_, err := io.Copy(io.Discard, conn)
		ended <- err
	})
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	for _, transport := range []string{"direct", "alpn", "http alpn-ping", "websocket"} {
		stream := b.stream(t, transport)
		conn := secure(t, stream, b.clientConfig("echo.routes.example.test", "echo"))
		_, _ = io.WriteString(conn, "half a messa")
		truncate(t, stream)
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the backend's stream ended with %v, want a reset", transport, err)
		}
		<-b.hellos
	}
}

func TestABackendsResetIsNoCleanEnd(t *testing.T) {
	back := serveBackend(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "half a messa\n")
		_, _ = io.ReadFull(conn, make([]byte, 1))
		_ = conn.(*net.TCPConn).SetLinger(0)
	})
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	for _, transport := range transports {
		conn := secure(t, b.stream(t, transport), b.clientConfig("echo.routes.example.test", "echo"))
		readLine(t, conn)
		_, _ = io.WriteString(conn, "x")
		if rest, err := io.ReadAll(conn); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read %q, %v: want an error", transport, rest, err)
		}
		<-b.hellos
	}
}

func TestAnUnreachableBackendIsNoCleanEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	pass := Route{Name: "pass", SNI: []string{"pass.routes.example.test"}, Mode: ModePassthrough, Backend: Backend{Address: closed}}
	b := startRouter(t, Config{Routes: []Route{echoRoute(closed), pass}})

	conn := secure(t, b.tcp(t), b.clientConfig("echo.routes.example.test", "echo"))
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("terminate: a clean end")
	}
	err = tls.Client(b.tcp(t), b.clientConfig("pass.routes.example.test")).Handshake()
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("passthrough: %v, want a reset", err)
	}
	b.log.wait(t, "outcome=dial_failed", "route=echo", "refused")
	b.log.wait(t, "outcome=dial_failed", "route=pass")
}

// TestTunnelsSurvivePastDeadlines is kubectl exec: its hijack interrupts a read by a deadline in the past.
func TestTunnelsSurvivePastDeadlines(t *testing.T) {
	back := echoBackend(t, "echo")
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	for _, transport := range transports {
		conn := secure(t, b.stream(t, transport), b.clientConfig("echo.routes.example.test", "echo"))
		readLine(t, conn)
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s: %v", transport, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		roundTrip(t, conn, "after")
		<-b.hellos
	}
}

// An idle tunnel has no goroutine, whatever its layers: the loop carries it.
func TestIdleTunnelsHaveNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere tunnels are carried by splice.Join")
	}
	back := echoBackend(t, "echo")
	through := echoRoute(back.addr)
	through.Name, through.SNI, through.ALPN, through.Mode = "through", []string{"through.routes.example.test"}, nil, ModePassthrough
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr), through}})
	for _, transport := range transports {
		conn := secure(t, b.stream(t, transport), b.clientConfig("echo.routes.example.test", "echo"))
		readLine(t, conn)
		roundTrip(t, conn, "terminated")
		<-b.hellos
		passed := b.stream(t, transport)
		if _, err := passed.Write(helloBytes(t, "through.routes.example.test")); err != nil {
			t.Fatal(err)
		}
		readLine(t, passed)
		<-b.hellos
	}
	var serving []string
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		stacks := make([]byte, 4<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		serving = serving[:0]
		for goroutine := range strings.SplitSeq(string(stacks), "\n\n") {
			if strings.Contains(goroutine, "router.(*session)") || strings.Contains(goroutine, "splice.(*join)") {
				serving = append(serving, goroutine)
			}
		}
		if len(serving) == 0 {
			return
		}
	}
	t.Errorf("%d goroutines for %d idle tunnels, such as\n%s", len(serving), 2*len(transports), serving[0])
}

func TestBulkCrossesUnchanged(t *testing.T) {
	back := echoBackend(t, "echo")
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	text := strings.Repeat("0123456789abcdef", 1<<16)
	for _, transport := range transports {
		conn := secure(t, b.stream(t, transport), b.clientConfig("echo.routes.example.test", "echo"))
		readLine(t, conn)
		wrote := make(chan error, 1)
		go func() {
			_, err := io.WriteString(conn, text)
			wrote <- errors.Join(err, conn.CloseWrite())
		}()
		got, err := io.ReadAll(conn)
		if err != nil || string(got) != text {
			t.Errorf("%s: %d of %d bytes came back, %v", transport, len(got), len(text), err)
		}
		if err := <-wrote; err != nil {
			t.Errorf("%s: %v", transport, err)
		}
		<-b.hellos
	}
}
