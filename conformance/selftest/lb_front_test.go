package selftest

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

// greets is the naive balancer with another handshake.
func greets(hello func(*tls.ClientHelloInfo, *tls.Config) error) func(t *testing.T) conformance.Target {
	return balancerWith(balancerBugs{hello: hello})
}

// speaksH2 is the naive balancer with HTTP/2 of its own.
func speaksH2(status string, settings ...http2.Setting) func(t *testing.T) conformance.Target {
	return balancerWith(balancerBugs{h2: h2Server(status, 0, settings...)})
}

var errUnwanted = errors.New("the mutant wants no such client")

// withHop is the simulator behind something that sees its TLS from outside.
func withHop(h hop) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := balancerTarget(t, nil)
		target.Paths[0].Address = h(t, target.Paths[0].Address)
		return target
	}
}

// onlyFor is the naive balancer with another certificate for names that are not its own.
func onlyFor(t *testing.T) conformance.Target {
	other := must(certs.SelfSigned(certs.Leaf{CommonName: "other", DNS: []string{"other.example.test"}}))(t)
	return greets(func(hello *tls.ClientHelloInfo, cfg *tls.Config) error {
		if hello.ServerName != albName && hello.ServerName != "" {
			cfg.Certificates = []tls.Certificate{{Certificate: other.Certificate, PrivateKey: other.PrivateKey}}
		}
		return nil
	})(t)
}

func init() {
	addMutant("ALB-TLS-02", "goes by the client's order", greets(func(hello *tls.ClientHelloInfo, cfg *tls.Config) error {
		if len(hello.SupportedProtos) > 0 && hello.SupportedProtos[0] == "http/1.1" {
			cfg.NextProtos = []string{"http/1.1"}
		}
		return nil
	}))
	addMutant("ALB-TLS-04", "refuses a list with an unknown name", greets(func(hello *tls.ClientHelloInfo, cfg *tls.Config) error {
		if slices.ContainsFunc(hello.SupportedProtos, func(p string) bool { return p != "h2" && p != "http/1.1" }) {
			cfg.NextProtos = []string{"nothing"}
		}
		return nil
	}))
	addMutant("ALB-TLS-04", "looks at the first name only", greets(func(hello *tls.ClientHelloInfo, cfg *tls.Config) error {
		if len(hello.SupportedProtos) > 0 && hello.SupportedProtos[0] != "h2" {
			cfg.NextProtos = nil
		}
		return nil
	}))
	addMutant("ALB-TLS-05", "answers in HTTP/1.0", balancerWith(balancerBugs{answer: func(head string) string {
		return strings.Replace(head, "HTTP/1.1 200", "HTTP/1.0 200", 1)
	}}))
	addMutant("ALB-TLS-06", "speaks h2 to whoever begins with its preface", speaksH2("405"))
	addMutant("ALB-TLS-06", "takes the preface for a request", balancerWith(balancerBugs{}))
	addMutant("ALB-TLS-08", "wants a name", greets(func(hello *tls.ClientHelloInfo, _ *tls.Config) error {
		if hello.ServerName == "" {
			return errUnwanted
		}
		return nil
	}))
	addMutant("ALB-TLS-09", "wants its own name", greets(func(hello *tls.ClientHelloInfo, _ *tls.Config) error {
		if hello.ServerName != "" && hello.ServerName != albName {
			return errUnwanted
		}
		return nil
	}))
	addMutant("ALB-TLS-09", "has another certificate for other names", onlyFor)
	addMutant("ALB-TLS-15", "goes by the client's order of suites", greets(func(hello *tls.ClientHelloInfo, cfg *tls.Config) error {
		for _, id := range hello.CipherSuites {
			if id == tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 || id == tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 {
				cfg.CipherSuites = []uint16{id}
				break
			}
		}
		return nil
	}))
	addMutant("ALB-TLS-16", "renegotiates", withHop(renegotiating))
	addMutant("ALB-MTLS-01", "asks for a client certificate", greets(func(_ *tls.ClientHelloInfo, cfg *tls.Config) error {
		cfg.ClientAuth = tls.RequestClientCert
		return nil
	}))
	addMutant("ALB-UPG-12", "offers extended CONNECT", speaksH2("405", http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}))
	addMutant("ALB-ERR-08", "answers gRPC itself", speaksH2("415"))
	addMutant("ALB-KA-02", "takes any number of requests", speaksH2("405"))
	addMutant("ALB-IDLE-04", "counts pings", declared(balancerWith(balancerBugs{idle: time.Second, h2: h2Server("405", time.Second)}), time.Second))
}
