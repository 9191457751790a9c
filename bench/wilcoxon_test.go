package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSignedRankAgainstPublishedValues(t *testing.T) {
	for name, c := range map[string]struct {
		x    []float64
		want float64
	}{
		// M. Hollander and D. A. Wolfe, 1973, table 3.1: T+ = 5 of 9 patients, one-sided 0.0195.
		"depression scale": {[]float64{0.952, -0.147, 1.022, 0.430, 0.620, 0.590, 0.490, -0.080, 0.010}, 0.0390625},
		// C. Darwin, 1876, by R. A. Fisher, 1935, in eighths of an inch: T- = 24 of 15 pairs, two of them tied.
		"Darwin's maize": {[]float64{49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48}, 0.0412598},
	} {
		t.Run(name, func(t *testing.T) {
			if got := signedRank(c.x); math.Abs(got-c.want) > 1e-6 {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// The critical values of the two-sided test at 5 per cent, from the table of F. Wilcoxon and R. A. Wilcox, Some Rapid Approximate
// Statistical Procedures, 1964: T of that size is significant, and one more is not.
func TestSignedRankAgreesWithTheTableOfCriticalValues(t *testing.T) {
	for n, critical := range map[int]int{6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 11: 10, 12: 13, 13: 17, 14: 21, 15: 25, 16: 29, 20: 52, 25: 89} {
		if p := signedRank(withSum(n, critical)); p > 0.0505 { // some rows of the table are rounded to the nearest
			t.Errorf("n = %d, T = %d: p = %v", n, critical, p)
		}
		if p := signedRank(withSum(n, critical+1)); p <= 0.05 {
			t.Errorf("n = %d, T = %d: p = %v", n, critical+1, p)
		}
	}
}

// withSum makes n numbers whose negative ones have that sum of ranks.
func withSum(n, sum int) []float64 {
	x := make([]float64, n)
	for r := n; r >= 1; r-- {
		x[r-1] = float64(r)
		if r <= sum {
			x[r-1], sum = -x[r-1], sum-r
		}
	}
	return x
}

func TestSignedRankCornerCases(t *testing.T) {
	for name, c := range map[string]struct {
		x    []float64
		want float64
	}{
		"none":                {nil, 1},
		"no difference":       {[]float64{0, 0, 0, 0, 0}, 1},
		"one pair":            {[]float64{1}, 1},
		"twelve agree":        {withSum(12, 0), 2. / 4096},
		"all the same size":   {[]float64{1, 1, 1, 1, 1}, 2. / 32}, // the sign test
		"same size, one away": {[]float64{1, 1, 1, 1, -1}, 2 * 6. / 32},
		// Ranks 1.5 1.5 (the zeros) 3 4 5: all five signs agree of the three that have one.
		"zeros": {[]float64{0, 0, 1, 2, 3}, 2. / 8},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(c.x)
			if got := signedRank(c.x); math.Abs(got-c.want) > 1e-12 {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if !slices.Equal(before, c.x) {
				t.Errorf("the input was changed to %v", c.x)
			}
		})
	}
}

// Every sign pattern is as likely as any other when there is no difference, so the test counts them: with ties and zeros too.
func TestSignedRankIsTheCountOfSignPatterns(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	for range 40 {
		n := 1 + rng.IntN(10)
		x := make([]float64, n)
		for i := range x {
			x[i] = float64(rng.IntN(9) - 4)
		}
		ranks, plus := doubledRanks(x)
		total := 0
		for _, r := range ranks {
			total += r
		}
		as := 0
		for signs := range 1 << len(ranks) {
			sum := 0
			for i, r := range ranks {
				if signs>>i&1 == 1 {
					sum += r
				}
			}
			if math.Abs(float64(2*sum-total)) >= math.Abs(float64(2*plus-total)) {
				as++
			}
		}
		if want := float64(as) / float64(int(1)<<len(ranks)); math.Abs(signedRank(x)-want) > 1e-12 {
			t.Errorf("%v: got %v, want %v", x, signedRank(x), want)
		}
	}
}

func TestNormalTailsMeetTheExactOnes(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for range 50 {
		x := make([]float64, exactPairs)
		for i := range x {
			x[i] = math.Round(10*(rng.NormFloat64()+0.2)) / 10 // ties and zeros
		}
		ranks, plus := doubledRanks(x)
		total := 0
		for _, r := range ranks {
			total += r
		}
		exact, near := signedRank(x), normalTails(float64(min(plus, total-plus)), ranks)
		if math.Abs(exact-near) > 0.003 {
			t.Errorf("exact %v, normal %v", exact, near)
		}
	}
}

func TestPairsToTell(t *testing.T) {
	for family, want := range map[int]int{1: 6, 26: 11, 52: 12, 102: 12, 103: 13, 150: 13} {
		if got := pairsToTell(family); got != want {
			t.Errorf("a family of %d needs %d pairs, want %d", family, got, want)
		}
	}
}
