package bench

import (
	"cmp"
	"math"
	"slices"
)

// exactPairs is up to how many pairs the null distribution is counted out; beyond, the normal one is within a thousandth of it.
const exactPairs = 100

// signedRank is the two-sided p-value of Wilcoxon's signed-rank test: "x is symmetric about 0". Ties share their mean rank. Zeros,
// which two windows have when both fall into the same bucket of a histogram, take part in the ranking and speak for neither side
// (J. W. Pratt, 1959): to throw them away first, as Wilcoxon did, can turn a difference into one of the other direction.
//
// The null distribution is exact with ties and zeros too: every rank that is left is + or - with one half, counted over twice the
// ranks, which are whole numbers.
func signedRank(x []float64) float64 {
	ranks, plus := doubledRanks(x)
	total := 0
	for _, r := range ranks {
		total += r
	}
	if total == 0 {
		return 1
	}
	low := min(plus, total-plus) // the distribution is symmetric about total/2
	if len(x) > exactPairs {
		return normalTails(float64(low), ranks)
	}
	// p[s] is the probability of the sum s.
	p := make([]float64, total+1)
	p[0] = 1
	top := 0
	for _, r := range ranks {
		for s := top; s >= 0; s-- {
			p[s] /= 2
			p[s+r] += p[s]
		}
		top += r
	}
	var tail float64
	for s := 0; s <= low; s++ {
		tail += p[s]
	}
	return min(1, 2*tail)
}

// doubledRanks are twice the ranks of what is not 0, by size, and plus the sum of those of what is above 0.
func doubledRanks(x []float64) (ranks []int, plus int) {
	sorted := slices.SortedFunc(slices.Values(x), func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	for i := 0; i < len(sorted); {
		j := i
		for j < len(sorted) && math.Abs(sorted[j]) == math.Abs(sorted[i]) {
			j++
		}
		if sorted[i] != 0 {
			for _, v := range sorted[i:j] {
				ranks = append(ranks, i+1+j)
				if v > 0 {
					plus += i + 1 + j
				}
			}
		}
		i = j
	}
	return ranks, plus
}

// normalTails is the same by the normal distribution, continuity corrected. The variance is that of the ranks there are, which is
// the correction for ties and zeros.
func normalTails(low float64, doubled []int) float64 {
	var total, squares float64
	for _, r := range doubled {
		total += float64(r)
		squares += float64(r) * float64(r)
	}
	// One step of a sum of whole ranks is two of the doubled.
	z := (low + 1 - total/2) / math.Sqrt(squares/4)
	return min(1, 2*normalCDF(min(z, 0)))
}

// pairsToTell is how many pairs a family of that size needs before the test can claim anything at all: of n pairs the least p-value
// is 2/2ⁿ, when all differ in the same direction, and Holm counts the smallest of a family as many times as there are.
func pairsToTell(family int) int {
	n := minPairs
	for math.Ldexp(2, -n)*float64(family) >= familyLevel {
		n++
	}
	return n
}
