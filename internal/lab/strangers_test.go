package lab

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/stranger"
)

// TestAnEndpointHasADomainAndAuthoritiesOfItsOwn: the witness behind the passed-through route shows a certificate for that domain, which
// the checks trust beside the router's, and no client certificate of ours is shown to an authority that is not ours.
func TestAnEndpointHasADomainAndAuthoritiesOfItsOwn(t *testing.T) {
	ca, err := certs.NewCA("an endpoint's")
	if err != nil {
		t.Fatal(err)
	}
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &stranger.Endpoint{
		Address: "127.0.0.1:9", WitnessA: free(t), WitnessB: free(t), Domain: "stranger.example.test", Own: "own.example.test", CA: roots,
		Features: []string{"terminate", "passthrough"},
	}
	l := start(t, Options{Conformance: true, Strangers: map[string]*stranger.File{"router": {Role: "router", Endpoint: e}}})
	targets, err := l.Targets("test")
	if err != nil {
		t.Fatal(err)
	}
	if len(targets) != 1 || targets[0].Role != conformance.Router || targets[0].Paths[0].Address != e.Address {
		t.Fatalf("targets %+v", targets)
	}
	target := targets[0]
	conn, err := tls.Dial("tcp", e.WitnessA, &tls.Config{ServerName: "pass.stranger.example.test", RootCAs: target.InnerRoots, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatalf("the witness behind the passed-through route: %v", err)
	}
	conn.Close()
	leaf, err := ca.Issue(certs.Leaf{CommonName: "router", DNS: []string{"a.stranger.example.test"}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			err = c.(*tls.Conn).Handshake()
			c.Close()
		}
		served <- err
	}()
	if conn, err = tls.Dial("tcp", ln.Addr().String(), &tls.Config{ServerName: target.Fixture.Name("a"), RootCAs: target.InnerRoots, MinVersion: tls.VersionTLS12}); err != nil {
		t.Errorf("a router with a certificate of the endpoint's authority: %v", err)
	} else {
		conn.Close()
	}
	ln.Close()
	if err := <-served; err != nil {
		t.Errorf("the router: %v", err)
	}
	if f := target.Fixture; f.ClientA != nil || f.ClientB != nil || f.Expired != nil || f.ClientChain != nil {
		t.Error("a client certificate of ours is left in the fixture")
	}
}

// free is an address on which nothing listens.
func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
