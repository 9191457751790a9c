package realproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testDir is a folder that other accounts can reach; what is left in it is an error.
func testDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tlsroute-bench-test-") //nolint:usetesting // other accounts cannot reach t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func start(t *testing.T, product string, s Spec) *Running {
	t.Helper()
	s.Dir = testDir(t)
	r, err := Start(t.Context(), product, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// target is a server that tells of each connection where it came from and how it began, and says what it is told to.
type target struct {
	ln     net.Listener
	cert   tls.Certificate
	seen   chan seen
	answer string
}

type seen struct {
	from  string // host
	hello *tls.ClientHelloInfo
	head  string // up to the empty line, or the first line without HTTP
	err   error
}

func newTarget(t *testing.T, answer string) *target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certs.SelfSigned(certs.Leaf{CommonName: "target", DNS: []string{"target.test"}})
	if err != nil {
		t.Fatal(err)
	}
	tg := &target{ln: ln, cert: cert, seen: make(chan seen, 16), answer: answer}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			tg.seen <- tg.serve(c)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return tg
}

func (tg *target) serve(c net.Conn) (s seen) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	s.from, _, _ = net.SplitHostPort(c.RemoteAddr().String())
	br := bufio.NewReader(c)
	conn, r := net.Conn(c), br
	if first, err := br.Peek(1); err == nil && first[0] == 22 {
		server := tls.Server(replayed{c, br}, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			s.hello = h
			return &tls.Config{Certificates: []tls.Certificate{tg.cert}, NextProtos: []string{"http/1.1"}}, nil
		}})
		conn, r = server, bufio.NewReader(server)
	}
	for !strings.HasSuffix(s.head, "\r\n\r\n") && s.err == nil {
		var line string
		line, s.err = r.ReadString('\n')
		s.head += line
		if s.head == line && !strings.Contains(line, "HTTP/1.1") {
			break
		}
	}
	if s.err == nil {
		_, s.err = io.WriteString(conn, tg.answer)
	}
	if s.err == nil && !strings.Contains(tg.answer, "Connection: close") { // echo one line, and wait for the end
		line, _ := r.ReadString('\n')
		_, _ = io.WriteString(conn, line)
		_, _ = io.Copy(io.Discard, io.LimitReader(r, 1<<16))
	}
	return s
}

// replayed reads what has been looked at already.
type replayed struct {
	net.Conn
	r io.Reader
}

func (c replayed) Read(p []byte) (int, error) { return c.r.Read(p) }

func (tg *target) next(t *testing.T) seen {
	t.Helper()
	select {
	case s := <-tg.seen:
		if s.err != nil {
			t.Errorf("the target: %v after %q", s.err, s.head)
		}
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came to the target")
		return seen{}
	}
}

func frontCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	ca, err := certs.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(certs.Leaf{CommonName: "front.test", DNS: []string{"front.test"}})
	if err != nil {
		t.Fatal(err)
	}
	return cert, ca.Pool()
}

// from dials from another address of this machine.
func from(t *testing.T, host, address string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}, Timeout: 5 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestUpgradesCrossEveryProduct is what a product is here for: both fields of an upgrade reach the target, the 101 comes back, and
// bytes flow. The target is told the client's address, by a PROXY header before or as the connection's own.
func TestUpgradesCrossEveryProduct(t *testing.T) {
	cert, roots := frontCertificate(t)
	for _, product := range Products() {
		for _, c := range []struct {
			name        string
			tls, accept bool
		}{{"https target", true, false}, {"http target", false, false}, {"proxy header before", true, true}} {
			p, _ := kinds.Find(product)
			if c.accept && !p.acceptsProxy {
				continue // TestWhatAProductCannotDoIsSaid
			}
			t.Run(product+"/"+c.name, func(t *testing.T) {
				tg := newTarget(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: alpn\r\nConnection: Upgrade\r\n\r\n")
				r := start(t, product, Spec{
					Name: "front.test", Certificate: cert, Protocol: "HTTPS", AcceptProxy: c.accept, Idle: 10 * time.Second,
					Next: Next{Address: tg.ln.Addr().String(), TLS: c.tls, Name: "target.test"},
				})
				if r.Version == "" || r.Product != product {
					t.Errorf("got %q %q", r.Product, r.Version)
				}
				raw, client := from(t, "127.0.0.2", r.Address), "127.0.0.2"
				if c.accept {
					client = "127.0.0.9"
					if _, err := fmt.Fprintf(raw, "PROXY TCP4 %s 127.0.0.1 1000 443\r\n", client); err != nil {
						t.Fatal(err)
					}
				}
				conn := tls.Client(raw, &tls.Config{ServerName: "front.test", RootCAs: roots, NextProtos: []string{"http/1.1"}})
				if _, err := io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: front.test\r\nConnection: Upgrade\r\nUpgrade: alpn\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				br := bufio.NewReader(conn)
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusSwitchingProtocols {
					t.Fatalf("the answer is %s", resp.Status)
				}
				if _, err := io.WriteString(conn, "ping\n"); err != nil {
					t.Fatal(err)
				}
				if line, err := br.ReadString('\n'); err != nil || line != "ping\n" {
					t.Errorf("through the tunnel came %q, %v", line, err)
				}
				conn.Close()
				s := tg.next(t)
				head := strings.ToLower(s.head)
				for _, want := range []string{"upgrade: alpn\r\n", "connection: upgrade\r\n", "x-forwarded-for: " + client + "\r\n"} {
					if !strings.Contains(head, want) {
						t.Errorf("the target saw no %q in %q", want, s.head)
					}
				}
				if (s.hello != nil) != c.tls || c.tls && p.sendsSNI != (s.hello.ServerName == "target.test") {
					t.Errorf("the target's ClientHello: %+v", s.hello)
				}
			})
		}
	}
}

func TestBytesPassUnread(t *testing.T) {
	for _, c := range []struct {
		product, send string
		preserve      bool
		head, from    string
	}{
		{"haproxy", "", false, "hello\n", "127.0.0.1"},
		{"haproxy", "v1", false, "PROXY TCP4 127.0.0.2 127.0.0.1 ", "127.0.0.1"},
		{"haproxy", "v2", false, "\r\n", "127.0.0.1"},
		{"nginx", "", true, "hello\n", "127.0.0.2"},
		{"nginx", "v1", false, "PROXY TCP4 127.0.0.2 127.0.0.1 ", "127.0.0.1"},
	} {
		t.Run(c.product+c.send, func(t *testing.T) {
			tg := newTarget(t, "")
			r := start(t, c.product, Spec{
				Protocol: "TCP", SendProxy: c.send, PreserveClientIP: c.preserve, Idle: 10 * time.Second, Next: Next{Address: tg.ln.Addr().String()},
			})
			<-tg.seen // the connection by which Start knew that it was ready: it went all the way
			conn := from(t, "127.0.0.2", r.Address)
			if _, err := io.WriteString(conn, "hello\n"); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if s := tg.next(t); !strings.HasPrefix(s.head, c.head) || s.from != c.from {
				t.Errorf("from %s came %q", s.from, s.head)
			}
		})
	}
}

func TestMissingProductNamesTheDebianPackage(t *testing.T) {
	t.Setenv(process.SearchVariable, t.TempDir())
	for _, product := range Products() {
		p, _ := kinds.Find(product)
		_, err := Start(t.Context(), product, Spec{Protocol: "HTTPS", Dir: testDir(t)})
		missing, ok := errors.AsType[*process.MissingError](err)
		if !ok || missing.Error() != p.Binaries[0]+" not found: install the Debian package "+p.Package {
			t.Errorf("%s: %v", product, err)
		}
	}
}

func TestWhatAProductCannotDoIsSaid(t *testing.T) {
	for want, c := range map[string]struct {
		product string
		spec    Spec
	}{
		`no real product "squid": there are apache, caddy, haproxy, nginx`: {"squid", Spec{Protocol: "HTTPS"}},
		"nginx is configured here for HTTPS and TLS and TCP only, not UDP": {"nginx", Spec{Protocol: "UDP"}},
		"caddy takes no PROXY header":                                      {"caddy", Spec{Protocol: "HTTPS", AcceptProxy: true}},
		"apache is configured here for HTTPS only, not TCP":                {"apache", Spec{Protocol: "TCP"}},
		"nginx does not send PROXY v2":                                     {"nginx", Spec{Protocol: "TCP", SendProxy: "v2"}},
		"haproxy is not configured here to keep the client's address":      {"haproxy", Spec{Protocol: "TCP", PreserveClientIP: true}},
		"nginx is not configured here to resolve its target again":         {"nginx", Spec{Protocol: "HTTPS", Next: Next{Resolver: "127.0.0.1:53"}}},
	} {
		if err := Check(c.product, c.spec); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestPathsLeadToTheirServices(t *testing.T) {
	cert, roots := frontCertificate(t)
	for _, product := range Products() {
		app := newTarget(t, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		rest := newTarget(t, "HTTP/1.1 205 Reset Content\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		r := start(t, product, Spec{
			Name: "front.test", Certificate: cert, Protocol: "HTTPS", RedirectHTTP: true, Idle: 10 * time.Second,
			Next: Next{Address: rest.ln.Addr().String(), Name: "target.test"}, Apps: []App{{"/app/", app.ln.Addr().String()}},
		})
		for path, want := range map[string]int{"/app/x": 204, "/apple": 205, "/": 205} {
			conn := tls.Client(from(t, "127.0.0.1", r.Address), &tls.Config{ServerName: "front.test", RootCAs: roots})
			if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\n\r\n", path); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s: %s was answered with %s", product, path, resp.Status)
			}
			conn.Close()
		}
		conn := from(t, "127.0.0.1", r.Redirect)
		if _, err := io.WriteString(conn, "GET /a?b HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 301 || resp.Header.Get("Location") != "https://front.test/a?b" {
			t.Errorf("%s: %s to %q", product, resp.Status, resp.Header.Get("Location"))
		}
	}
}

func TestAStartThatFailsLeavesNothing(t *testing.T) {
	before := process.Descendants(os.Getpid())
	for _, product := range Products() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		cert, _ := frontCertificate(t)
		_, err := Start(ctx, product, Spec{Name: "front.test", Certificate: cert, Protocol: "HTTPS", Dir: testDir(t), Next: Next{Address: "127.0.0.1:1"}})
		if err == nil {
			t.Errorf("%s was started by a context that had ended", product)
		}
		// A certificate is missing: the product itself says so.
		if _, err := Start(t.Context(), product, Spec{Name: "front.test", Protocol: "HTTPS", Dir: testDir(t), Next: Next{Address: "127.0.0.1:1"}}); err == nil {
			t.Errorf("%s takes no certificate", product)
		}
	}
	if after := process.Descendants(os.Getpid()); !slices.Equal(after, before) {
		t.Errorf("left %v", after)
	}
}
