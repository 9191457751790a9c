package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// What a test's peers read, write and close is not checked where it is assigned to _: the end under test tells what came of it.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	innerName = "pg.example.test"
	outerName = "lb.example.test"
	service   = "teleport-postgres"
)

// authority is a CA that signs leaves for the test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, cert, key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func (a *authority) leaf(names ...string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// hello is one ClientHello that arrived, and what came of its handshake.
type hello struct {
	Hop     string
	SNI     string
	ALPN    []string
	Cert    bool
	Success bool
}

// path is a server under test: what it does to a connection is its handle function, what it saw is kept.
type path struct {
	t     testing.TB
	addr  string
	inner *authority
	outer *authority
	other *authority

	mu      sync.Mutex // guards what follows
	ended   *sync.Cond
	active  int // connections being handled
	conns   int
	hellos  []hello
	offered []string // upgrade tokens, one an attempt
	hosts   []string
}

// listen serves each connection with handle; the n-th connection is number n, from 1.
func listen(t testing.TB, handle func(p *path, conn net.Conn, n int)) *path {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &path{
		t: t, addr: ln.Addr().String(),
		inner: newAuthority(t, "inner"), outer: newAuthority(t, "outer"), other: newAuthority(t, "other"),
	}
	p.ended = sync.NewCond(&p.mu)
	var wg sync.WaitGroup
	open := make(map[net.Conn]bool)
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			p.mu.Lock()
			p.conns++
			p.active++
			n := p.conns
			open[conn] = true
			p.mu.Unlock()
			wg.Go(func() {
				handle(p, conn, n)
				conn.Close()
				p.mu.Lock()
				p.active--
				p.mu.Unlock()
				p.ended.Broadcast()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.mu.Lock()
		for c := range open {
			c.Close()
		}
		p.mu.Unlock()
		wg.Wait()
	})
	return p
}

func (p *path) dialer() *Dialer {
	return &Dialer{
		Address: p.addr, ServerName: innerName, OuterServerName: outerName, ALPN: []string{service},
		InnerRoots: p.inner.pool(), OuterRoots: p.outer.pool(), Timeout: 15 * time.Second, StepTimeout: 5 * time.Second,
	}
}

// tls runs a server handshake and notes it, in the order of the hellos.
func (p *path) tls(hop string, conn net.Conn, cfg *tls.Config) (*tls.Conn, error) {
	h, slot := hello{Hop: hop}, -1
	cfg = cfg.Clone()
	next := cfg.GetConfigForClient
	cfg.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		h.SNI, h.ALPN = info.ServerName, append([]string(nil), info.SupportedProtos...)
		p.mu.Lock()
		slot = len(p.hellos)
		p.hellos = append(p.hellos, h)
		p.mu.Unlock()
		if next != nil {
			return next(info)
		}
		return nil, nil
	}
	s := tls.Server(conn, cfg)
	err := s.Handshake()
	h.Success, h.Cert = err == nil, len(s.ConnectionState().PeerCertificates) > 0
	if slot >= 0 {
		p.mu.Lock()
		p.hellos[slot] = h
		p.mu.Unlock()
	}
	return s, err
}

// seen waits until every connection was dealt with: the client must have closed its own.
func (p *path) seen() (conns int, hellos []hello, offered []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.active > 0 {
		p.ended.Wait()
	}
	return p.conns, append([]hello(nil), p.hellos...), append([]string(nil), p.offered...)
}

// routerConfig is the router's TLS for the service.
func (p *path) routerConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{p.inner.leaf(innerName)}, NextProtos: []string{service, ProbeALPN}}
}

// echo sends everything back and ends when the peer does.
func echo(conn *tls.Conn) {
	_, _ = io.Copy(conn, conn)
	_ = conn.CloseWrite()
	conn.Close()
}

// router answers a connection as the router itself.
func router(p *path, conn net.Conn, _ int) {
	if s, err := p.tls("router", conn, p.routerConfig()); err == nil {
		echo(s)
	}
}

// exchange proves that conn reaches the echoing service and carries a half-close.
func exchange(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, err := io.WriteString(conn, "question")
	if err == nil {
		err = conn.(interface{ CloseWrite() error }).CloseWrite()
	}
	got, readErr := io.ReadAll(conn)
	if err := errors.Join(err, readErr); err != nil || string(got) != "question" {
		t.Fatalf("exchange: %q, %v", got, err)
	}
	if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		// A WebSocket or a TLS session whose peer has closed first has nobody to say goodbye to.
		t.Logf("close: %v", err)
	}
}
