package lab

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/internal/realproxy"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// chain is a path that is built: load balancers from the client inwards, and who is behind the last of them.
type chain struct {
	path  string
	nodes []*node
	inner string // host:port of the router, or of who plays the target
	apart bool   // of ours too, all are processes of their own
}

// node is one load balancer of a chain: a simulator or a real product.
type node struct {
	scenario.Leg
	alb    *cluster
	own    *separate // the simulator, in a process of its own
	real   *realproxy.Running
	remote string // its address, where it was started elsewhere
}

// addresses are where the node listens just now, host:port; a client goes to the first.
func (n *node) addresses() []string {
	switch {
	case n.alb != nil:
		return n.alb.addresses(0)
	case n.own != nil:
		return []string{n.own.ready.Addresses["alb"]}
	case n.remote != "":
		return []string{n.remote}
	}
	return []string{n.real.Address}
}

// redirect is the port that redirects to HTTPS, empty without one.
func (n *node) redirect() string {
	switch {
	case !n.RedirectHTTP:
		return ""
	case n.alb != nil:
		return n.alb.addresses(1)[0]
	case n.own != nil:
		return n.own.ready.Addresses["alb-2"]
	}
	return n.real.Redirect
}

// behind is what stands at the end of a chain, and what differs between a scenario's own chains and those that checks are put to.
type behind struct {
	title   string // goes before the name of a load balancer in what is said of it
	address string
	name    string        // who is there, for a load balancer that sends SNI
	idle    time.Duration // of every load balancer; 0 leaves the scenario's
	taps    *taps         // told of ClientHellos; nil for none
	// separate has simulators of ours, and who is behind them, in processes of their own: these tell nothing of what they saw.
	separate bool
}

// buildChain starts the load balancers of a path from the router outwards, since each is told the address of the next.
func (l *Lab) buildChain(ctx context.Context, path string, b behind) (*chain, error) {
	legs, err := l.scenario.Topology.Via(path)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return l.buildLegs(ctx, path, legs, b)
}

func (l *Lab) buildLegs(ctx context.Context, path string, legs []scenario.Leg, b behind) (_ *chain, err error) {
	c := &chain{path: path, nodes: make([]*node, len(legs)), inner: b.address, apart: b.separate}
	next := realproxy.Next{Address: b.address, Name: b.name}
	for i, leg := range slices.Backward(legs) {
		p := place{
			behind: b, path: path, leg: leg, next: next,
			hop: scenario.HopName(legs, i), nextHop: scenario.HopName(legs, i+1),
			front:       !slices.ContainsFunc(legs[:i], func(l scenario.Leg) bool { return l.EndsTLS() }),
			acceptProxy: i > 0 && legs[i-1].SendsProxy() != "",
		}
		p.next.TLS = leg.TargetTLS()
		l.opt.Step(strings.TrimSpace(b.title + " load balancer " + leg.Key + " on the way " + path))
		if c.nodes[i], err = l.startNode(ctx, p); err != nil {
			return nil, fmt.Errorf("load balancer %s: %w", leg.Key, err)
		}
		next = realproxy.Next{Address: c.nodes[i].addresses()[0], Name: leg.Name}
		if alb := c.nodes[i].alb; alb != nil && alb.dns != nil {
			next.Resolver, next.Nodes = alb.dns.Addr(), leg.Nodes
		}
	}
	return c, nil
}

// place is a load balancer's place in a chain.
type place struct {
	behind
	path         string
	leg          scenario.Leg
	next         realproxy.Next
	hop, nextHop string
	front        bool // the client's own TLS ends here
	acceptProxy  bool
}

func (l *Lab) startNode(ctx context.Context, p place) (*node, error) {
	if p.leg.Real == "" && p.separate {
		return l.startSeparateNode(ctx, p)
	}
	if p.leg.Real == "" {
		alb, err := l.startCluster(ctx, p)
		return &node{Leg: p.leg, alb: alb}, err
	}
	spec := realSpec(p.leg, p.next)
	spec.AcceptProxy = p.acceptProxy
	if p.leg.EndsTLS() {
		spec.Certificate = l.pki.balancer(p.leg.Key, p.front).cert
	}
	for _, app := range p.leg.Apps {
		spec.Apps = append(spec.Apps, realproxy.App{Prefix: strings.TrimSuffix(app.Path, "*"), Address: l.backend(app.Backend).Address})
	}
	if p.idle > 0 { // a judged one, beside the scenario's own
		spec.Idle, spec.Listen = p.idle, ""
	}
	spec.Dir, spec.Logger = l.dir, l.log.With("part", strings.TrimSpace(p.title+" "+p.leg.Key))
	real, err := realproxy.Start(ctx, p.leg.Real, spec)
	if err != nil {
		return nil, err
	}
	l.onClose(real.Close)
	l.watch("load balancer "+p.leg.Key, real.Product, real.Done())
	return &node{Leg: p.leg, real: real}, nil
}

// realIdle is for how long nothing may move on a real product: as long as an AWS load balancer waits.
const realIdle = 60 * time.Second

// realSpec is what the scenario says of a real product.
func realSpec(leg scenario.Leg, next realproxy.Next) realproxy.Spec {
	return realproxy.Spec{
		Name: leg.Name, Listen: leg.Listen, Protocol: leg.Protocol, RedirectHTTP: leg.RedirectHTTP, SendProxy: leg.SendsProxy(),
		PreserveClientIP: leg.PreserveClientIP, Next: next, Idle: realIdle,
	}
}

// watch tells of a program that ends by itself.
func (l *Lab) watch(name, product string, done <-chan struct{}) {
	l.serving.Go(func() {
		<-done
		if !l.closing.Load() {
			l.opt.Failed(fmt.Errorf("%s: %s ended by itself", name, product))
		}
	})
}

// legs are those of the nodes.
func (c *chain) legs() []scenario.Leg {
	legs := make([]scenario.Leg, len(c.nodes))
	for i, n := range c.nodes {
		legs[i] = n.Leg
	}
	return legs
}

// front is the load balancer that ends the client's TLS, nil when the router does.
func (c *chain) front() *node {
	for _, n := range c.nodes {
		if n.EndsTLS() {
			return n
		}
	}
	return nil
}

// address is where a client goes.
func (c *chain) address() string {
	if len(c.nodes) == 0 {
		return c.inner
	}
	return c.nodes[0].addresses()[0]
}

// hops lists the TCP connections of the path, and the session inside the tunnel where there is one.
func (c *chain) hops() []result.Hop {
	var hops []result.Hop
	tls := true // the client begins with TLS
	for i, n := range c.nodes {
		hops = append(hops, result.Hop{Name: scenario.HopName(c.legs(), i), Address: n.addresses()[0], TLS: tls})
		if n.EndsTLS() {
			tls = n.TargetTLS()
		}
	}
	hops = append(hops, result.Hop{Name: scenario.HopName(c.legs(), len(c.nodes)), Address: c.inner, TLS: tls})
	if c.front() != nil {
		hops = append(hops, result.Hop{Name: hopInner, Address: c.inner, TLS: true})
	}
	return hops
}

// tapped tells whether the client or a component of ours is at one end of hop i, so that it can say what it saw.
func (c *chain) tapped(i int) bool {
	return i == 0 || i == len(c.nodes) && !c.apart || i < len(c.nodes) && c.nodes[i].sees() || i > 0 && c.nodes[i-1].sees()
}

// sees tells whether the node is a component of ours that has to do with TLS.
func (n *node) sees() bool { return n.alb != nil && n.EndsTLS() }

// LoadBalancers says which products stand on the paths.
func (l *Lab) LoadBalancers() []result.LoadBalancer {
	list := []result.LoadBalancer{}
	for _, c := range l.chains {
		for _, n := range c.nodes {
			if slices.ContainsFunc(list, func(b result.LoadBalancer) bool { return b.Name == n.Key }) {
				continue
			}
			b := result.LoadBalancer{Name: n.Key, Driver: "simulator", Product: n.Profile}
			if n.remote != "" && n.Real != "" {
				b.Driver, b.Product = "real", n.Real
			} else if n.real != nil {
				b.Driver, b.Product, b.Version = "real", n.real.Product, n.real.Version
			} else if profile, ok := albsim.LookupProfile(n.Profile); ok {
				for _, k := range profile.Knobs() {
					b.Knobs = append(b.Knobs, result.Knob{Name: k.Name, Value: k.Value, Grade: k.Grade, Source: k.Source})
				}
			}
			list = append(list, b)
		}
	}
	return list
}

// sameHost is an address on the same host with a free port.
func sameHost(address string) string {
	host, _, _ := net.SplitHostPort(address)
	return net.JoinHostPort(host, "0")
}

var _ server = (*albsim.Server)(nil)
