package lab

import (
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// routerConfig is the router's document for this scenario.
func (l *Lab) routerConfig() router.Config {
	t := l.scenario.Topology.Router
	c := router.Config{
		Listen: listenAddress(t.Listen),
		Upgrade: router.Upgrade{
			Path: t.Upgrade.Path, Types: t.Upgrade.Types,
			PingInterval: router.Duration(t.Upgrade.PingInterval), PongTimeout: router.Duration(t.Upgrade.PongTimeout),
			RequireConnection: t.Upgrade.RequireConnection,
		},
		Drain: router.Drain{Timeout: router.Duration(drainTime)},
	}
	c.Certificates = l.certificates()
	for _, r := range l.scenario.Routes {
		route := router.Route{
			Name: r.Name, SNI: r.SNI, ALPN: r.ALPN, Mode: r.Mode,
			Backend: router.Backend{Address: l.backend(r.Backend).Address, SendProxy: r.SendProxy},
		}
		if r.BackendTLS != "" && r.BackendTLS != router.Off {
			route.Backend.TLS = r.BackendTLS
			if r.Mode == router.ModeTerminate {
				route.Backend.CA = l.pki.innerCA
			}
		}
		if r.ClientAuth != router.AuthNone {
			route.ClientAuth = router.ClientAuth{Mode: r.ClientAuth, CA: l.pki.clientCA}
		}
		if r.SendProxy != "" && r.SendProxy != router.Off {
			// Those who may tell of a client: the lab's own load balancers. A client at another loopback address is then told apart.
			c.ForwardedFor.Trusted = []string{balancerAddress, nodeNetwork.String()}
		}
		c.Routes = append(c.Routes, route)
	}
	c.ProxyProtocol = l.proxyProtocol()
	return c
}

// balancerAddress is where load balancers connect from.
const balancerAddress = "127.0.0.1/32"

// proxyProtocol has the router read PROXY headers where a load balancer right before it sends them; on the other paths there are none.
func (l *Lab) proxyProtocol() router.ProxyProtocol {
	for _, path := range l.scenario.Topology.Paths {
		legs, err := l.scenario.Topology.Via(path)
		if err == nil && len(legs) > 0 && legs[len(legs)-1].SendsProxy() != "" {
			return router.ProxyProtocol{Mode: "optional", Trusted: []string{"127.0.0.0/8"}}
		}
	}
	return router.ProxyProtocol{}
}

func (l *Lab) certificates() []router.Certificate {
	var list []router.Certificate
	for _, pair := range l.pki.routerCerts {
		list = append(list, router.Certificate{Cert: pair[0], Key: pair[1]})
	}
	return list
}

func listenAddress(configured string) string {
	if configured == "" {
		return "127.0.0.1:0"
	}
	return configured
}

// route returns a route of the scenario by name.
func (l *Lab) route(name string) (scenario.Route, bool) {
	for _, r := range l.scenario.Routes {
		if r.Name == name {
			return r, true
		}
	}
	return scenario.Route{}, false
}
