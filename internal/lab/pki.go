package lab

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// pki is every certificate of a lab, in memory and as files for those who read files.
//
// The load balancer has a certificate of its own authority, as one with a public certificate does. The router's first
// certificate is self-signed, as targets behind a load balancer have them in the field; those for the names of routes
// come from an inner authority, which clients are given to verify what is inside a tunnel.
type pki struct {
	outer, inner, clients *certs.CA
	outerRoots            *x509.CertPool
	innerRoots            *x509.CertPool
	client                tls.Certificate
	services              tls.Certificate // of terminate routes, for peers of the router
	service               tls.Certificate // of services behind passthrough routes
	stub                  tls.Certificate // of the target that checks play: some profiles verify it, by the name they send or by its address

	outerCA, innerCA, clientCA string // files
	clientCert, clientKey      string
	routerCerts                [][2]string // certificate and key; the first is the default
	balancers                  map[balancerKey]balancerCert
}

// balancerKey is a load balancer and whether the client's own TLS ends there: it then has a certificate of the outer authority. One
// behind another is not verified, and has a self-signed one.
type balancerKey struct {
	name  string
	front bool
}

type balancerCert struct {
	cert              tls.Certificate
	certFile, keyFile string
}

func (p *pki) balancer(name string, front bool) balancerCert {
	return p.balancers[balancerKey{name, front}]
}

func newPKI(dir string, sc *scenario.Scenario, f *fixture) (*pki, error) {
	p := &pki{}
	names := serviceNames(sc, f)
	var self, services tls.Certificate
	for _, step := range []func() error{
		func() (err error) { p.outer, err = certs.NewCA("tlsroute-bench outer CA"); return },
		func() (err error) { p.inner, err = certs.NewCA("tlsroute-bench inner CA"); return },
		func() (err error) { p.clients, err = certs.NewCA("tlsroute-bench client CA"); return },
		func() (err error) {
			self, err = certs.SelfSigned(reachable(sc.Topology.Router.Name))
			return
		},
		func() (err error) {
			services, err = p.inner.Issue(certs.Leaf{CommonName: "services behind the router", DNS: names})
			return
		},
		func() (err error) {
			leaf := reachable("passed-through service") // also for who asks the service itself
			leaf.DNS = slices.Concat(names, []string{"localhost"})
			p.service, err = p.inner.Issue(leaf)
			return
		},
		func() (err error) {
			leaf := reachable(sc.Topology.Router.Name)
			leaf.DNS = append(leaf.DNS, names...)
			p.stub, err = p.inner.Issue(leaf)
			return
		},
		func() (err error) {
			p.client, err = p.clients.Issue(certs.Leaf{CommonName: "tlsroute", Client: true})
			return
		},
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	p.services = services
	p.outerRoots = p.outer.Pool()
	p.innerRoots = p.inner.Pool()
	p.innerRoots.AddCert(self.Leaf)

	selfPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: self.Leaf.Raw})
	for _, f := range []struct {
		path *string
		name string
		data []byte
	}{
		{&p.outerCA, "outer-ca.pem", p.outer.PEM()},
		{&p.innerCA, "inner-ca.pem", bytes.Join([][]byte{p.inner.PEM(), selfPEM}, nil)},
		{&p.clientCA, "client-ca.pem", p.clients.PEM()},
	} {
		*f.path = filepath.Join(dir, f.name)
		if err := os.WriteFile(*f.path, f.data, 0o644); err != nil {
			return nil, fmt.Errorf("lab: %w", err)
		}
	}
	var err error
	if p.clientCert, p.clientKey, err = certs.WritePEM(dir, "client", p.client); err != nil {
		return nil, err
	}
	for _, c := range []struct {
		name string
		cert tls.Certificate
	}{{"router", self}, {"services", services}} {
		cert, key, err := certs.WritePEM(dir, c.name, c.cert)
		if err != nil {
			return nil, err
		}
		p.routerCerts = append(p.routerCerts, [2]string{cert, key})
	}
	if err := p.issueBalancers(dir, sc); err != nil {
		return nil, err
	}
	if f != nil {
		return p, f.writeCAs(dir)
	}
	return p, nil
}

func (p *pki) issueBalancers(dir string, sc *scenario.Scenario) error {
	p.balancers = map[balancerKey]balancerCert{}
	for name, lb := range sc.Topology.LoadBalancers {
		for front, issue := range map[bool]func(certs.Leaf) (tls.Certificate, error){true: p.outer.Issue, false: certs.SelfSigned} {
			file := "balancer-" + name
			if !front {
				file += "-self-signed"
			}
			var c balancerCert
			var err error
			leaf := reachable(lb.Name)
			leaf.RSA = lb.Protocol == scenario.TLS // a network load balancer takes no other key (facts/alb.md section 11)
			if c.cert, err = issue(leaf); err != nil {
				return err
			}
			if c.certFile, c.keyFile, err = certs.WritePEM(dir, file, c.cert); err != nil {
				return err
			}
			p.balancers[balancerKey{name, front}] = c
		}
	}
	return nil
}

// reachable is a certificate for a name and for where the lab's components really are, so that a client which knows nothing
// but an address and a CA file can verify it too.
func reachable(name string) certs.Leaf {
	return certs.Leaf{CommonName: name, DNS: []string{name, "localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
}

// serviceNames are the server names of all routes.
func serviceNames(sc *scenario.Scenario, f *fixture) []string {
	var names []string
	for _, r := range sc.Routes {
		names = append(names, r.SNI...)
	}
	if f != nil {
		names = append(names, f.names()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
