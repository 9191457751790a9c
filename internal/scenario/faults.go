package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Fault is something that goes wrong on purpose while the bench runs, at a hop or to a backend. Its words at a hop are those of the
// simulator's own document (faults), but for where and when; whatever chance has a part in goes by the seed of the run.
type Fault struct {
	// At is when it begins, from the start of the bench.
	At Duration `json:"at,omitempty"`
	// Hop is a hop of the paths with a simulated load balancer at one end, such as client->alb or alb->router.
	Hop string `json:"hop,omitempty"`
	// Backend is, in place of hop, the name of a backend with a real server: driver local, not embedded.
	Backend string `json:"backend,omitempty"`
	// Direction is up for what clients send, down for what comes back; both when empty.
	Direction string `json:"direction,omitempty" jsonschema:"enum=up,enum=down"`
	// Kind is what happens: latency, jitter, bandwidth, drip, split, stall; half-close, truncate, reset, which end connections; target-death
	// of who is behind the hop's load balancer; rotate, which replaces the oldest node of the load balancer that the hop leads to. Of a
	// backend: kill, as in a crash, until for is over; restart; pause, frozen until for is over.
	Kind string `json:"kind" jsonschema:"required"`
	// For is how long it lasts; for good when empty. The end of a connection comes to those that stand at that time, with for also to
	// those that begin until it is over.
	For Duration `json:"for,omitempty"`
	// AtByte has it begin behind so many bytes of a connection's direction.
	AtByte int64 `json:"at_byte,omitempty" jsonschema:"minimum=0"`
	// Delay is that of latency, and the time between the pieces of drip; Jitter is the most that chance adds.
	Delay  Duration `json:"delay,omitempty"`
	Jitter Duration `json:"jitter,omitempty"`
	// BytesPerSecond is the rate of bandwidth.
	BytesPerSecond int64 `json:"bytes_per_second,omitempty" jsonschema:"minimum=0"`
	// Bytes is the size of the pieces of drip, and the most of one of split.
	Bytes int64 `json:"bytes,omitempty" jsonschema:"minimum=0"`
}

// KindRotate is the kind of fault at a hop that the simulator alone has no word for.
const KindRotate = "rotate"

// The kinds of fault of a backend.
const (
	KindKill    = "kill"
	KindRestart = "restart"
	KindPause   = "pause"
)

// BackendKinds lists them.
var BackendKinds = []string{KindKill, KindRestart, KindPause}

// HopName is the name of the hop that leads to leg i; the router is behind the last.
func HopName(legs []Leg, i int) string {
	from, to := "client", "router"
	if i > 0 {
		from = legs[i-1].Key
	}
	if i < len(legs) {
		to = legs[i].Key
	}
	return from + "->" + to
}

// Simulated tells whether a simulator stands at the beginning of the hop that leads to leg i, or at its end.
func Simulated(legs []Leg, i int) (from, to bool) {
	return i > 0 && legs[i-1].Real == "", i < len(legs) && legs[i].Real == ""
}

// checkFaults reports faults of the timeline that have to do with places.
func (t *Topology) checkFaults(fault func(at []any, format string, args ...any), kinds map[string]string) {
	var all, open []string // hops of the paths, and those at which a simulator stands
	begins := map[string]bool{}
	nodes := map[string]int{}
	for _, path := range t.Paths {
		legs, err := t.Via(path)
		if err != nil {
			return // that has been said, and which hops there are is not known
		}
		for i := range len(legs) + 1 {
			name := HopName(legs, i)
			from, to := Simulated(legs, i)
			begins[name] = begins[name] || from
			if to {
				nodes[name] = max(nodes[name], legs[i].Nodes)
			}
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
			if (from || to) && !slices.Contains(open, name) {
				open = append(open, name)
			}
		}
	}
	for i, f := range t.Faults {
		at := []any{"topology", "faults", i, "hop"}
		switch {
		case f.Backend != "" || slices.Contains(BackendKinds, f.Kind):
			f.checkBackend(kinds, func(field, format string, args ...any) {
				fault([]any{"topology", "faults", i, field}, format, args...)
			})
			continue
		case f.Hop == "":
			fault([]any{"topology", "faults", i}, "a fault needs hop or backend: where it is")
		case !slices.Contains(all, f.Hop):
			fault(at, "no path has a hop %q%s", f.Hop, listHops(open))
		case !slices.Contains(open, f.Hop):
			fault(at, "no simulator stands at hop %q, so nothing can be injected there%s", f.Hop, listHops(open))
		case f.Kind == "target-death" && !begins[f.Hop]:
			fault(at, "target-death needs a simulator that hop %q begins at", f.Hop)
		case f.Kind == KindRotate && nodes[f.Hop] < 2:
			fault(at, "rotate needs a simulator with 2 nodes or more that hop %q leads to", f.Hop)
		}
		if f.Kind == KindRotate && f != (Fault{At: f.At, Hop: f.Hop, Kind: f.Kind}) {
			fault([]any{"topology", "faults", i}, "rotate goes by nothing but at and hop")
		}
	}
}

// checkBackend reports faults of one that is a backend's; kinds are those of the backends by name.
func (f Fault) checkBackend(kinds map[string]string, fault func(field, format string, args ...any)) {
	switch {
	case f.Backend == "":
		fault("kind", "%s is a backend's: it needs backend", f.Kind)
	case f.Kind == "": // that has been said
	case !slices.Contains(BackendKinds, f.Kind):
		fault("kind", "%q is nothing that becomes of a backend: there are %s", f.Kind, strings.Join(BackendKinds, ", "))
	case kinds[f.Backend] == "" && len(kinds) > 0:
		fault("backend", "no backend is called %q (there are %s)", f.Backend, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	case f.Kind == KindRestart && f.For != 0:
		fault("for", "restart takes as long as it takes: kill is down for a time")
	}
	if f.Backend != "" && f != (Fault{At: f.At, Backend: f.Backend, Kind: f.Kind, For: f.For}) {
		fault("backend", "a fault of a backend goes by nothing but at, kind and for")
	}
}

func listHops(open []string) string {
	if len(open) == 0 {
		return " (no path has a simulator)"
	}
	return fmt.Sprintf(" (faults can be injected at %s)", strings.Join(open, ", "))
}
