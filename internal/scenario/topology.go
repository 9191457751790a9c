package scenario

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Topology is who stands between the client and the router.
type Topology struct {
	// Paths are the ways to the router that the run uses: direct, alb-https, alb-http, nlb-tcp, nlb-tls, a name of chains, or the name of a load balancer that
	// stands before the router alone.
	Paths  []string `json:"paths" jsonschema:"required,minItems=1"`
	Router Router   `json:"router,omitzero"`
	// LoadBalancer is short for load_balancers: {alb: …}.
	LoadBalancer *LoadBalancer `json:"load_balancer,omitempty"`
	// LoadBalancers by the name that hops, addresses and chains use.
	LoadBalancers map[string]*LoadBalancer `json:"load_balancers,omitempty"`
	// Chains are paths of several load balancers, from the client inwards; the router is always behind the last.
	Chains map[string][]string `json:"chains,omitempty"`
	// Processes says where our own router and the simulators of the paths run: inside this process (the default), or separate, each a
	// process of its own, of which the report can then say what it costs. The instances that checks are put to are always inside.
	Processes string `json:"processes,omitempty" jsonschema:"enum=inside,enum=separate"`
	// Peers are routers of others, as this machine has them, in the place of ours: each is an arm of the bench by its name, direct.
	Peers []Peer `json:"peers,omitempty"`
	// Faults are what goes wrong on purpose while the bench runs.
	Faults []Fault `json:"faults,omitempty"`
}

// The paths that need no word in chains.
const (
	PathDirect   = "direct"
	PathALBHTTPS = "alb-https" // load balancer alb, HTTPS target group
	PathALBHTTP  = "alb-http"  // load balancer alb, HTTP target group
	PathNLBTCP   = "nlb-tcp"   // load balancer nlb, TCP listener
	PathNLBTLS   = "nlb-tls"   // load balancer nlb, TLS listener
)

// The protocols of listeners and target groups.
const (
	HTTP  = "HTTP"
	HTTPS = "HTTPS"
	TCP   = "TCP"
	TLS   = "TLS"
)

// LoadBalancer configures one: the simulator, or a real product of this machine in its place.
type LoadBalancer struct {
	// Profile is a load balancer profile by name; aws-alb when empty, aws-nlb-tcp and aws-nlb-tls for those protocols.
	Profile string `json:"profile,omitempty"`
	// Real is a product that is installed here and runs in the place of the simulator.
	Real string `json:"real,omitempty"`
	// Name is the DNS name that the certificate carries: NAME.example.test when empty, as in alb.example.test.
	Name string `json:"name,omitempty"`
	// Listen is host:port of the listener; 127.0.0.1 with a free port when empty. One path only may use such a load balancer.
	Listen string `json:"listen,omitempty"`
	// Protocol is HTTPS when empty. TCP passes every byte on, TLS ends TLS and knows no HTTP.
	Protocol string `json:"protocol,omitempty" jsonschema:"enum=HTTPS,enum=TCP,enum=TLS"`
	// TargetProtocol is what is spoken to the next hop: the listener's own when empty. The paths alb-https and alb-http have it in their name.
	TargetProtocol string `json:"target_protocol,omitempty" jsonschema:"enum=HTTP,enum=HTTPS,enum=TCP,enum=TLS"`
	// Attributes are AWS's own, by their full key; for the simulator.
	Attributes map[string]any `json:"attributes,omitempty"`
	// TargetType is instance (the default) or ip, whose address a network load balancer's target sees, the client's or its own; or alb: the
	// next hop is an application load balancer.
	TargetType string `json:"target_type,omitempty" jsonschema:"enum=instance,enum=ip,enum=alb"`
	// TargetGroupAttributes are AWS's own, of the target group.
	TargetGroupAttributes map[string]any `json:"target_group_attributes,omitempty"`
	// ALPNPolicy is of the simulator with protocol TLS; None when empty.
	ALPNPolicy string `json:"alpn_policy,omitempty" jsonschema:"enum=None,enum=HTTP1Only,enum=HTTP2Only,enum=HTTP2Optional,enum=HTTP2Preferred"`
	// SendProxy puts a PROXY header of that version before what a real product with protocol TCP passes on. Who is next in the chain takes it.
	SendProxy string `json:"send_proxy,omitempty" jsonschema:"enum=off,enum=v1,enum=v2"`
	// PreserveClientIP makes a real product with protocol TCP connect onwards from the client's own address.
	PreserveClientIP bool `json:"preserve_client_ip,omitempty"`
	// RedirectHTTP opens a second port, of plaintext HTTP, that redirects to HTTPS.
	RedirectHTTP bool `json:"redirect_http,omitempty"`
	// Apps are paths that lead to services of their own and not to the router.
	Apps []App `json:"apps,omitempty"`
	// Nodes gives the simulator that many addresses (127.0.1.0/24), which its name resolves to; the load balancer before it asks a name server of the lab.
	Nodes int `json:"nodes,omitempty" jsonschema:"minimum=0,maximum=16"`
	// RotateEvery replaces the oldest node by one at another address, again and again; never when empty.
	RotateEvery Duration `json:"rotate_every,omitempty"`
}

// App is one rule of path-based routing.
type App struct {
	// Path is a path that ends in /*, such as /app/*.
	Path string `json:"path" jsonschema:"required,pattern=^/.*/\\*$"`
	// Backend is the name of a backend of kind http.
	Backend string `json:"backend" jsonschema:"required"`
}

// Leg is one load balancer of a path.
type Leg struct {
	Key string // its name in load_balancers
	LoadBalancer
}

// EndsTLS tells whether the client's TLS goes no further than here.
func (l LoadBalancer) EndsTLS() bool { return l.Protocol != TCP }

// TargetTLS tells whether the load balancer itself begins TLS with the next hop.
func (l LoadBalancer) TargetTLS() bool { return l.TargetProtocol == HTTPS || l.TargetProtocol == TLS }

// SendsProxy is the version of the PROXY header that the next hop gets, or "".
func (l LoadBalancer) SendsProxy() string {
	switch {
	case l.Real == "" && fmt.Sprint(l.TargetGroupAttributes[proxyAttribute]) == "true": // AWS's interface has strings
		return "v2"
	case l.SendProxy == "off":
		return ""
	}
	return l.SendProxy
}

// proxyAttribute is AWS's name for PROXY headers to targets.
const proxyAttribute = "proxy_protocol_v2.enabled"

// words are the paths with a fixed load balancer, and what they ask of it.
var words = map[string]struct{ key, protocol, target string }{
	PathALBHTTPS: {"alb", HTTPS, HTTPS},
	PathALBHTTP:  {"alb", HTTPS, HTTP},
	PathNLBTCP:   {"nlb", TCP, TCP},
	PathNLBTLS:   {"nlb", TLS, ""},
}

// Via lists the load balancers of a path, from the client inwards; none for direct. The error says what the topology lacks.
func (t *Topology) Via(path string) ([]Leg, error) {
	if path == PathDirect {
		return nil, nil
	}
	if keys, ok := t.Chains[path]; ok {
		legs := make([]Leg, 0, len(keys))
		for _, key := range keys {
			lb := t.LoadBalancers[key]
			if lb == nil {
				return nil, fmt.Errorf("no load balancer is called %q%s", key, t.listBalancers())
			}
			legs = append(legs, Leg{key, *lb})
		}
		return legs, nil
	}
	if w, ok := words[path]; ok {
		lb := t.LoadBalancers[w.key]
		switch {
		case lb == nil && w.key == "alb":
			return nil, fmt.Errorf("path %q needs topology.load_balancer", path)
		case lb == nil:
			return nil, fmt.Errorf("path %q needs topology.load_balancers.%s", path, w.key)
		case lb.Protocol != w.protocol:
			return nil, fmt.Errorf("path %q is one of protocol %s, but topology.load_balancers.%s has %s", path, w.protocol, w.key, lb.Protocol)
		}
		leg := Leg{w.key, *lb}
		if w.target != "" {
			leg.TargetProtocol = w.target
		}
		return []Leg{leg}, nil
	}
	if lb := t.LoadBalancers[path]; lb != nil {
		return []Leg{{path, *lb}}, nil
	}
	return nil, fmt.Errorf("no path is called %q: there are direct, %s, the names of chains and those of load_balancers%s",
		path, strings.Join(slices.Sorted(maps.Keys(words)), ", "), t.listBalancers())
}

func (t *Topology) listBalancers() string {
	if len(t.LoadBalancers) == 0 {
		return " (there is none)"
	}
	return " (" + strings.Join(slices.Sorted(maps.Keys(t.LoadBalancers)), ", ") + ")"
}

// fill puts the defaults in; load_balancer becomes an entry of load_balancers.
func (t *Topology) fill() {
	if t.LoadBalancer != nil && t.LoadBalancers["alb"] == nil {
		if t.LoadBalancers == nil {
			t.LoadBalancers = map[string]*LoadBalancer{}
		}
		t.LoadBalancers["alb"] = t.LoadBalancer
	}
	for key, lb := range t.LoadBalancers {
		if lb == nil { // load_balancers: {alb: } in YAML
			lb = &LoadBalancer{}
			t.LoadBalancers[key] = lb
		}
		setDefault(&lb.Name, key+".example.test")
		setDefault(&lb.Protocol, HTTPS)
		setDefault(&lb.TargetProtocol, lb.Protocol)
		if lb.Real == "" {
			setDefault(&lb.Profile, profiles[lb.Protocol])
		}
	}
}

// profiles are the defaults by protocol.
var profiles = map[string]string{HTTPS: DefaultProfile, TCP: "aws-nlb-tcp", TLS: "aws-nlb-tls"}

// taken are names that hops and the ready file use for something else.
var taken = []string{"client", "router", "inner", PathDirect}

var nameable = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// check reports the faults of the topology; kinds are those of the backends by name.
func (t *Topology) check(fault func(at []any, format string, args ...any), kinds map[string]string) {
	if t.LoadBalancer != nil && t.LoadBalancers["alb"] != t.LoadBalancer {
		fault([]any{"topology", "load_balancer"}, "load_balancer is short for load_balancers.alb, which is given too")
	}
	for _, key := range slices.Sorted(maps.Keys(t.LoadBalancers)) {
		at := []any{"topology", "load_balancers", key}
		if t.LoadBalancers[key] == t.LoadBalancer {
			at = []any{"topology", "load_balancer"}
		}
		if slices.Contains(taken, key) || kinds[key] != "" {
			fault(at, "a load balancer cannot be called %q: that name is taken", key)
		}
		if !nameable.MatchString(key) {
			fault(at, "a load balancer cannot be called %q: lower-case letters, digits and hyphens make a name", key)
		}
		t.LoadBalancers[key].check(func(field string, format string, args ...any) {
			fault(append(slices.Clone(at), field), format, args...)
		}, kinds)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Chains)) {
		at := []any{"topology", "chains", name}
		keys := t.Chains[name]
		if _, ok := words[name]; ok || slices.Contains(taken, name) {
			fault(at, "a chain cannot be called %q: that name is taken", name)
		}
		if !nameable.MatchString(name) {
			fault(at, "a chain cannot be called %q: lower-case letters, digits and hyphens make a name", name)
		}
		if len(keys) == 0 {
			fault(at, "a chain needs at least one load balancer")
		}
		for i, key := range keys {
			if slices.Contains(keys[:i], key) {
				fault(append(at, i), "load balancer %q is in the chain twice", key)
			}
		}
		if _, err := t.Via(name); err != nil {
			fault(at, "%s", err)
		}
	}
	used := map[string]string{}
	for i, p := range t.Paths {
		// What the schema refused has been left out: an empty name has been reported already.
		if p == "" {
			continue
		}
		at := []any{"topology", "paths", i}
		if slices.Contains(t.Paths[:i], p) {
			fault(at, "path %q is given twice", p)
			continue
		}
		legs, err := t.Via(p)
		if _, chain := t.Chains[p]; err != nil && !chain { // of a chain it has been said
			fault(at, "%s", err)
		}
		for j, leg := range legs {
			if leg.Listen != "" && used[leg.Key] != "" {
				fault(at, "load balancer %q listens on %s for path %q already: leave listen out where several paths use it", leg.Key, leg.Listen, used[leg.Key])
			}
			used[leg.Key] = p
			if leg.Nodes > 1 && j > 0 && legs[j-1].Real == "" {
				fault(at, "load balancer %q has several nodes, and %q before it, a simulator, does not resolve names", leg.Key, legs[j-1].Key)
			}
			if j > 0 && legs[j-1].SendsProxy() != "" && leg.Real == "" {
				fault(at, "load balancer %q gets a PROXY header from %q, and the simulator takes none", leg.Key, legs[j-1].Key)
			}
		}
	}
}

func (l *LoadBalancer) check(fault func(field, format string, args ...any), kinds map[string]string) {
	if l.Real != "" {
		if l.Profile != "" {
			fault("profile", "a real product has no profile")
		}
		if len(l.Attributes)+len(l.TargetGroupAttributes) > 0 || l.TargetType != "" || l.ALPNPolicy != "" {
			fault("attributes", "attributes, target_type and alpn_policy are the simulator's: a real product has its own configuration")
		}
		if l.Nodes > 0 || l.RotateEvery != 0 {
			fault("nodes", "nodes and rotation are the simulator's")
		}
	}
	if l.Real == "" || l.Protocol != TCP {
		if l.SendProxy != "" && l.SendProxy != "off" {
			fault("send_proxy", "send_proxy is for a real product with protocol TCP")
		}
		if l.PreserveClientIP {
			fault("preserve_client_ip", "preserve_client_ip is for a real product with protocol TCP")
		}
	}
	if l.PreserveClientIP && l.SendsProxy() != "" {
		fault("preserve_client_ip", "either the connection or a PROXY header carries the client's address, not both")
	}
	http := l.TargetProtocol == HTTP || l.TargetProtocol == HTTPS
	if l.Protocol == HTTPS != http || l.Protocol == TCP && l.TargetProtocol != TCP {
		fault("target_protocol", "a listener of protocol %s does not lead to targets of protocol %s", l.Protocol, l.TargetProtocol)
	}
	if l.Protocol != HTTPS && (l.RedirectHTTP || len(l.Apps) > 0) {
		fault("protocol", "%s knows no HTTP: redirect_http and apps need protocol HTTPS", l.Protocol)
	}
	if l.ALPNPolicy != "" && l.Protocol != TLS {
		fault("alpn_policy", "a listener of protocol %s has no ALPN policy", l.Protocol)
	}
	if l.RotateEvery != 0 && l.Nodes < 2 {
		fault("rotate_every", "one node alone cannot be replaced: nodes must be 2 or more")
	}
	for i, app := range l.Apps {
		switch kind, ok := kinds[app.Backend]; {
		case app.Backend == "":
		case !ok:
			fault("apps", "apps[%d]: no backend is called %q", i, app.Backend)
		case kind != "http":
			fault("apps", "apps[%d]: backend %q is of kind %s, not http", i, app.Backend, kind)
		}
	}
}
