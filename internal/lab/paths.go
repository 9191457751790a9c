package lab

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

// hopInner is the session inside a tunnel; the other hops are named by who is at their ends (DESIGN.md section 6).
const hopInner = "inner"

// Dialer returns a client for one route over one path, with everything it needs to verify and to present.
func (l *Lab) Dialer(path, route string) (*client.Dialer, error) {
	r, ok := l.route(route)
	if !ok {
		return nil, fmt.Errorf("lab: no route is called %q", route)
	}
	c, ok := l.chain(path)
	if !ok {
		return nil, fmt.Errorf("lab: path %q is not part of this topology", path)
	}
	d := l.dialerOver(c, r)
	d.NetDial = from(l.source, d.NetDial)
	l.recordClient(c, d)
	return d, nil
}

// from dials from a local address: beyond some 28,000 connections to one address a source has no port left. nil leaves dial as it is.
func from(source net.IP, dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	if source == nil {
		return dial
	}
	return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: source}}).DialContext
}

// dialerOver is a client for a route over a chain.
func (l *Lab) dialerOver(c *chain, r scenario.Route) *client.Dialer {
	d := &client.Dialer{
		ServerName: l.serverName(r), ALPN: r.ALPN,
		InnerRoots: l.pki.innerRoots, OuterRoots: l.pki.outerRoots,
		Path: l.scenario.Topology.Router.Upgrade.Path,
	}
	if b := l.backend(r.Backend); r.ClientAuth != "none" || b != nil && b.Info.Kind == backend.Kube {
		d.Certificates = []tls.Certificate{l.pki.client}
	}
	d.Address, d.OuterServerName = c.address(), l.scenario.Topology.Router.Name
	if front := c.front(); front != nil {
		d.OuterServerName = front.Name
		d.Types = clientTypes(l.scenario.Topology.Router.Upgrade.Types)
	} else {
		d.OuterRoots = l.pki.innerRoots // who is told to upgrade all the same meets the router itself
	}
	if len(c.nodes) > 0 && c.nodes[0].Nodes > 0 { // a client resolves the name each time
		d.NetDial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, c.address())
		}
	}
	d.Host = d.OuterServerName
	return d
}

// clientTypes are the types a client tries, in the router's order, raw alpn-ping left to those who force it.
func clientTypes(configured []string) []string {
	var types []string
	for _, t := range configured {
		if t != "alpn-ping" || len(configured) == 1 {
			types = append(types, t)
		}
	}
	return types
}

// serverName is a name that the route matches: its first, with a label for a wildcard, or the router's own when it
// matches any.
func (l *Lab) serverName(r scenario.Route) string {
	if len(r.SNI) == 0 {
		return l.scenario.Topology.Router.Name
	}
	return strings.Replace(r.SNI[0], "*", "any", 1)
}
