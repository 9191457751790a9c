package lab

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// fixture is what the checks need beside the scenario: two witnesses, routes to them, and two authorities for clients.
type fixture struct {
	conformance.Fixture
	cas   map[string]*certs.CA // "A" and "B"
	files map[string]string
	dead  string // an address that refuses
	free  func() error
}

// newFixture is for names of that domain.
func newFixture(domain string) (*fixture, error) {
	f := &fixture{cas: map[string]*certs.CA{}, files: map[string]string{}}
	f.Domain = domain
	f.WitnessA, f.WitnessB = "conformance-a", "conformance-b"
	for _, name := range []string{"A", "B"} {
		ca, err := certs.NewCA("conformance client CA " + name)
		if err != nil {
			return nil, err
		}
		f.cas[name] = ca
	}
	for _, c := range []struct {
		into **tls.Certificate
		ca   string
		leaf certs.Leaf
	}{
		{&f.ClientA, "A", certs.Leaf{CommonName: "client-a", Client: true}},
		{&f.ClientB, "B", certs.Leaf{CommonName: "client-b", Client: true}},
		{&f.Expired, "A", certs.Leaf{CommonName: "client-expired", Client: true, NotAfter: time.Now().Add(-time.Hour)}},
	} {
		cert, err := f.cas[c.ca].Issue(c.leaf)
		if err != nil {
			return nil, err
		}
		*c.into = &cert
	}
	chain, err := f.cas["A"].Chain(certs.Leaf{CommonName: "client-chain", Client: true}, conformance.ChainBytes)
	if err != nil {
		return nil, err
	}
	f.ClientChain = &chain
	f.dead, f.free, err = netx.Refuse()
	return f, err
}

func (f *fixture) writeCAs(dir string) error {
	for name, ca := range f.cas {
		f.files[name] = filepath.Join(dir, "conformance-ca-"+name+".pem")
		if err := os.WriteFile(f.files[name], ca.PEM(), 0o644); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	return nil
}

func (f *fixture) backends() []scenario.Backend {
	return []scenario.Backend{
		{Name: f.WitnessA, Kind: "witness", Driver: "embedded"},
		{Name: f.WitnessB, Kind: "witness", Driver: "embedded"},
	}
}

func (f *fixture) names() []string {
	return append(conformance.FixtureNames(f.Fixture), conformance.FixturePassNames(f.Fixture)...)
}

func (f *fixture) routes(l *Lab) []router.Route {
	var routes []router.Route
	for _, r := range conformance.FixtureRoutes(f.Fixture) {
		route := router.Route{Name: r.Name, SNI: r.SNI, ALPN: r.ALPN, Mode: r.Mode}
		if r.ClientAuth != "" && r.ClientAuth != router.AuthNone {
			route.ClientAuth = router.ClientAuth{Mode: r.ClientAuth, CA: f.files[r.CA]}
		}
		switch r.Witness {
		case "A":
			route.Backend.Address = l.backend(f.WitnessA).Address
		case "B":
			route.Backend.Address = l.backend(f.WitnessB).Address
		default:
			route.Backend.Address = f.dead
		}
		routes = append(routes, route)
	}
	return routes
}
