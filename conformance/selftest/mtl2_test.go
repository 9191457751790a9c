package selftest

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

// smallRoom is less than a chain of three long certificates, and more than any other handshake here.
const smallRoom = 6000

// gaveUp passes on as much as there is room for, and ends.
func gaveUp(dst, src net.Conn) { _, _ = io.CopyN(dst, src, smallRoom) }

// identified is a load balancer that asks for a certificate and tells its target of it.
type identified struct {
	keeps bool // what the client wrote beside its own
	mute  bool // says nothing of a certificate
	cert  tls.Certificate
}

func (b identified) target(t *testing.T) conformance.Target {
	target := balancerTarget(t, nil) // for the stub; its own balancer is left alone
	ca := must(certs.NewCA("identifying balancer CA"))(t)
	b.cert = must(ca.Issue(certs.Leaf{CommonName: albName, DNS: []string{albName}}))(t)
	path := &target.Paths[0]
	path.Address = serve(t, target.Stub.Addr().String(), b.handle)
	path.Upgrade.Roots, path.IdleTimeout = ca.Pool(), 0
	return target
}

func (b identified) handle(c net.Conn, dial func() net.Conn) {
	front := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{b.cert}, ClientAuth: tls.RequestClientCert})
	defer front.Close()
	if front.Handshake() != nil {
		return
	}
	head, behind, ok := header(front)
	if !ok {
		return
	}
	const field = "X-Amzn-Mtls-Clientcert"
	if !b.keeps {
		for _, name := range []string{"", "-Serial-Number", "-Issuer", "-Subject", "-Validity", "-Leaf"} {
			head = without(head, field+name)
		}
	}
	if peers := front.ConnectionState().PeerCertificates; len(peers) > 0 && !b.mute {
		head = with(head, field+": "+url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: peers[0].Raw}))))
	}
	raw := dial()
	if raw == nil {
		return
	}
	defer raw.Close()
	back := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // as an ALB
	if _, err := back.Write(append([]byte(head), behind...)); err == nil {
		both(front, back)
	}
}

// mutual is the simulator with mutual TLS in a mode; what it trusts is in the fixture.
func mutual(mode string) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		ca := must(certs.NewCA("client CA"))(t)
		file := filepath.Join(t.TempDir(), "trusted.pem")
		check(t, os.WriteFile(file, ca.PEM(), 0o600))
		cert := must(ca.Issue(certs.Leaf{CommonName: "client", Client: true}))(t)
		target := balancerTarget(t, func(c *albsim.Config) {
			c.Listeners[0].MutualAuthentication.Mode = mode
			if mode == "verify" {
				c.Listeners[0].MutualAuthentication.TrustStore = file
			}
		})
		target.Fixture.ClientA = &cert
		return target
	}
}

func init() {
	right = append(right,
		conforming{name: "lb with certificates passed on", role: conformance.LoadBalancer, only: []string{"MTL-*"}, target: mutual("passthrough")},
		conforming{name: "lb with certificates verified", role: conformance.LoadBalancer, only: []string{"MTL-*"}, target: mutual("verify")},
		conforming{name: "naive router with tickets", role: conformance.Router, only: []string{"MTL-01", "MTL-07", "TLS-24"}, tolerated: true, target: naiveWith(bugs{tls2: tls2{tickets: true}})},
		conforming{name: "identifying balancer", role: conformance.LoadBalancer, only: []string{"MTL-*"}, target: identified{}.target},
	)
	addMutant("MTL-06", "passes on what the client wrote", balancerWith(balancerBugs{}))
	addMutant("MTL-06", "adds its own to what the client wrote", identified{keeps: true}.target)
	addMutant("MTL-06", "says nothing of the certificate", identified{mute: true}.target)
	addMutant("MTL-07", "has no room for a long chain", inFront(gaveUp, nil))
	addMutant("MTL-07", "has no room for a long ticket", naiveWith(bugs{buffer: 4096, tls2: tls2{tickets: true}}))
}
