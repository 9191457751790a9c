package bench

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

const (
	// resamples of the bootstrap, fewer above fullPairs pairs, where the interval needs them less and each costs n² more.
	resamples    = 10_000
	minResamples = 2_000
	fullPairs    = 24
	// maxUnits is how many units are resampled at most; more pairs are folded to the medians of neighbours, which as estimates are worth
	// two thirds of what they are of.
	maxUnits = 192
	// maxBlocks is the same where a resample costs more: of the far tail and of two runs.
	maxBlocks = 64
	// minPairs is what an interval can be made of. Below, nothing is claimed.
	minPairs = 5
)

// hodgesLehmann is the median of the Walsh averages (x[i]+x[j])/2, i <= j: nearly as sharp as the mean, and one wild window
// in four cannot carry it off.
func hodgesLehmann(x []float64) float64 {
	averages := make([]float64, 0, len(x)*(len(x)+1)/2)
	for i := range x {
		for j := i; j < len(x); j++ {
			averages = append(averages, (x[i]+x[j])/2)
		}
	}
	return median(averages)
}

// median partially sorts x.
func median(x []float64) float64 {
	n := len(x)
	if n == 0 {
		return math.NaN()
	}
	upper := nth(x, n/2)
	if n%2 == 1 {
		return upper
	}
	return (slices.Max(x[:n/2]) + upper) / 2 // nth left the smaller half in front
}

// nth is the k-th smallest (from 0) by quickselect; everything before index k is not larger afterwards.
func nth(x []float64, k int) float64 {
	lo, hi := 0, len(x)-1
	for lo < hi {
		pivot := x[lo+(hi-lo)/2]
		i, j := lo, hi
		for i <= j {
			for x[i] < pivot {
				i++
			}
			for x[j] > pivot {
				j--
			}
			if i <= j {
				x[i], x[j] = x[j], x[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return x[k]
		}
	}
	return x[k]
}

// estimate is a paired effect: the Hodges-Lehmann estimate of x and its 95 per cent interval.
type estimate struct{ value, lo, hi float64 }

// bootstrap resamples x b times, one element a pair of windows, never the requests in it, which depend on each other.
//
// The interval is the percentile interval, expanded for small samples: with n pairs the resamples are too narrow by
// sqrt((n-1)/n) and the normal quantile stands where Student's belongs, so the tails are cut at
// Φ(-sqrt(n/(n-1))·t(0.975, n-1)) instead of 2.5 per cent (T. Hesterberg, What Teachers Should Know About the Bootstrap,
// 2015, section 4.3). With 12 pairs that is 1.1 per cent; plain percentiles would cover some 91 per cent.
//
// Not BCa, which corrects bias and skewness, of which a Hodges-Lehmann estimate of log ratios has little, and leaves the narrowness
// alone: over normal, wild and skewed noise BCa covers 92 to 93 per cent at 12 pairs and 84 to 88 at 6, this one 96 and 92 to 95
// (coverage_test.go). Both corrections together cover what this one does and are no narrower.
func bootstrap(x []float64, b int, rng *rand.Rand) estimate {
	e := estimate{value: hodgesLehmann(x)}
	if len(x) < 2 {
		e.lo, e.hi = math.Inf(-1), math.Inf(1)
		return e
	}
	x = fold(x, maxUnits)
	n := len(x)

	if n > fullPairs {
		b = max(min(b, minResamples), b*fullPairs*fullPairs/(n*n))
	}
	averages, times, thetas := walshOf(x), make([]int, n), make([]float64, b)
	for k := range thetas {
		clear(times)
		for range n {
			times[rng.IntN(n)]++
		}
		thetas[k] = averages.median(times)
	}
	slices.Sort(thetas)
	alpha := tailShare(float64(n))
	e.lo, e.hi = sortedQuantile(thetas, alpha), sortedQuantile(thetas, 1-alpha)
	return e
}

// walsh are the averages of a sample's elements in twos, each with itself too, ascending. A resample has the same ones, only some of
// them more often and some not at all: sorted once, they are weighed for each.
type walsh struct {
	elements int
	averages []walshAverage
}

type walshAverage struct {
	value float64
	i, j  uint16
}

func walshOf(x []float64) walsh {
	w := walsh{len(x), make([]walshAverage, 0, len(x)*(len(x)+1)/2)}
	for i := range x {
		for j := i; j < len(x); j++ {
			w.averages = append(w.averages, walshAverage{(x[i] + x[j]) / 2, uint16(i), uint16(j)})
		}
	}
	slices.SortFunc(w.averages, func(a, b walshAverage) int { return cmp.Compare(a.value, b.value) })
	return w
}

// median is the Hodges-Lehmann estimate of the resample that has each element so many times, as many in all as there are elements.
func (w walsh) median(times []int) float64 {
	all := w.elements * (w.elements + 1) / 2
	var lower float64 // of the two in the middle, where all is even and they differ
	upTo, split := 0, false
	for _, a := range w.averages {
		weight := times[a.i] * times[a.j]
		if a.i == a.j {
			weight = (weight + times[a.i]) / 2
		}
		if weight == 0 {
			continue
		}
		switch upTo += weight; {
		case upTo > all/2 && split:
			return (lower + a.value) / 2
		case upTo > all/2:
			return a.value
		case upTo == all/2 && all%2 == 0:
			lower, split = a.value, true
		}
	}
	return math.NaN() // times are not those of a resample
}

// tailShare is what an expanded percentile interval of n units leaves out at either end.
func tailShare(n float64) float64 { return normalCDF(-math.Sqrt(n/(n-1)) * studentQuantile975(n-1)) }

// fold puts neighbours together until at most limit units are left: their medians. Neighbours, because what they have in common
// (a noisy minute) then stays inside a unit.
func fold(x []float64, limit int) []float64 {
	if len(x) <= limit {
		return x
	}
	out := make([]float64, limit)
	for i := range out {
		out[i] = median(slices.Clone(x[i*len(x)/limit : (i+1)*len(x)/limit]))
	}
	return out
}

// sortedQuantile interpolates linearly.
func sortedQuantile(x []float64, q float64) float64 {
	pos := q * float64(len(x)-1)
	i := int(pos)
	if i >= len(x)-1 {
		return x[len(x)-1]
	}
	return x[i] + (pos-float64(i))*(x[i+1]-x[i])
}

func normalCDF(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }

// studentQuantile975 is Student's 0.975 quantile by the Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5), within 0.3 per
// cent from 4 degrees of freedom on; there are never fewer where something is claimed (minPairs).
func studentQuantile975(df float64) float64 {
	const z = 1.959963984540054
	z3, z5, z7 := z*z*z, z*z*z*z*z, z*z*z*z*z*z*z
	return z + (z3+z)/4/df + (5*z5+16*z3+3*z)/96/(df*df) + (3*z7+19*z5+17*z3-15*z)/384/(df*df*df)
}

// verdict says what may be said of a ratio of latencies, candidate over baseline. A difference needs an interval without 1
// and a p-value, adjusted for the family (family.go), below familyLevel. "Equivalent" needs an interval inside 1 ± delta: two
// one-sided tests, at half the usual level each since the interval is of 95 per cent. Nothing else is ever called equal: an
// interval over 1 that reaches beyond delta says only that nobody can tell.
func verdict(lo, hi float64, pairs int, p, delta float64) string {
	switch {
	case pairs < minPairs:
		return "inconclusive"
	case lo > 1-delta && hi < 1+delta:
		return "equivalent"
	case lo > 1 && p < familyLevel:
		return "slower"
	case hi < 1 && p < familyLevel:
		return "faster"
	}
	return "inconclusive"
}
