package upgrade

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// What a test's peers read, write and close is not checked where it is assigned to _: the end under test tells what came of it.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcpPair is a connection over loopback; both ends are closed with the test and have a deadline that ends a hanging one.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	client.SetDeadline(time.Now().Add(10 * time.Second))
	server.SetDeadline(time.Now().Add(10 * time.Second))
	return client, server
}

type accepted struct {
	conn net.Conn
	typ  string
	err  error
}

// serve reads one request from conn and accepts it.
func serve(ctx context.Context, conn net.Conn, opt ServerOptions) accepted {
	br := bufio.NewReader(conn)
	req, err := http.ReadRequest(br)
	if err != nil {
		return accepted{err: err}
	}
	tunnel, typ, err := Accept(ctx, conn, br, req, opt)
	return accepted{tunnel, typ, err}
}

// tunnelPair is an upgraded tunnel of the type, over TCP.
func tunnelPair(t testing.TB, typ string, opt ServerOptions) (client, server net.Conn) {
	t.Helper()
	c, s := tcpPair(t)
	done := make(chan accepted, 1)
	go func() { done <- serve(t.Context(), s, opt) }()
	client, err := Dial(t.Context(), c, ClientOptions{Type: typ, Host: "router.example.test"})
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	a := <-done
	if a.err != nil {
		t.Fatalf("Accept: %v", a.err)
	}
	if a.typ != typ {
		t.Fatalf("accepted %q, want %q", a.typ, typ)
	}
	t.Cleanup(func() { client.Close(); a.conn.Close() })
	client.SetDeadline(time.Now().Add(10 * time.Second))
	a.conn.SetDeadline(time.Now().Add(10 * time.Second))
	return client, a.conn
}

func testCertificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pg.example.test"}, DNSNames: []string{"pg.example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

func mustRead(t testing.TB, r io.Reader, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		t.Fatalf("read %d bytes: %v", n, err)
	}
	return p
}
