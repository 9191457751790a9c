package router

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// What a test's peers read, write and close is not checked where it is assigned to _: the end under test tells what came of it.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come; it is no measure of how long that should take.
const patience = 10 * time.Second

// backend is a service behind the router.
type backend struct {
	addr     string
	accepted atomic.Int64
}

// serveBackend runs serve for each connection until the test ends.
func serveBackend(t testing.TB, serve func(conn net.Conn)) *backend {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{addr: listener.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			b.accepted.Add(1)
			wg.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(3 * patience))
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return b
}

// echoBackend says its name in a line, then echoes, and half-closes when the client has.
func echoBackend(t testing.TB, name string) *backend {
	return serveBackend(t, func(conn net.Conn) { echo(conn, name) })
}

func echo(conn net.Conn, name string) {
	_, _ = io.WriteString(conn, name+"\n")
	_, _ = io.Copy(conn, conn)
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// bench is a router under test and what surrounds it.
type bench struct {
	*Server
	ca     *authority
	config Config
	hellos chan HelloEvent
	log    *logLines
}

// logLines collects the router's log.
type logLines struct {
	mu   sync.Mutex // guards text
	text strings.Builder
	news chan struct{}
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	select {
	case l.news <- struct{}{}:
	default:
	}
	return len(p), nil
}

// wait blocks until a line holds all the parts, and returns it.
func (l *logLines) wait(t *testing.T, parts ...string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		text := l.text.String()
		l.mu.Unlock()
	lines:
		for line := range strings.Lines(text) {
			for _, part := range parts {
				if !strings.Contains(line, part) {
					continue lines
				}
			}
			return line
		}
		select {
		case <-l.news:
		case <-timeout:
			t.Fatalf("no log line with %q in:\n%s", parts, text)
		}
	}
}

const ownName = "router.example.test"

// startRouter serves a document; its first certificate, for every *.example.test name, is put in front of those it has.
func startRouter(t testing.TB, config Config, change ...func(*Options)) *bench {
	t.Helper()
	b := &bench{ca: newAuthority(t), hellos: make(chan HelloEvent, 64), log: &logLines{news: make(chan struct{}, 1)}}
	config.Listen = "127.0.0.1:0"
	config.Certificates = append([]Certificate{pair(t, b.ca.leaf(t, ownName, "*.routes.example.test"))}, config.Certificates...)
	opt := Options{
		Logger:  slog.New(slog.NewTextHandler(b.log, nil)),
		OnHello: func(e HelloEvent) { b.hellos <- e },
	}
	for _, f := range change {
		f(&opt)
	}
	server, err := New(config, opt)
	if err != nil {
		t.Fatal(err)
	}
	b.Server, b.config = server, config
	if err := server.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what is still open is cut
		_ = server.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return b
}

// tcp is a connection to the router that ends with the test.
func (b *bench) tcp(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func (b *bench) clientConfig(name string, alpn ...string) *tls.Config {
	return &tls.Config{ServerName: name, NextProtos: alpn, RootCAs: b.ca.pool(), InsecureSkipVerify: name == ""}
}

// secure runs a client handshake over a stream and expects it to succeed.
func secure(t *testing.T, stream net.Conn, config *tls.Config) *tls.Conn {
	t.Helper()
	conn := tls.Client(stream, config)
	t.Cleanup(func() { conn.Close() })
	if err := conn.Handshake(); err != nil {
		t.Fatalf("handshake for %q %q: %v", config.ServerName, config.NextProtos, err)
	}
	return conn
}

// transports are the ways to the first byte of a routed ClientHello.
var transports = []string{"direct", "websocket", "alpn", "alpn-ping", "http websocket", "http alpn", "http alpn-ping"}

// stream opens one of the transports.
func (b *bench) stream(t *testing.T, transport string) net.Conn {
	t.Helper()
	var conn net.Conn = b.tcp(t)
	typ, plaintext := strings.CutPrefix(transport, "http ")
	if typ == "direct" {
		return conn
	}
	if !plaintext {
		conn = secure(t, conn, b.clientConfig(ownName))
		<-b.hellos
	}
	return b.upgrade(t, conn, typ)
}

// upgrade makes a tunnel of a connection to the endpoint.
func (b *bench) upgrade(t *testing.T, conn net.Conn, typ string) net.Conn {
	t.Helper()
	tunnel, err := upgrade.Dial(t.Context(), conn, upgrade.ClientOptions{Type: typ, Host: ownName, Timeout: patience})
	if err != nil {
		t.Fatalf("upgrade %s: %v", typ, err)
	}
	t.Cleanup(func() { tunnel.Close() })
	tunnel.SetDeadline(time.Now().Add(patience))
	return tunnel
}

// readLine reads a line and not a byte more.
func readLine(t *testing.T, r io.Reader) string {
	t.Helper()
	var line []byte
	var one [1]byte
	for {
		if _, err := io.ReadFull(r, one[:]); err != nil {
			t.Fatalf("read a line, after %q: %v", line, err)
		}
		if one[0] == '\n' {
			return string(line)
		}
		line = append(line, one[0])
	}
}

// roundTrip expects an echo.
func roundTrip(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text+"\n"); err != nil {
		t.Fatal(err)
	}
	if got := readLine(t, conn); got != text {
		t.Fatalf("echo of %q: got %q", text, got)
	}
}

// alertOf is the number of the TLS alert that the peer sent, or what the error was instead. crypto/tls has a type of its own for
// an alert, which it does not export; only its kind tells.
func alertOf(err error) any {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
			return uint8(v.Uint())
		}
	}
	return err
}

// ask writes raw bytes to the HTTP endpoint and reads one response head and body.
func ask(t *testing.T, conn net.Conn, br *bufio.Reader, request string) (status string, head []string) {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	length := 0
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			t.Fatalf("read the answer to %.60q, after %q: %v", request, head, err)
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if value, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			for _, c := range value {
				length = 10*length + int(c-'0')
			}
		}
		head = append(head, line)
	}
	if _, err := br.Discard(length); err != nil {
		t.Fatalf("read the body: %v", err)
	}
	_, status, _ = strings.Cut(head[0], " ")
	return status[:3], head
}
