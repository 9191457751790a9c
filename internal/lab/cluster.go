package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/internal/nodes"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// cluster is one simulated load balancer. With several nodes each is a simulator of its own with the same document, at an address of
// its own and on the same port, and a name server knows those of the moment: an ALB has a node in every zone, and replaces them as it
// scales (facts/alb.md section 12.7).
type cluster struct {
	lab     *Lab
	place   place
	dns     *nodes.DNS // nil for one node, which stays where it is
	mu      sync.Mutex // guards what follows
	nodes   []*albsim.Server
	leaving *albsim.Server   // out of the name server's answers, but still there
	last    int              // the last address given to a node
	old     []*albsim.Server // take no connections, and have some
	faults  []injected
}

// nodeNetwork are the addresses that nodes go round; all of 127.0.0.0/8 is this machine, on Linux.
var nodeNetwork = netip.MustParsePrefix("127.0.1.0/24")

// nodeTTL is an ALB's (facts/alb.md section 12.7), for who goes by it.
const nodeTTL = 60 * time.Second

func (l *Lab) startCluster(ctx context.Context, p place) (*cluster, error) {
	c := &cluster{lab: l, place: p}
	if p.idle > 0 { // a judged one, beside the scenario's own: checks hold on to its address
		p.leg.Nodes, p.leg.Listen = 0, ""
	}
	if p.leg.Nodes == 0 {
		s, err := c.start(ctx, listenAddress(p.leg.Listen))
		c.nodes = []*albsim.Server{s}
		return c, err
	}
	port := 0
	for range p.leg.Nodes {
		s, err := c.startNext(ctx, port)
		if err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, s)
		port = s.Addrs()[0].(*net.TCPAddr).Port
	}
	var err error
	if c.dns, err = nodes.Serve(p.leg.Name, nodeTTL, c.ips()); err != nil {
		return nil, err
	}
	l.onClose(func(context.Context) error { return c.dns.Close() })
	if every := time.Duration(p.leg.RotateEvery); every > 0 {
		l.serving.Go(func() { c.rotateEvery(l.life, every) })
	}
	return c, nil
}

func (c *cluster) rotateEvery(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := c.rotate(ctx); err != nil && ctx.Err() == nil {
			c.lab.opt.Failed(fmt.Errorf("load balancer %s: %w", c.place.leg.Key, err))
			return
		}
	}
}

// rotate puts a node at a new address in the place of the oldest. The oldest leaves the name server's answers now and takes
// connections until the next rotation, as a resolver may have an answer for a while; what is open on it then lives on to its end.
func (c *cluster) rotate(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh, err := c.startNext(ctx, c.nodes[0].Addrs()[0].(*net.TCPAddr).Port)
	if err != nil {
		return err
	}
	if err := c.meet(fresh); err != nil {
		return err
	}
	gone := c.leaving
	c.leaving = c.nodes[0]
	c.nodes = append(c.nodes[1:], fresh)
	c.dns.Set(c.ips())
	if gone != nil {
		c.old = append(c.old, gone)
		c.lab.serving.Go(func() {
			_ = gone.Shutdown(c.lab.life) // it says that tunnels were cut, when all is over
			c.mu.Lock()
			defer c.mu.Unlock()
			c.old = slices.DeleteFunc(c.old, func(s *albsim.Server) bool { return s == gone })
		})
	}
	return nil
}

// startNext starts a node at the next address that is free.
func (c *cluster) startNext(ctx context.Context, port int) (s *albsim.Server, err error) {
	const addresses = 250
	for range addresses {
		c.last = c.last%addresses + 1
		ip := nodeNetwork.Addr().As4()
		ip[3] = byte(c.last)
		s, err = c.start(ctx, net.JoinHostPort(netip.AddrFrom4(ip).String(), strconv.Itoa(port)))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return s, err
		}
	}
	return nil, err
}

func (c *cluster) start(ctx context.Context, listen string) (*albsim.Server, error) {
	p := c.place
	opt := albsim.Options{
		DNSName: p.leg.Name, TargetRoots: c.lab.pki.innerRoots,
		Logger: c.lab.log.With("part", strings.TrimSpace(p.title+" "+p.leg.Key)),
	}
	if p.taps == nil { // a judged one
		opt.FrontKeyLog, opt.TargetKeyLog = &c.lab.judged.keys, &c.lab.judged.keys
	}
	if t := p.taps; t != nil {
		opt.OnFrontHello = func(e albsim.HelloEvent) { t.balancerHello(p.hop, e) }
		opt.OnTargetHello = func(e albsim.HelloEvent) { t.balancerHello(p.nextHop, e) }
		opt.TargetKeyLog = &c.lab.keys
		opt.Observe = c.observer()
		if c.lab.tape != nil {
			opt.FrontKeyLog = c.lab.tape
		}
	}
	s, err := albsim.New(c.config(listen), opt)
	if err != nil {
		return nil, err
	}
	if err := s.Listen(ctx); err != nil {
		return nil, err
	}
	c.lab.serve("load balancer "+p.leg.Key, s)
	return s, nil
}

// addresses are those of the nodes' listener of that number.
func (c *cluster) addresses(listener int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		list[i] = n.Addrs()[listener].String()
	}
	return list
}

func (c *cluster) ips() []netip.Addr {
	list := make([]netip.Addr, len(c.nodes))
	for i, n := range c.nodes {
		list[i] = n.Addrs()[0].(*net.TCPAddr).AddrPort().Addr().Unmap()
	}
	return list
}

// config is the simulator's document: one listener with one target, another that redirects to it, and the rules of path-based routing.
func (c *cluster) config(listen string) albsim.Config {
	leg := c.place.leg
	attributes := maps.Clone(leg.Attributes)
	if c.place.idle > 0 && leg.Protocol == scenario.HTTPS { // a network load balancer's is a minute at least
		if attributes == nil {
			attributes = map[string]any{}
		}
		attributes[idleAttribute] = int(c.place.idle / time.Second)
	}
	front := albsim.Listener{Listen: listen, Protocol: leg.Protocol, ALPNPolicy: leg.ALPNPolicy, Default: albsim.Default{Forward: "router"}}
	if leg.EndsTLS() {
		pair := c.lab.pki.balancer(leg.Key, c.place.front)
		front.Certificates = []albsim.Certificate{{Cert: pair.certFile, Key: pair.keyFile}}
		front.SSLPolicy = "ELBSecurityPolicy-TLS13-1-2-2021-06"
	}
	out := albsim.Config{
		Profile: leg.Profile, Attributes: attributes,
		TargetGroups: []albsim.TargetGroup{{
			Name: "router", Protocol: leg.TargetProtocol, TargetType: leg.TargetType, Attributes: leg.TargetGroupAttributes, Targets: []string{c.place.next.Address},
		}},
	}
	for i, app := range leg.Apps {
		group := "app-" + app.Backend
		front.Rules = append(front.Rules, albsim.Rule{
			Priority: i + 1, Conditions: []albsim.Condition{{Field: "path-pattern", Values: []string{app.Path}}},
			Actions: []albsim.Action{{Type: "forward", TargetGroup: group}},
		})
		out.TargetGroups = append(out.TargetGroups, albsim.TargetGroup{Name: group, Protocol: "HTTP", Targets: []string{c.lab.backend(app.Backend).Address}})
	}
	out.Listeners = append(out.Listeners, front)
	if leg.RedirectHTTP {
		out.Listeners = append(out.Listeners, albsim.Listener{
			Listen: sameHost(listen), Protocol: "HTTP",
			Default: albsim.Default{Actions: []albsim.Action{{Type: "redirect", StatusCode: 301, Protocol: "HTTPS", Port: "443"}}},
		})
	}
	return out
}

// balancerHello is what a simulator saw of a hop.
func (t *taps) balancerHello(hop string, e albsim.HelloEvent) {
	t.add(result.Wire{Hop: hop, ALPN: e.ALPN, ClientCert: e.ClientCert}, e.SNI)
}
