package client

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
	routing "github.com/tlsroute/tlsroute-bench/refimpl/router"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// startRouter runs the reference router with one terminated route to an echo backend.
func startRouter(t *testing.T) *path {
	t.Helper()
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backend.Close() })
	go func() {
		for {
			conn, err := backend.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
	p := &path{t: t, inner: newAuthority(t, "inner"), outer: newAuthority(t, "outer")}
	leaf := p.inner.leaf(innerName, outerName)
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := routing.Config{
		Listen:       "127.0.0.1:0",
		Certificates: []routing.Certificate{{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}},
		Routes: []routing.Route{{
			Name: "postgres", SNI: []string{innerName}, ALPN: []string{service}, Mode: routing.ModeTerminate,
			Backend: routing.Backend{Address: backend.Addr().String()},
		}},
	}
	server, err := routing.New(config, routing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(t.Context()) }()
	t.Cleanup(func() {
		if err := <-served; err != nil { // t.Context has ended
			t.Errorf("serve: %v", err)
		}
	})
	p.addr = server.Addr().String()
	return p
}

func TestDialReachesTheReferenceRouter(t *testing.T) {
	p := startRouter(t)
	for _, mode := range append([]string{Auto, Direct}, upgrade.Names()...) {
		for _, scheme := range []string{"https://", "http://"} {
			if scheme == "http://" && mode == Direct {
				continue
			}
			t.Run(mode+" "+scheme, func(t *testing.T) {
				d := p.dialer()
				d.Address, d.Upgrade = scheme+p.addr, mode
				conn, err := d.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got := conn.Info().Negotiated; got != service {
					t.Errorf("negotiated %q", got)
				}
				exchange(t, conn)
			})
		}
	}
}

func TestProbeOfTheReferenceRouterIsDirectAndEveryUpgradeCrosses(t *testing.T) {
	p := startRouter(t)
	d := p.dialer()
	d.ALPN, d.ServerName = nil, ""
	got, err := d.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Class != probe.Direct || got.Negotiated != ProbeALPN {
		t.Errorf("%+v", got)
	}
	for _, u := range got.Upgrades {
		if !u.Crosses || u.Status != 101 {
			t.Errorf("%+v", u)
		}
	}
}
