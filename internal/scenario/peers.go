package scenario

import "slices"

// The values of Topology.Processes; empty is inside.
const (
	ProcessesInside   = "inside"
	ProcessesSeparate = "separate"
)

// Peer is a product that routes by SNI as our router does, with the same routes.
type Peer struct {
	Name string `json:"name" jsonschema:"required"`
	// Product is haproxy, nginx, sslh or stunnel.
	Product string `json:"product" jsonschema:"required"`
	// Tuned sets what makes it faster than its defaults do; internal/peerrouter has the configurations.
	Tuned bool `json:"tuned,omitempty"`
}

// Separate tells whether our components are processes of their own.
func (t *Topology) Separate() bool { return t.Processes == ProcessesSeparate }

// Peer returns a peer by name.
func (t *Topology) Peer(name string) (Peer, bool) {
	i := slices.IndexFunc(t.Peers, func(p Peer) bool { return p.Name == name })
	if i < 0 {
		return Peer{}, false
	}
	return t.Peers[i], true
}

// PeerNames lists them.
func (t *Topology) PeerNames() []string {
	list := make([]string, len(t.Peers))
	for i, p := range t.Peers {
		list[i] = p.Name
	}
	return list
}

// checkProcesses reports what needs hands inside the components, which a process of its own does not give.
func (t *Topology) checkProcesses(fault func(at []any, format string, args ...any)) {
	if !t.Separate() {
		return
	}
	if slices.ContainsFunc(t.Faults, func(f Fault) bool { return f.Backend == "" }) {
		fault([]any{"topology", "processes"}, "faults at hops are injected inside this process: they need processes: inside")
	}
	for key, lb := range t.LoadBalancers {
		if lb.Real == "" && (lb.Nodes > 0 || lb.RotateEvery != 0) {
			fault([]any{"topology", "processes"}, "load balancer %q has nodes, which come and go inside this process: they need processes: inside", key)
		}
	}
}

func (t *Topology) checkPeers(fault func(at []any, format string, args ...any), kinds map[string]string) {
	for i, p := range t.Peers {
		at := []any{"topology", "peers", i, "name"}
		_, word := words[p.Name]
		_, chain := t.Chains[p.Name]
		switch {
		case p.Name == "": // that has been said
		case !nameable.MatchString(p.Name):
			fault(at, "a peer cannot be called %q: lower-case letters, digits and hyphens make a name", p.Name)
		case word, chain, slices.Contains(taken, p.Name), kinds[p.Name] != "", t.LoadBalancers[p.Name] != nil, slices.Contains(t.PeerNames()[:i], p.Name):
			fault(at, "a peer cannot be called %q: that name is taken", p.Name)
		}
	}
}

// Arms are those of a workload.
func (s *Scenario) Arms(w Workload) []string {
	if len(w.Arms) > 0 {
		return w.Arms
	}
	return s.Bench.Arms
}
