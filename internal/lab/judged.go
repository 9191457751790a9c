package lab

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	targetfiles "github.com/tlsroute/tlsroute-bench/conformance/targets"
	"github.com/tlsroute/tlsroute-bench/internal/baseline"
	"github.com/tlsroute/tlsroute-bench/internal/lab/ours"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// judged are the instances that the checks are put to. They are set up as the checks need them, with short timers, so that
// the scenario's own router and load balancers stay as the user wrote them.
type judged struct {
	address   string      // of the router under test; empty when none is
	document  door.Router // its fixture, for instances beside it
	stranger  *strange    // in the place of our router
	strangers []conformance.Target
	before    []*chain     // the scenario's paths, to router
	lbs       []*chain     // load balancers that are judged themselves: before stub
	stub      net.Listener // the target of lbs and of pairs, which the checks play
	pairs     []pair
	keys      keySwitch // gets the TLS secrets of those that are ours, and of the witnesses
}

// The timers of judged instances. An ALB's idle timeout is at least one second; pings must come well before it.
const (
	judgedHelloTimeout = 2 * time.Second
	judgedPing         = 500 * time.Millisecond
	judgedIdle         = 2 * time.Second
	idleAttribute      = "idle_timeout.timeout_seconds"
)

func (l *Lab) startJudged(ctx context.Context) (err error) {
	t := l.scenario.Topology.Router
	config := router.Config{
		Listen:       listenAddress(""),
		Certificates: l.certificates(),
		Upgrade:      router.Upgrade{Path: t.Upgrade.Path, Types: t.Upgrade.Types, PingInterval: router.Duration(judgedPing)},
		Routes:       l.fixture.routes(l), ProxyProtocol: l.proxyProtocol(),
		Limits: router.Limits{ClientHelloTimeout: router.Duration(judgedHelloTimeout)},
		Drain:  router.Drain{Timeout: router.Duration(drainTime)},
	}
	if l.judged.document, err = ours.Document(config); err != nil {
		return err
	}
	if l.opt.Strangers[string(conformance.Client)] != nil {
		if err := l.meetClient(ctx); err != nil {
			return err
		}
	}
	if l.opt.Strangers[string(conformance.LoadBalancer)] != nil {
		if err := l.startStrangeBalancer(ctx); err != nil {
			return err
		}
	}
	if !l.wants(conformance.Router) {
		return nil
	}
	if l.judged.stranger, err = l.meet(ctx, conformance.Router, l.judged.document); err != nil {
		return err
	}
	if s := l.judged.stranger; s != nil {
		l.judged.document = asClaimed(l.judged.document, s.about.Features)
		if l.judged.address, err = l.startStrangeRouter(ctx, s, l.judged.document); err != nil || !slices.Contains(s.about.Features, "upgrade") {
			return err
		}
	} else {
		s, err := l.serveRouter(ctx, "router under test", config, nil)
		if err != nil || l.opt.Only == OnlyRouter {
			return err
		}
		l.judged.address = s.Addr().String()
	}
	for _, path := range l.scenario.Topology.Paths {
		legs, err := l.scenario.Topology.Via(path)
		if err != nil || len(legs) == 0 {
			continue
		}
		if len(legs) == 1 && legs[0].Real != "" && l.judged.stranger == nil {
			if err := l.startPair(ctx, path, legs[0]); err != nil {
				return err
			}
		}
		if !judgeable(legs) {
			continue
		}
		c, err := l.buildChain(ctx, path, behind{title: "judged", address: l.judged.address, name: t.Name, idle: judgedIdle})
		if err != nil {
			return err
		}
		l.judged.before = append(l.judged.before, c)
		if l.judged.stranger != nil || len(legs) > 1 || legs[0].TargetProtocol != scenario.HTTPS || l.judges(legs[0].Key) {
			continue
		}
		stub, err := l.beforeStub()
		if err != nil {
			return err
		}
		lb, err := l.buildChain(ctx, path, stub)
		if err != nil {
			return err
		}
		l.judged.lbs = append(l.judged.lbs, lb)
	}
	return nil
}

// beforeStub is the place before the target that the checks play.
func (l *Lab) beforeStub() (behind, error) {
	if l.judged.stub == nil {
		var err error
		if l.judged.stub, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return behind{}, fmt.Errorf("target stub: %w", err)
		}
	}
	return behind{title: "judged", address: l.judged.stub.Addr().String(), name: l.scenario.Topology.Router.Name, idle: judgedIdle}, nil
}

// judgeable tells whether checks of the router are put to it over these load balancers: simulated ones, which do what the checks
// know of them. What a real product does to a connection is its own affair.
func judgeable(legs []scenario.Leg) bool {
	return !slices.ContainsFunc(legs, func(l scenario.Leg) bool { return l.Real != "" })
}

// judges tells whether a load balancer is judged already.
func (l *Lab) judges(key string) bool {
	return slices.ContainsFunc(l.judged.lbs, func(c *chain) bool { return c.nodes[0].Key == key })
}

// target is what all targets have in common, and how the router under test is asked for a tunnel.
func (l *Lab) target(version string) (conformance.Target, conformance.UpgradePath) {
	f := l.fixture.Fixture
	f.Own, f.WitnessCA = l.scenario.Topology.Router.Name, l.pki.innerCA
	upgrade := conformance.UpgradePath{
		TLS: true, Roots: l.pki.innerRoots, ServerName: f.Own, Host: f.Own,
		Path: l.scenario.Topology.Router.Upgrade.Path, Types: l.scenario.Topology.Router.Upgrade.Types, PingInterval: judgedPing,
	}
	return conformance.Target{
		Version: version, Fixture: f, InnerRoots: l.pki.innerRoots, HelloTimeout: judgedHelloTimeout,
		Witnesses: map[string]conformance.Witness{
			f.WitnessA: l.backend(f.WitnessA).Witness, f.WitnessB: l.backend(f.WitnessB).Witness,
		},
	}, upgrade
}

// Targets describes what the checks are put to: the router, the client and the simulated load balancers that have a path of their own.
func (l *Lab) Targets(version string) ([]conformance.Target, error) {
	if l.fixture == nil {
		return nil, nil
	}
	base, upgrade := l.target(version)
	if len(l.opt.Strangers) > 0 {
		return l.strangeTargets(base, upgrade)
	}
	address := l.judged.address
	r := base
	r.Name, r.Role = "tlsroute-bench router", conformance.Router
	r.Launcher = ours.Routers{Fixture: l.judged.document, Options: router.Options{TLSKeyLog: &l.judged.keys}}
	r.Features = ours.RouterFeatures()
	r.Paths = []conformance.Path{
		{Name: scenario.PathDirect, Address: address},
		{Name: "upgrade-https", Address: address, Upgrade: &upgrade},
	}
	for _, c := range l.judged.before {
		r.Paths = append(r.Paths, l.judgedPath(c, upgrade))
	}
	c := base
	c.Name, c.Role, c.Dial = "tlsroute-bench client", conformance.Client, ours.Dial
	c.Features = upgrade.Types
	targets := []conformance.Target{r, c}
	for _, chain := range l.judged.lbs {
		b := l.balancer(base, chain, upgrade)
		if chain.nodes[0].Profile == "aws-alb" {
			b.Features = ours.BalancerFeatures()
			var err error
			if b.Known, err = baseline.Parse("tlsroute-alb.baseline.yaml", targetfiles.ALBBaseline, conformance.Checks()); err != nil {
				return nil, err
			}
		}
		targets = append(targets, b)
	}
	return targets, nil
}

// balancer describes a load balancer before the stub.
func (l *Lab) balancer(base conformance.Target, c *chain, upgrade conformance.UpgradePath) conformance.Target {
	profile := c.nodes[0].Profile
	base.Name, base.Role = "tlsroute-bench "+profile, conformance.LoadBalancer
	base.Features = []string{profile}
	base.Stub, base.StubCertificate = l.judged.stub, &l.pki.stub
	base.Paths = []conformance.Path{l.judgedPath(c, upgrade)}
	doc := door.Balancer{IdleTimeout: judgedIdle.String(), Targets: []door.BalancerTarget{{Address: l.judged.stub.Addr().String(), TLS: true}}}
	if front := c.front(); front != nil {
		pair := l.pki.balancer(front.Key, true)
		doc.Certificates = []door.Certificate{{Cert: pair.certFile, Key: pair.keyFile}}
	}
	base.Balancers = ours.Balancers{Base: doc}
	return base
}

// judgedPath describes a chain to those who put checks to it; upgrade is how the router itself is asked for a tunnel.
func (l *Lab) judgedPath(c *chain, upgrade conformance.UpgradePath) conformance.Path {
	p := conformance.Path{Name: c.path, Address: c.address()}
	if slices.ContainsFunc(c.nodes, func(n *node) bool { return n.Protocol == scenario.HTTPS }) {
		p.IdleTimeout = judgedIdle
	}
	if front := c.front(); front != nil {
		upgrade.Roots, upgrade.Intermediary = l.pki.outerRoots, true
		upgrade.ServerName, upgrade.Host = front.Name, front.Name
		p.Upgrade = &upgrade
	}
	return p
}
