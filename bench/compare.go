package bench

import (
	"math"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// enough is the sample that a quantile wants in each arm before it is compared: below it the sample may, in one run of
// twenty, have nothing beyond the quantile at all (the bound of facts/performance.md section 2.3: q^n < 0.05).
//
// Within one window there may be fewer: a window's p99 of 50 requests is its maximum. That is another statistic than the p99 of the
// arm, but the same one on either side of the ratio.
func enough(q float64) int64 { return int64(math.Ceil(math.Log(0.05) / math.Log(q))) }

// compare pairs the windows of the baseline, the first arm, with those of each other arm: every phase that both went
// through, every quantile that the sample supports. How late the generator was is not a property of an arm. All comparisons
// of the workload are one family when it comes to a verdict (family.go); one with too few pairs for that says how many it needs.
func (r *run) compare() []result.Comparison {
	out := []result.Comparison{}
	var family []float64
	base := r.arms[0]
	for _, cand := range r.arms[1:] {
		for _, phase := range result.Phases {
			if phase == result.PhaseLag {
				continue
			}
			for i, q := range quantiles {
				if c, p, ok := r.compareOne(base, cand, phase, i, q); ok {
					out = append(out, c)
					family = append(family, p)
				}
			}
		}
		for _, rate := range rateMetrics {
			if c, p, ok := r.compareOne(base, cand, rate, 0, quantiles[0]); ok { // no distribution: one number a window
				c.Metric, c.DeltaNS = rate, 0
				out = append(out, c)
				family = append(family, p)
			}
		}
	}
	for i, p := range holm(family) {
		c := &out[i]
		c.PAdjusted = p
		lo, hi := c.CI95[0], c.CI95[1]
		if isRate(c.Metric) { // more is better: judged as the time that a byte or an answer takes
			lo, hi = 1/hi, 1/lo
		}
		c.Verdict = verdict(lo, hi, c.Pairs, p, r.plan.Equivalence)
		c.NeedsPairs = max(0, pairsToTell(len(out))-c.Pairs)
	}
	return out
}

// compareOne is one comparison without its verdict, and its p-value before any correction.
func (r *run) compareOne(base, cand *armState, phase string, i int, q float64) (c result.Comparison, p float64, ok bool) {
	var logs, diffs []float64
	var na, nb int64
	for k := range base.pairs {
		a, b := base.pairs[k][phase], cand.pairs[k][phase] // a nil map has no samples
		if a.n == 0 || b.n == 0 {
			continue
		}
		na, nb = na+a.n, nb+b.n
		logs = append(logs, math.Log(b.q[i]/a.q[i]))
		diffs = append(diffs, b.q[i]-a.q[i])
	}
	if len(logs) < 2 || min(na, nb) < enough(q) {
		return result.Comparison{}, 0, false
	}
	metric := phase + "." + quantileNames[i]
	e := bootstrap(logs, resamples, stream(r.plan.Seed, "%s/%s/%s/%s/bootstrap", r.label, base.Path, cand.Path, metric))
	return result.Comparison{
		Baseline: base.Path, Candidate: cand.Path, Metric: metric,
		Ratio: math.Exp(e.value), CI95: [2]float64{math.Exp(e.lo), math.Exp(e.hi)},
		DeltaNS: int64(hodgesLehmann(diffs)), Pairs: len(logs),
	}, signedRank(logs), true
}
