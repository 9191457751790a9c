package bench

import (
	"fmt"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// The gates of a measurement that may be believed. They are about the generator, not about the target: errors are results.
// facts/performance.md section 2.2 has stricter ones for a quiet machine; these hold on two shared cores, where a late
// wake-up of a millisecond or two is the rule and ruins nothing, for it is the same in both arms and inside the latency.
// Lateness comes in bursts, when something else takes the machine: the pair of windows that it hits is left out and made up
// for, and the measurement is invalid only when fewer than minPairs or half of the planned pairs are kept in the end.
const (
	minAchieved = 0.95                 // arrivals that went off in time, of those planned
	maxLag      = 5 * time.Millisecond // sched_lag in a window, or
	maxLagShare = 0.25                 // this share of its p50 of steady_rtt (connect, where there is none), whichever is larger,
	lateShare   = 0.02                 // for all but this share of the arrivals, and for all but one in any case
)

// invalid lists the gates that failed, each with its numbers. A run that was stopped by its context is judged by what it has.
func (r *run) invalid() []string {
	reasons := append([]string{}, r.reasons...)
	add := func(format string, args ...any) {
		reasons = append(reasons, r.label+": "+fmt.Sprintf(format, args...))
	}
	for _, a := range r.arms {
		if a.measured == 0 {
			continue // nothing was measured, and the reason for that is there already
		}
		t := &a.total
		if t.dropped > 0 {
			add("%s: %d of %d arrivals were dropped by the generator: more was due at once than it holds", a.Path, t.dropped, t.planned)
		}
		if t.planned > 0 && float64(t.achieved) < minAchieved*float64(t.planned) {
			add("%s: %.1f %% of the planned load went off in time, %.0f %% is needed", a.Path,
				100*float64(t.achieved)/float64(t.planned), 100*minAchieved)
		}
		if t.overflow > 0 {
			add("%s: %d latencies of more than %v were recorded as that", a.Path, t.overflow, time.Duration(histMax))
		}
	}
	if kept := r.windows - r.excluded; r.excluded > 0 && (kept < minPairs || kept*2 < r.plan.Pairs) {
		add("%d of %d pairs of windows had to be left out: the generator was late (by %v at worst, %v is allowed) or dropped arrivals",
			r.excluded, r.windows, r.worstLag.Round(10*time.Microsecond), r.worstAllowed.Round(10*time.Microsecond))
		return reasons
	}
	r.gatePairs(add)
	return reasons
}

// gatePairs wants enough pairs of windows with samples on both sides, for each kind of arrival that was asked for.
func (r *run) gatePairs(add func(string, ...any)) {
	if r.windows == 0 {
		return
	}
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
			if n < minPairs {
				add("%s against %s: %s has samples in %d pairs of windows, %d are needed", cand.Path, r.arms[0].Path, k.phase, n, minPairs)
			}
		}
	}
}
