package albsim

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 5 * time.Second // for what must come

// makeCert writes a self-signed pair and returns its paths.
func makeCert(t testing.TB, edit func(*x509.Certificate), names ...string) Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return makeKeyCert(t, key, edit, names...)
}

func makeKeyCert(t testing.TB, key crypto.Signer, edit func(*x509.Certificate), names ...string) Certificate {
	t.Helper()
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<40))
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test " + strings.Join(names, " ")}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if edit != nil {
		edit(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := Certificate{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	write := func(path, kind string, b []byte) {
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(c.Cert, "CERTIFICATE", der)
	write(c.Key, "PRIVATE KEY", keyDER)
	return c
}

func loadCert(t *testing.T, c Certificate) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// sim is a running simulator.
type sim struct {
	*Server
	t      *testing.T
	addr   string
	access string
}

// start runs a simulator with an access log; it is shut down, and its goroutines waited for, at the end of the test.
func start(t *testing.T, cfg Config, opt Options) *sim {
	t.Helper()
	m := &sim{t: t, access: filepath.Join(t.TempDir(), "access.log")}
	cfg.Logs.Access = m.access
	s, err := New(cfg, opt)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.Server, m.addr = s, s.Addrs()[0].String()
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return m
}

// plain is a document with one HTTP listener before that target.
func plain(target string) Config {
	return Config{
		Attributes:   map[string]any{},
		Listeners:    []Listener{{Listen: "127.0.0.1:0", Protocol: "HTTP", Default: Default{Forward: "t"}}},
		TargetGroups: []TargetGroup{{Name: "t", Protocol: "HTTP", Targets: []string{target}}},
	}
}

// secure is the same with an HTTPS listener.
func secure(t testing.TB, target string) Config {
	cfg := plain(target)
	l := &cfg.Listeners[0]
	l.Protocol, l.SSLPolicy = "HTTPS", "ELBSecurityPolicy-TLS13-1-2-2021-06"
	l.Certificates = []Certificate{makeCert(t, nil, "alb.example.test")}
	return cfg
}

// client is a raw socket, or TLS on one, with a reader that keeps what is left.
type client struct {
	net.Conn
	t  *testing.T
	br *bufio.Reader
}

func newClient(t *testing.T, conn net.Conn) *client {
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	return &client{conn, t, bufio.NewReader(conn)}
}

func (m *sim) dial() *client {
	m.t.Helper()
	conn, err := net.Dial("tcp", m.addr)
	if err != nil {
		m.t.Fatal(err)
	}
	return newClient(m.t, conn)
}

func (m *sim) dialTLS(cfg *tls.Config) (*client, *tls.Conn) {
	m.t.Helper()
	cfg.InsecureSkipVerify = true
	conn, err := tls.Dial("tcp", m.addr, cfg)
	if err != nil {
		m.t.Fatalf("TLS handshake: %v", err)
	}
	return newClient(m.t, conn), conn
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("client write: %v", err)
	}
}

// head reads one response head: status line and fields as text.
func readHead(t *testing.T, br *bufio.Reader) string {
	t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "\r\n\r\n") {
		line, err := br.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			t.Fatalf("reading a head: %v after %q", err, b.String())
		}
	}
	return b.String()
}

func (c *client) head() string { c.t.Helper(); return readHead(c.t, c.br) }

func (c *client) expect(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c.br, got); err != nil || string(got) != want {
		c.t.Fatalf("client read %q (%v), want %q", got[:n], err, want)
	}
}

// response reads one response with a Content-Length.
func (c *client) response() (status int, head, body string) {
	c.t.Helper()
	head = c.head()
	status, _ = strconv.Atoi(strings.Fields(head)[1])
	n, _ := strconv.Atoi(fieldOf(head, "Content-Length"))
	b := make([]byte, n)
	if _, err := io.ReadFull(c.br, b); err != nil {
		c.t.Fatalf("reading a body: %v", err)
	}
	return status, head, string(b)
}

// fieldOf returns a field of a raw head; the name is case-sensitive on purpose.
func fieldOf(head, name string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, v, ok := strings.Cut(line, ": "); ok && n == name {
			return v
		}
	}
	return ""
}

func has(head, name string) bool { return strings.Contains(head, "\r\n"+name+": ") }

// names lists the field names of a raw head in order.
func names(head string) []string {
	var out []string
	for i, line := range strings.Split(head, "\r\n") {
		if n, _, ok := strings.Cut(line, ":"); ok && i > 0 {
			out = append(out, n)
		}
	}
	return out
}

// stub is a target that hands each connection to a function, with its head already read.
type stub struct {
	addr    string
	heads   chan string
	accepts atomic.Int32
}

func newStub(t *testing.T, tlsConfig *tls.Config, serve func(c *client, head string)) *stub {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{addr: ln.Addr().String(), heads: make(chan string, 64)}
	ended := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.accepts.Add(1)
			done := make(chan struct{})
			t.Cleanup(func() { conn.Close(); <-done })
			go func() {
				defer close(done)
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(2 * patience))
				if tlsConfig != nil {
					conn = tls.Server(conn, tlsConfig)
				}
				c := &client{conn, t, bufio.NewReader(conn)}
				for {
					head, err := rawHead(c.br)
					if err != nil {
						return
					}
					s.heads <- head
					serve(c, head)
				}
			}()
		}
	}()
	return s
}

func rawHead(br *bufio.Reader) (string, error) {
	var b bytes.Buffer
	for !bytes.HasSuffix(b.Bytes(), []byte("\r\n\r\n")) {
		line, err := br.ReadSlice('\n')
		b.Write(line)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
	return b.String(), nil
}

func (s *stub) head(t *testing.T) string {
	t.Helper()
	select {
	case h := <-s.heads:
		return h
	case <-time.After(patience):
		t.Fatal("the target got no request")
		return ""
	}
}

// ok answers every request.
func ok(c *client, _ string) { say(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }

// logLines waits for n lines of the access log and splits them.
func (m *sim) logLines(n int) [][]string {
	m.t.Helper()
	var lines []string
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		b, err := os.ReadFile(m.access)
		if err != nil {
			m.t.Fatal(err)
		}
		// A line that lies across two pages of the file can be read before it is whole.
		if lines = strings.Split(strings.TrimSpace(string(b)), "\n"); bytes.HasSuffix(b, []byte("\n")) && len(lines) >= n {
			var out [][]string
			for _, l := range lines {
				out = append(out, strings.Fields(l))
			}
			return out
		}
	}
	m.t.Fatalf("access log has %d lines, want %d", len(lines), n)
	return nil
}
