package selftest

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/lab/ours"
)

const (
	albName     = "alb.example.test"
	idleSeconds = 2
)

func init() {
	right = append(right, conforming{
		name: "lb", role: conformance.LoadBalancer, target: simulated(nil),
		// An ALB forwards what Connection names, and both framings of an ambiguous request (docs/alb-rows.md, ALB-UPG-05 and desync).
		skip: []string{"UPG-13", "UPG-21", "SEC-01"},
	})
}

// startALB runs the simulator before an HTTPS target and returns the path through it. It is an intermediary.
func startALB(t *testing.T, targetAddress string, change func(*albsim.Config)) conformance.Path {
	t.Helper()
	ca := must(certs.NewCA("alb CA"))(t)
	leaf := must(ca.Issue(certs.Leaf{CommonName: albName, DNS: []string{albName}}))(t)
	cert, key, err := certs.WritePEM(filepath.Clean(t.TempDir()), "alb", leaf)
	check(t, err)
	c := albsim.Config{
		Attributes: map[string]any{"idle_timeout.timeout_seconds": idleSeconds},
		Listeners: []albsim.Listener{{
			Listen: "127.0.0.1:0", Protocol: "HTTPS", Certificates: []albsim.Certificate{{Cert: cert, Key: key}},
			Default: albsim.Default{Forward: "router"},
		}},
		TargetGroups: []albsim.TargetGroup{{Name: "router", Protocol: "HTTPS", Targets: []string{targetAddress}}},
	}
	if change != nil {
		change(&c)
	}
	s := must(albsim.New(c, albsim.Options{}))(t)
	check(t, s.Listen(t.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		stop, stopped := context.WithTimeout(context.Background(), time.Second)
		defer stopped()
		_ = s.Shutdown(stop) // tunnels that a check left are cut: that is no fault here
		cancel()
		if err := <-done; err != nil {
			t.Logf("serving: %v", err) // so is this
		}
	})
	return conformance.Path{Name: "alb-https", Address: s.Addrs()[0].String(), IdleTimeout: idleSeconds * time.Second, Upgrade: &conformance.UpgradePath{
		TLS: true, Roots: ca.Pool(), ServerName: albName, Host: albName, Path: "/webapi/connectionupgrade",
		Types: []string{"websocket", "alpn", "alpn-ping"}, Intermediary: true,
	}}
}

// balancerTarget is the simulator as the target itself, with a stub behind it that the checks play.
func balancerTarget(t *testing.T, change func(*albsim.Config)) conformance.Target {
	return balancerBefore(t, func(stub string) string { return stub }, change)
}

// balancerBefore is balancerTarget with another address for the simulator's target: that of something before the stub.
func balancerBefore(t *testing.T, via func(stub string) string, change func(*albsim.Config)) conformance.Target {
	t.Helper()
	stub := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { _ = stub.Close() })
	cert := must(certs.SelfSigned(certs.Leaf{CommonName: "target", DNS: []string{"target.example.test"}}))(t)
	doc := door.Balancer{Targets: []door.BalancerTarget{{Address: stub.Addr().String(), TLS: true}}, IdleTimeout: "2s"}
	path := startALB(t, via(stub.Addr().String()), func(c *albsim.Config) {
		for _, pair := range c.Listeners[0].Certificates {
			doc.Certificates = append(doc.Certificates, door.Certificate{Cert: pair.Cert, Key: pair.Key})
		}
		if change != nil {
			change(c)
		}
	})
	return conformance.Target{
		Name: "selftest balancer", Role: conformance.LoadBalancer, Features: ours.BalancerFeatures(), Paths: []conformance.Path{path},
		Stub: stub, StubCertificate: &tls.Certificate{Certificate: cert.Certificate, PrivateKey: cert.PrivateKey}, Balancers: ours.Balancers{Base: doc},
	}
}
