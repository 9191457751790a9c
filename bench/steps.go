package bench

import "github.com/tlsroute/tlsroute-bench/internal/result"

// stepPhases are what a hop costs: opening a tunnel over it, and a round trip on an open one.
var stepPhases = []string{result.PhaseConnect, result.PhaseSteady}

// steps compares neighbours in the list of arms by the difference of their windows' medians. With two arms that is the comparison
// with the baseline, so there are none. A difference says nothing of significance: it is an estimate with its interval.
func (r *run) steps() []result.Step {
	if len(r.arms) < 3 {
		return nil
	}
	var out []result.Step
	for i, to := range r.arms[1:] {
		from := r.arms[i]
		for _, phase := range stepPhases {
			if s, ok := r.step(from, to, phase); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

func (r *run) step(from, to *armState, phase string) (result.Step, bool) {
	const median = 0 // of quantiles
	var diffs []float64
	var nf, nt int64
	for k := range from.pairs {
		a, b := from.pairs[k][phase], to.pairs[k][phase] // a nil map has no samples
		if a.n == 0 || b.n == 0 {
			continue
		}
		nf, nt = nf+a.n, nt+b.n
		diffs = append(diffs, b.q[median]-a.q[median])
	}
	if len(diffs) < minPairs || min(nf, nt) < enough(quantiles[median]) {
		return result.Step{}, false
	}
	metric := phase + "." + quantileNames[median]
	e := bootstrap(diffs, resamples, stream(r.plan.Seed, "%s/%s/%s/%s/step", r.label, from.Path, to.Path, metric))
	return result.Step{
		From: from.Path, To: to.Path, Metric: metric, AddedNS: int64(e.value), CI95NS: [2]int64{int64(e.lo), int64(e.hi)}, Pairs: len(diffs),
	}, true
}
