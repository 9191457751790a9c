package bench

import (
	"cmp"
	"slices"
)

// A workload has some thirty comparisons an arm. At a level of 5 per cent each, two equal paths would be told apart in more than
// every other run. So a difference is claimed only when its p-value, adjusted for all comparisons of the workload by Holm's method,
// is below familyLevel: in at most 5 per cent of runs with equal paths is anything claimed at all.
//
// The family is settled before the first window is sent: every arm against the baseline, every phase that the load goes through,
// every percentile that the planned sample supports. No result adds to it or takes from it, and which of its members a report shows
// does not matter.
//
// The p-value is that of Wilcoxon's signed-rank test on log ratios, which assumes nothing of the noise but that it is symmetric,
// as the difference of two windows with the same noise is. Its least p-value of n pairs is 2/2ⁿ: what would not be significant in
// this family even if every pair agreed is said to need more pairs, instead of passing for a difference that is not there. The
// default of 12 pairs carries 102 comparisons, which is three arms against a baseline with every phase and percentile (2/2¹² × 90
// = 0.044), and for one arm of 26 leaves room for a pair or two that disagree (2/2¹² × 26 = 0.013). Five arms need 13.
const familyLevel = 0.05

// holm adjusts the p-values of a family: the smallest counts as many times as there are, the next once less, and none is
// smaller than the one before it.
func holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	out := make([]float64, len(p))
	least := 0.0
	for k, i := range order {
		least = max(least, min(1, p[i]*float64(len(p)-k)))
		out[i] = least
	}
	return out
}
