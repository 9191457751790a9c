package bench

import (
	"math"
	"slices"
)

// A workload has some twenty comparisons. At a level of 5 per cent each, one of them "finds" a difference between two equal
// paths in every third run. So a difference is claimed only when its p-value, adjusted for all comparisons of the workload
// by Holm's method, is below familyLevel: in at most 5 per cent of runs with equal paths is anything claimed at all.
//
// The p-value is that of the paired t test on log ratios. A test on ranks or signs would assume less, and could not be used:
// of n pairs its least p-value is 2/2^n, which with ten pairs and 26 comparisons, or nine pairs and 13, is more than Holm
// allows even the largest difference there can be. A wild window widens t's own measure of noise and so makes it careful.
const familyLevel = 0.05

// pairedP is the two-sided p-value of "the mean of x is 0".
func pairedP(x []float64) float64 {
	n := float64(len(x))
	if n < 2 {
		return 1
	}
	var sum, squares float64
	for _, v := range x {
		sum += v
	}
	mean := sum / n
	for _, v := range x {
		squares += (v - mean) * (v - mean)
	}
	if mean == 0 {
		return 1
	}
	return studentTails(mean/math.Sqrt(squares/(n-1)/n), len(x)-1)
}

// studentTails is the probability of |T| > |t| for Student's distribution (Abramowitz and Stegun 26.7.3 and 26.7.4, exact).
func studentTails(t float64, df int) float64 {
	theta := math.Atan(math.Abs(t) / math.Sqrt(float64(df)))
	sin, cos := math.Sincos(theta)
	// The series goes up by cos² a term, from cos for odd df and from 1 for even, to the power df-2.
	term, sum := 1.0, 0.0
	if df%2 == 1 {
		term = cos
	}
	for k := 2 + df%2; k <= df; k += 2 {
		sum += term
		term *= cos * cos * float64(k-1) / float64(k)
	}
	inside := sin * sum
	if df%2 == 1 {
		inside = 2 / math.Pi * (theta + inside)
	}
	return max(0, min(1, 1-inside))
}

// holm adjusts the p-values of a family: the smallest counts as many times as there are, the next once less, and none is
// smaller than the one before it.
func holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	out := make([]float64, len(p))
	least := 0.0
	for k, i := range order {
		least = max(least, min(1, p[i]*float64(len(p)-k)))
		out[i] = least
	}
	return out
}
