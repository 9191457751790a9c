package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// family draws a workload's log ratios: metrics that have most of their noise in common, as the quantiles of one window do,
// with a true effect on the first ones.
func family(rng *rand.Rand, metrics, pairs, affected int, effect float64) [][]float64 {
	x := make([][]float64, metrics)
	for m := range x {
		x[m] = make([]float64, pairs)
	}
	for k := range pairs {
		common := noise(rng)
		for m := range x {
			x[m][k] = 0.7*common + 0.7*noise(rng)
			if m < affected {
				x[m][k] += effect
			}
		}
	}
	return x
}

// verdicts is what compare makes of the log ratios, and what the intervals alone would.
func verdicts(x [][]float64, rng *rand.Rand) (corrected, alone []string) {
	raw := make([]float64, len(x))
	for m := range x {
		raw[m] = signedRank(x[m])
	}
	for m, p := range holm(raw) {
		e := bootstrap(x[m], 300, rng)
		lo, hi := math.Exp(e.lo), math.Exp(e.hi)
		corrected = append(corrected, verdict(lo, hi, len(x[m]), p, DefaultEquivalence))
		alone = append(alone, verdict(lo, hi, len(x[m]), 0, DefaultEquivalence))
	}
	return corrected, alone
}

func TestEqualPathsAreNotCalledSlowerOrFaster(t *testing.T) {
	t.Parallel()
	const runs, metrics, pairs = 200, 26, 12
	rng := rand.New(rand.NewPCG(7, 7))
	claims := func(list []string) bool { return slices.Contains(list, "slower") || slices.Contains(list, "faster") }
	wrong, uncorrected := 0, 0
	for range runs {
		corrected, alone := verdicts(family(rng, metrics, pairs, 0, 0), rng)
		if claims(corrected) {
			wrong++
		}
		if claims(alone) {
			uncorrected++
		}
	}
	t.Logf("of %d families %d have a false verdict, %d had one by their intervals alone", runs, wrong, uncorrected)
	if wrong > runs*5/100 {
		t.Errorf("%d of %d families have a false verdict", wrong, runs)
	}
	if uncorrected < 2*wrong+10 {
		t.Errorf("%d families by intervals alone: there was nothing to correct, so this proves nothing", uncorrected)
	}
}

func TestTrueDifferenceSurvivesTheCorrection(t *testing.T) {
	t.Parallel()
	const runs, metrics = 40, 24
	for name, c := range map[string]struct {
		pairs  int
		effect float64
		least  int // of the runs
	}{
		"1.5 over 12 pairs": {12, math.Log(1.5), runs * 80 / 100},
		"1.2 over 16 pairs": {16, math.Log(1.2), runs * 80 / 100},
		"1.2 over 30 pairs": {30, math.Log(1.2), runs},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(11, uint64(c.pairs)))
			found := 0
			for range runs {
				if corrected, _ := verdicts(family(rng, metrics, c.pairs, 6, c.effect), rng); corrected[0] == "slower" {
					found++
				}
			}
			t.Logf("found in %d of %d", found, runs)
			if found < c.least {
				t.Errorf("found in %d of %d, want %d", found, runs, c.least)
			}
		})
	}
}

func TestHolm(t *testing.T) {
	got, want := holm([]float64{0.01, 0.04, 0.03, 0.005, 0.9}), []float64{0.04, 0.09, 0.09, 0.025, 0.9}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-12 {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if got := holm(nil); len(got) != 0 {
		t.Errorf("got %v of nothing", got)
	}
}
