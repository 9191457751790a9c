package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

const serviceName = "service.example.test"

// asChild makes the test binary the program that Run starts: it says "ready" and ends with status 7 at a SIGTERM.
const asChild = "TLSROUTE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		_, _ = os.Stdout.WriteString("ready\n") // missed by the test
		<-signals
		os.Exit(7)
	}
	goleak.VerifyTestMain(m)
}

// service plays the router and what is behind it: TLS that confirms its ALPN, and a function a connection.
type service struct {
	t    testing.TB
	ca   *certs.CA
	addr string

	mu    sync.Mutex // guards conns
	conns int
}

// listen serves every connection with handle, which gets the inner TLS session; raw, below it, ends it without a goodbye.
func listen(t testing.TB, config *tls.Config, handle func(conn *tls.Conn)) *service {
	t.Helper()
	s := newService(t, config)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			s.mu.Unlock()
			open.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				if secure := tls.Server(conn, config); secure.Handshake() == nil {
					handle(secure)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); open.Wait() })
	return s
}

// newService gives config its certificate.
func newService(t testing.TB, config *tls.Config) *service {
	t.Helper()
	ca, err := certs.NewCA("router")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(certs.Leaf{CommonName: serviceName, DNS: []string{serviceName}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{leaf}
	return &service{t: t, ca: ca}
}

func (s *service) dialer(alpn ...string) *client.Dialer {
	return &client.Dialer{
		Address: s.addr, ServerName: serviceName, ALPN: alpn, InnerRoots: s.ca.Pool(), OuterRoots: s.ca.Pool(), Upgrade: client.Direct,
	}
}

func (s *service) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// nobody is a Dialer whose dials fail.
func nobody(t testing.TB, alpn ...string) *client.Dialer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return &client.Dialer{Address: l.Addr().String(), ServerName: serviceName, ALPN: alpn}
}

// said gathers what a Server says.
type said struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (s *said) say(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

// one checks that one line was said, with text in it.
func (s *said) one(t *testing.T, text string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) != 1 || !strings.Contains(s.lines[0], text) || strings.Contains(s.lines[0], "\n") {
		t.Errorf("said %q, want one line with %q", s.lines, text)
	}
}

func (s *said) nothing(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) > 0 {
		t.Errorf("said %q, want nothing", s.lines)
	}
}

// serve runs s until end is called, or to the end of the test; when end has returned, all that s had to say is said.
func serve(t testing.TB, s *Server) (addr string, end func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(end)
	return l.Addr().String(), end
}

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// abort ends a TLS session as a crash does.
func abort(conn *tls.Conn) { splice.Abort(conn) }
