package lab

import (
	"maps"

	"github.com/tlsroute/tlsroute-bench/albsim"
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
			Backend: router.Backend{Address: l.backend(r.Backend).Address},
		}
		if r.ClientAuth != router.AuthNone {
			route.ClientAuth = router.ClientAuth{Mode: r.ClientAuth, CA: l.pki.clientCA}
		}
		c.Routes = append(c.Routes, route)
	}
	return c
}

func (l *Lab) certificates() []router.Certificate {
	var list []router.Certificate
	for _, pair := range l.pki.routerCerts {
		list = append(list, router.Certificate{Cert: pair[0], Key: pair[1]})
	}
	return list
}

// albConfig is the simulator's document: one HTTPS listener and one HTTPS target group with one target. Attributes
// override those of the scenario; a judged load balancer takes a free port whatever the scenario says.
func (l *Lab) albConfig(target string, attributes map[string]any) albsim.Config {
	lb := l.scenario.Topology.LoadBalancer
	listen := listenAddress(lb.Listen)
	if attributes != nil {
		listen = listenAddress("")
	}
	merged := maps.Clone(lb.Attributes)
	if merged == nil {
		merged = map[string]any{}
	}
	maps.Copy(merged, attributes)
	return albsim.Config{
		Profile:    lb.Profile,
		Attributes: merged,
		Listeners: []albsim.Listener{{
			Listen: listen, Protocol: "HTTPS",
			Certificates: []albsim.Certificate{{Cert: l.pki.albCert, Key: l.pki.albKey}},
			SSLPolicy:    "ELBSecurityPolicy-TLS13-1-2-2021-06",
			Default:      albsim.Default{Forward: "router"},
		}},
		TargetGroups: []albsim.TargetGroup{{
			Name: "router", Protocol: "HTTPS", ProtocolVersion: "HTTP1", Targets: []string{target},
		}},
	}
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
