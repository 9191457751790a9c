package lab

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// judged are the instances that the checks are put to. They are set up as the checks need them, with short timers, so that
// the scenario's own router and load balancer stay as the user wrote them.
type judged struct {
	router *router.Server
	alb    *albsim.Server // in front of judged.router
	lb     *albsim.Server // judged itself: in front of stub
	stub   net.Listener   // the target of lb, which the checks play
}

// The timers of judged instances. An ALB's idle timeout is at least one second; pings must come well before it.
const (
	judgedHelloTimeout = 2 * time.Second
	judgedPing         = 500 * time.Millisecond
	judgedIdleSeconds  = 2
	idleAttribute      = "idle_timeout.timeout_seconds"
)

func (l *Lab) startJudged(ctx context.Context) (err error) {
	t := l.scenario.Topology.Router
	l.judged.router, err = l.serveRouter(ctx, "router under test", router.Config{
		Listen:       listenAddress(""),
		Certificates: l.certificates(),
		Upgrade:      router.Upgrade{Path: t.Upgrade.Path, Types: t.Upgrade.Types, PingInterval: router.Duration(judgedPing)},
		Routes:       l.fixture.routes(l),
		Limits:       router.Limits{ClientHelloTimeout: router.Duration(judgedHelloTimeout)},
		Drain:        router.Drain{Timeout: router.Duration(drainTime)},
	}, nil)
	if err != nil || !l.has(scenario.PathALBHTTPS) {
		return err
	}
	idle := map[string]any{idleAttribute: judgedIdleSeconds}
	l.judged.alb, err = l.serveALB(ctx, "load balancer before the router under test", l.albConfig(l.judged.router.Addr().String(), idle), albsim.Options{})
	if err != nil {
		return err
	}
	if l.judged.stub, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("target stub: %w", err)
	}
	l.judged.lb, err = l.serveALB(ctx, "load balancer under test", l.albConfig(l.judged.stub.Addr().String(), idle), albsim.Options{})
	return err
}

// Targets describes what the checks are put to: the router, the client and, when the scenario has one, the load balancer.
func (l *Lab) Targets(version string) []conformance.Target {
	if l.fixture == nil {
		return nil
	}
	f := l.fixture.Fixture
	f.Own = l.scenario.Topology.Router.Name
	upgrade := conformance.UpgradePath{
		TLS: true, Roots: l.pki.innerRoots, ServerName: f.Own, Host: f.Own,
		Path: l.scenario.Topology.Router.Upgrade.Path, Types: l.scenario.Topology.Router.Upgrade.Types, PingInterval: judgedPing,
	}
	base := conformance.Target{
		Version: version, Fixture: f, InnerRoots: l.pki.innerRoots, HelloTimeout: judgedHelloTimeout,
		Witnesses: map[string]conformance.Witness{
			f.WitnessA: l.backend(f.WitnessA).Witness, f.WitnessB: l.backend(f.WitnessB).Witness,
		},
	}
	address := l.judged.router.Addr().String()
	r := base
	r.Name, r.Role = "tlsroute-bench router", conformance.Router
	r.Features = append([]string{"terminate", "passthrough", "mtls", "upgrade", "hello-timeout"}, upgrade.Types...)
	r.Paths = []conformance.Path{
		{Name: scenario.PathDirect, Address: address},
		{Name: "upgrade-https", Address: address, Upgrade: &upgrade},
	}
	targets := []conformance.Target{}
	if l.judged.alb != nil {
		behind := upgrade
		behind.Roots, behind.Intermediary = l.pki.outerRoots, true
		behind.ServerName = l.scenario.Topology.LoadBalancer.Name
		behind.Host = behind.ServerName
		r.Paths = append(r.Paths, conformance.Path{
			Name: scenario.PathALBHTTPS, Address: l.judged.alb.Addrs()[0].String(), Upgrade: &behind,
			IdleTimeout: judgedIdleSeconds * time.Second,
		})

		lb := base
		front := behind
		lb.Name, lb.Role = "tlsroute-bench "+l.scenario.Topology.LoadBalancer.Profile, conformance.LoadBalancer
		lb.Features = []string{l.scenario.Topology.LoadBalancer.Profile} // aws-alb claims to be one
		lb.Stub, lb.StubCertificate = l.judged.stub, &l.pki.service
		lb.Paths = []conformance.Path{{
			Name: scenario.PathALBHTTPS, Address: l.judged.lb.Addrs()[0].String(), Upgrade: &front,
			IdleTimeout: judgedIdleSeconds * time.Second,
		}}
		targets = append(targets, lb)
	}
	c := base
	c.Name, c.Role, c.Dial = "tlsroute-bench client", conformance.Client, dialAsked
	c.Features = upgrade.Types
	return append([]conformance.Target{r, c}, targets...)
}

// dialAsked lets the reference client do what a check asks of a client under test.
func dialAsked(ctx context.Context, req conformance.DialRequest) (net.Conn, conformance.DialReport, error) {
	d := &client.Dialer{
		Address: req.Address, ServerName: req.SNI, ALPN: req.ALPN, InnerRoots: req.InnerRoots, OuterRoots: req.OuterRoots,
		Upgrade: req.Upgrade, OuterServerName: req.OuterSNI,
	}
	if req.Client != nil {
		d.Certificates = []tls.Certificate{*req.Client}
	}
	conn, err := d.Dial(ctx)
	if err != nil {
		return nil, conformance.DialReport{}, err
	}
	info := conn.Info()
	return conn, conformance.DialReport{Class: string(info.Class), Upgrade: info.Upgrade, ALPN: info.Negotiated}, nil
}
