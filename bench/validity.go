package bench

import (
	"fmt"
	"math"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// The gates of a measurement that may be believed. Each has the limit of facts/performance.md section 2.2 for a quiet machine, and
// what is beyond it is shown. A measurement is not valid only beyond a second limit, where its figures would be wrong: on two shared
// cores a late wake-up of a millisecond or two is the rule and ruins nothing, for it is the same in both arms and inside the
// latency, and pairs of windows take out what disturbs both. Errors make nothing invalid either: they are results, and a limit on
// them must fail the run, not excuse it.
//
// Lateness comes in bursts, when something else takes the machine: the pair of windows that it hits is left out and made up
// for, and the measurement is invalid only when fewer than minPairs or half of the planned pairs are kept in the end.
const (
	minAchieved = 0.95                 // arrivals that went off in time, of those planned
	maxLag      = 5 * time.Millisecond // sched_lag in a window, or
	maxLagShare = 0.25                 // this share of its p50 of steady_rtt (connect, where there is none), whichever is larger,
	lateShare   = 0.02                 // for all but this share of the arrivals, and for all but one in any case

	quietAchieved = 0.99
	quietLag      = time.Millisecond // p99 of sched_lag, or
	quietLagShare = 0.1              // this share of the p50, whichever is larger
	quietCPU      = 0.7              // of the processors that Go may use
	quietSteal    = 0.02
	quietSpread   = 0.15 // coefficient of variation of the baseline arm's median over its windows
	quietErrors   = 0.001
)

// never is the second limit of a gate that makes nothing invalid.
var never = math.Inf(1)

// atMost is a gate with the limit of a quiet machine, and the one beyond which the measurement is wrong.
func atMost(g result.Gate, value, quiet, wrong float64) result.Gate {
	g.Value, g.Limit, g.OK, g.Advisory = value, quiet, value <= quiet, math.IsInf(wrong, 0)
	switch {
	case g.OK:
	case value > wrong:
		g.Limit = wrong
	default:
		g.Advisory = true
	}
	return g
}

func atLeast(g result.Gate, value, quiet, wrong float64) result.Gate {
	g = atMost(g, -value, -quiet, -wrong)
	g.Value, g.Limit = value, -g.Limit
	return g
}

// invalid lists what makes the measurement invalid: the gates that failed and are not advisory, besides what the run has met.
func (r *run) invalid(gates []result.Gate) []string {
	return append(append([]string{}, r.reasons...), reasons(gates)...)
}

func reasons(gates []result.Gate) []string {
	var out []string
	for _, g := range gates {
		if g.OK || g.Advisory {
			continue
		}
		text := g.Detail
		if g.Path != "" {
			text = g.Path + ": " + text
		}
		if g.Workload != "" {
			text = g.Workload + ": " + text
		}
		out = append(out, text)
	}
	return out
}

// gates looks at a workload. A run that was stopped by its context is judged by what it has.
func (r *run) gates(w *result.Workload) []result.Gate {
	var out []result.Gate
	for i, a := range r.arms {
		if a.measured == 0 {
			continue // nothing was measured, and the reason for that is there already
		}
		out = append(out, r.armGates(a, &w.Arms[i])...)
	}
	if r.windows == 0 {
		return out
	}
	out = append(out, r.pairGates()...)
	if v := spread(r.arms[0].pairs, mainPhase(&w.Arms[0])); !math.IsNaN(v) {
		out = append(out, atMost(r.gate("baseline_cv", r.arms[0].Path, "ratio",
			"the median varies by %.0f %% from window to window of the baseline; %.0f %% is quiet", 100*v, 100*quietSpread), v, quietSpread, never))
	}
	out = append(out, r.machine.gates(r.label)...)
	return append(out, errorGates(r.label, w)...)
}

func (r *run) gate(name, path, unit, format string, args ...any) result.Gate {
	return result.Gate{Name: name, Workload: r.label, Path: path, Unit: unit, Detail: fmt.Sprintf(format, args...)}
}

// mainPhase is what a workload is about on an arm.
func mainPhase(a *result.Arm) string {
	if a.Phases[result.PhaseSteady].Count > 0 {
		return result.PhaseSteady
	}
	return result.PhaseConnect
}

func (r *run) armGates(a *armState, arm *result.Arm) []result.Gate {
	t := &a.total
	out := []result.Gate{
		atMost(r.gate("dropped", a.Path, "count", "%d of %d arrivals were dropped by the generator: more was due at once than it holds",
			t.dropped, t.planned), float64(t.dropped), 0, 0),
		atMost(r.gate("beyond_scale", a.Path, "count", "%d latencies of more than %v were recorded as that",
			t.overflow, time.Duration(histMax)), float64(t.overflow), 0, 0),
	}
	if t.planned > 0 {
		share := float64(t.achieved) / float64(t.planned)
		out = append(out, atLeast(r.gate("achieved_rate", a.Path, "ratio", "%.1f %% of the planned load went off in time, %.0f %% is needed",
			100*share, 100*minAchieved), share, quietAchieved, minAchieved))
	}
	if lag := arm.Phases[result.PhaseLag]; lag.Count > 0 {
		quiet := max(float64(quietLag), quietLagShare*float64(arm.Phases[mainPhase(arm)].P50NS))
		out = append(out, atMost(r.gate("sched_lag.p99", a.Path, "ns", "the generator was up to %v late in 99 %% of the arrivals; %v is quiet",
			time.Duration(lag.P99NS).Round(time.Microsecond), time.Duration(quiet).Round(time.Microsecond)), float64(lag.P99NS), quiet, never))
	}
	return out
}

// pairGates want enough pairs of windows: that were kept, and with samples on both sides for each kind of arrival asked for.
func (r *run) pairGates() []result.Gate {
	kept := r.windows - r.excluded
	if r.excluded > 0 && (kept < minPairs || kept*2 < r.plan.Pairs) {
		need := float64(max(minPairs, (r.plan.Pairs+1)/2))
		late := ""
		if r.worstLag > 0 { // not of measurements that were merged, or of one that another process spoiled
			late = fmt.Sprintf(" (by %v at worst, %v is allowed)", r.worstLag.Round(10*time.Microsecond), r.worstAllowed.Round(10*time.Microsecond))
		}
		return []result.Gate{atLeast(r.gate("pairs", "", "count", "%d of %d pairs of windows had to be left out: the generator was late%s or dropped arrivals",
			r.excluded, r.windows, late), float64(kept), need, need)}
	}
	if r.plan.Shards > 1 {
		return nil // a part alone has few samples; the whole is looked at when it is merged
	}
	var out []result.Gate
	for _, k := range []struct {
		phase string
		sent  bool
	}{{result.PhaseSteady, r.w.requests()}, {result.PhaseConnect, r.w.ConnectRate > 0}} {
		if !k.sent {
			continue
		}
		for _, cand := range r.arms[1:] {
			n := 0
			for i := range cand.pairs {
				if cand.pairs[i][k.phase].n > 0 && r.arms[0].pairs[i][k.phase].n > 0 {
					n++
				}
			}
			out = append(out, atLeast(r.gate("pairs."+k.phase, cand.Path, "count", "against %s, %s has samples in %d pairs of windows, %d are needed",
				r.arms[0].Path, k.phase, n, minPairs), float64(n), minPairs, minPairs))
		}
	}
	return out
}

// spread is the coefficient of variation of a phase's median over the windows; NaN with too few.
func spread(pairs []map[string]windowStat, phase string) float64 {
	var n, sum, squares float64
	for _, p := range pairs {
		if s := p[phase]; s.n > 0 {
			n, sum, squares = n+1, sum+s.q[0], squares+s.q[0]*s.q[0]
		}
	}
	if n < minPairs || sum == 0 {
		return math.NaN()
	}
	mean := sum / n
	return math.Sqrt(max(0, squares-n*mean*mean)/(n-1)) / mean
}

// errorGates look at what may make a comparison one of unlike things: arms with other shares of errors, whose quick refusals are in
// no distribution, and handshakes of other key exchanges.
func errorGates(label string, w *result.Workload) []result.Gate {
	var out []result.Gate
	least, most := never, 0.0
	curves := map[string]bool{}
	for i := range w.Arms {
		a := &w.Arms[i]
		if c := a.TLS["curve"]; c != "" {
			curves[c] = true
		}
		if a.Requests == 0 {
			continue
		}
		share := float64(a.Errors) / float64(a.Requests)
		least, most = min(least, share), max(most, share)
		out = append(out, atMost(result.Gate{
			Name: "errors", Workload: label, Path: a.Path, Unit: "ratio",
			Detail: fmt.Sprintf("%d of %d requests failed: the latencies are those of the others", a.Errors, a.Requests),
		}, share, quietErrors, never))
	}
	if most >= least && len(w.Arms) > 1 {
		out = append(out, atMost(result.Gate{
			Name: "errors_differ", Workload: label, Unit: "ratio",
			Detail: fmt.Sprintf("the arms' shares of errors are up to %.2f %% apart", 100*(most-least)),
		}, most-least, quietErrors, never))
	}
	if len(curves) > 0 && len(w.Arms) > 1 {
		wrong := never // requests on open tunnels do not care
		if w.ConnectRatePerS > 0 {
			wrong = 1
		}
		out = append(out, atMost(result.Gate{
			Name: "same_curve", Workload: label, Unit: "count",
			Detail: fmt.Sprintf("%d key exchanges were negotiated: handshakes of unlike ones are compared; pin the curve", len(curves)),
		}, float64(len(curves)), 1, wrong))
	}
	return out
}
