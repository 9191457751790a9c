package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHodgesLehmann(t *testing.T) {
	for name, c := range map[string]struct {
		x    []float64
		want float64
	}{
		"one":         {[]float64{3}, 3},
		"two":         {[]float64{1, 2}, 1.5},
		"symmetric":   {[]float64{5, 1, 4, 2, 3}, 3},
		"one is wild": {[]float64{1, 2, 3, 4, 1000}, 3}, // Walsh averages: the eighth of fifteen
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(c.x)
			if got := hodgesLehmann(c.x); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if !slices.Equal(before, c.x) {
				t.Errorf("the input was changed to %v", c.x)
			}
		})
	}
}

func TestAResampleIsWeighedRight(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for n := 2; n <= 40; n++ {
		x := make([]float64, n)
		for i := range x {
			x[i] = float64(rng.IntN(50)) / 8 // ties, and exact sums
		}
		averages, times, sample := walshOf(x), make([]int, n), make([]float64, n)
		for range 20 {
			clear(times)
			for k := range sample {
				i := rng.IntN(n)
				times[i]++
				sample[k] = x[i]
			}
			if got, want := averages.median(times), hodgesLehmann(sample); got != want {
				t.Fatalf("%v: got %v, want %v", sample, got, want)
			}
		}
	}
}

func TestMedianAgreesWithSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := 1; n <= 60; n++ {
		x := make([]float64, n)
		for i := range x {
			x[i] = float64(rng.IntN(12)) // many ties
		}
		s := slices.Sorted(slices.Values(x))
		want := (s[(n-1)/2] + s[n/2]) / 2
		if got := median(x); got != want {
			t.Fatalf("median of %v: got %v, want %v", s, got, want)
		}
	}
}

func TestStudentQuantile(t *testing.T) {
	for df, want := range map[float64]float64{4: 2.7764, 9: 2.2622, 11: 2.2010, 23: 2.0687, 100: 1.9840} {
		if got := studentQuantile975(df); math.Abs(got-want) > 0.003*want {
			t.Errorf("t(0.975, %v) = %.4f, want %.4f", df, got, want)
		}
	}
}

// noise is what log ratios of windows look like on a shared machine: mostly normal, now and then far out.
func noise(rng *rand.Rand) float64 {
	s := 0.05
	if rng.IntN(10) == 0 {
		s = 0.25
	}
	return rng.NormFloat64() * s
}

func TestIntervalCoversTheTruthAndFindsTheRealDifference(t *testing.T) {
	t.Parallel()
	const runs, pairs, b = 200, 12, 2000
	for name, c := range map[string]struct {
		truth    float64
		excludes int // of the runs, the least in which the interval must exclude 1
	}{
		"A/A":        {1, 0},
		"ratio 1.2":  {1.2, runs * 95 / 100},
		"ratio 1/3.": {1. / 3, runs},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(42, uint64(c.truth*1000)))
			covered, excluded, wrongSide := 0, 0, 0
			for range runs {
				x := make([]float64, pairs)
				for i := range x {
					x[i] = math.Log(c.truth) + noise(rng)
				}
				e := bootstrap(x, b, rng)
				lo, hi := math.Exp(e.lo), math.Exp(e.hi)
				if !(lo <= math.Exp(e.value) && math.Exp(e.value) <= hi) {
					t.Fatalf("estimate %v outside of its interval [%v, %v]", math.Exp(e.value), lo, hi)
				}
				if lo <= c.truth && c.truth <= hi {
					covered++
				}
				if lo > 1 || hi < 1 {
					excluded++
				}
				if v := verdict(lo, hi, pairs, 0, DefaultEquivalence); (c.truth > 1 && v == "faster") || (c.truth < 1 && v == "slower") {
					wrongSide++
				}
			}
			t.Logf("covered %d of %d, excludes 1 in %d", covered, runs, excluded)
			if covered < runs*90/100 || excluded < c.excludes || wrongSide > 0 {
				t.Errorf("covered %d, excludes 1 in %d, on the wrong side %d, of %d", covered, excluded, wrongSide, runs)
			}
		})
	}
}

func TestBootstrapIsRepeatableAndNarrowsWithMorePairs(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 3))
	x := make([]float64, 300)
	for i := range x {
		x[i] = noise(rng)
	}
	if a, b := bootstrap(x[:12], 1000, stream(1, "s")), bootstrap(x[:12], 1000, stream(1, "s")); a != b {
		t.Errorf("same seed, other interval: %v, %v", a, b)
	}
	few, many := bootstrap(x[:12], 1000, stream(1, "s")), bootstrap(x, 1000, stream(1, "s"))
	if many.hi-many.lo > (few.hi-few.lo)/2 {
		t.Errorf("width %v with 12 pairs, %v with 300", few.hi-few.lo, many.hi-many.lo)
	}
}

func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		lo, hi float64
		pairs  int
		p      float64
		want   string
	}{
		"inside delta":             {0.98, 1.02, 12, 0.01, "equivalent"},
		"different yet negligible": {1.01, 1.02, 12, 0.01, "equivalent"},
		"above":                    {1.05, 1.2, 12, 0.01, "slower"},
		"above, reaching delta":    {1.01, 1.2, 12, 0.01, "slower"},
		"below":                    {0.5, 0.9, 12, 0.01, "faster"},
		"wide":                     {0.9, 1.2, 12, 0.01, "inconclusive"},
		"just out of delta":        {0.98, 1.04, 12, 0.01, "inconclusive"},
		"too few pairs":            {2, 3, 4, 0.01, "inconclusive"},
		"above, by chance":         {1.05, 1.2, 12, 0.05, "inconclusive"},
		"below, by chance":         {0.5, 0.9, 12, 0.3, "inconclusive"},
		"equivalent by chance too": {0.98, 1.02, 12, 1, "equivalent"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verdict(c.lo, c.hi, c.pairs, c.p, 0.03); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestQuantileIsComparedOnlyWithEnoughSamples(t *testing.T) {
	for q, want := range map[float64]int64{0.5: 5, 0.9: 29, 0.99: 299} {
		if got := enough(q); got != want {
			t.Errorf("enough(%v) = %d, want %d", q, got, want)
		}
	}
}

func BenchmarkBootstrap12(b *testing.B)  { benchmarkBootstrap(b, 12) }
func BenchmarkBootstrap192(b *testing.B) { benchmarkBootstrap(b, 192) }

func benchmarkBootstrap(b *testing.B, n int) {
	rng := rand.New(rand.NewPCG(1, 1))
	x := make([]float64, n)
	for i := range x {
		x[i] = noise(rng)
	}
	for b.Loop() {
		bootstrap(x, resamples, rng)
	}
}
