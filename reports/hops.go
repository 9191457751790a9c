package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// hopCost is what one station more on the way adds, from arms that are neighbours in the measurement and differ by just it.
type hopCost struct {
	Workload, Station, From, To string
	Connect, RTT                *result.Step // nil when there were too few samples
}

func hopCosts(run *result.Run) []hopCost {
	var out []hopCost
	if run.Bench == nil || invalid(run) {
		return nil
	}
	for _, w := range run.Bench.Workloads {
		for i := range w.Steps {
			s := &w.Steps[i]
			station := addedStation(run, s.From, s.To)
			if station == "" {
				continue
			}
			at := slices.IndexFunc(out, func(h hopCost) bool { return h.Workload == w.Name && h.From == s.From && h.To == s.To })
			if at < 0 {
				at = len(out)
				out = append(out, hopCost{Workload: w.Name, Station: station, From: s.From, To: s.To})
			}
			switch s.Metric {
			case result.PhaseConnect + ".p50":
				out[at].Connect = s
			case result.PhaseSteady + ".p50":
				out[at].RTT = s
			}
		}
	}
	return out
}

// addedStation is who stands on the second path and not on the first, when that is one and all else is the same; empty otherwise.
func addedStation(run *result.Run, from, to string) string {
	fewer, more := stations(run, from), stations(run, to)
	if len(fewer) == 0 || len(more) != len(fewer)+1 {
		return ""
	}
	for i, s := range more {
		if slices.Equal(slices.Delete(slices.Clone(more), i, i+1), fewer) {
			return s
		}
	}
	return ""
}

// stations are those of a path, the client first.
func stations(run *result.Run, path string) []string {
	var out []string
	for _, p := range run.Topology {
		if p.Name != path {
			continue
		}
		for _, h := range p.Hops {
			if h.Name == innerHop {
				continue
			}
			from, to := hopEnds(h.Name)
			if len(out) == 0 {
				out = append(out, from)
			}
			out = append(out, to)
		}
	}
	return out
}

// ConnectText and RTTText are a difference with its interval.
func (h hopCost) ConnectText() string { return stepText(h.Connect) }
func (h hopCost) RTTText() string     { return stepText(h.RTT) }

func stepText(s *result.Step) string {
	if s == nil {
		return "–"
	}
	return fmt.Sprintf("%s (%s to %s)", signed(s.AddedNS), signed(s.CI95NS[0]), signed(s.CI95NS[1]))
}

// signed is a difference of times.
func signed(ns int64) string {
	if ns > 0 {
		return "+" + duration(ns)
	}
	return duration(ns)
}

// hopReading says how the costs of hops are to be read.
const hopReading = "Each line is one arm against the one measured beside it that has one station less: the median opening of a tunnel and the median round trip, with the 95 % interval of the difference. " +
	"A hop of the simulator costs what the simulator takes, not what AWS's would."

// tlsCounts says how many TLS connections each path has; empty when none was counted, and where no path has more than one load
// balancer and the table can be counted at a glance.
func tlsCounts(run *result.Run) string {
	var list []string
	if !slices.ContainsFunc(run.Topology, func(p result.Path) bool { return len(stations(run, p.Name)) > 3 }) {
		return ""
	}
	for _, p := range run.Topology {
		if p.TLSConnections > 0 {
			list = append(list, fmt.Sprintf("%s %d", p.Name, p.TLSConnections))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return "TLS connections by path: " + strings.Join(list, ", ") + "."
}

// anyReal tells whether a product of others stands on a path, so that a reader wants to know which.
func anyReal(run *result.Run) bool {
	return slices.ContainsFunc(run.LoadBalancers, func(b result.LoadBalancer) bool { return b.Driver == "real" })
}

// balancerText is a load balancer's product.
func balancerText(b result.LoadBalancer) string {
	return strings.TrimSpace(b.Product + " " + b.Version)
}
