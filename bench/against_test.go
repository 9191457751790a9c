package bench

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// M. Hollander and D. A. Wolfe, 1973, table 4.1, permeability of membranes: W = 35 of 10 and 5, two-sided exact p 0.2544; and the
// tied example is the formula worked by hand: U = 4 of 5 and 5, three ties of two, variance 25/12 · (11 - 18/90) = 22.5.
func TestRankSum(t *testing.T) {
	x := []float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}
	y := []float64{1.15, 0.88, 0.90, 0.74, 1.21}
	if got := rankSum(x, y); math.Abs(got-0.2544) > 0.01 {
		t.Errorf("got %v, want about 0.2544", got)
	}
	z := (12.5 - 4 - 0.5) / math.Sqrt(22.5)
	if got, want := rankSum([]float64{1, 2, 2, 3, 4}, []float64{3, 4, 5, 6, 2.5}), 2*normalCDF(-z); math.Abs(got-want) > 1e-9 {
		t.Errorf("with ties: got %v, want about %v", got, want)
	}
	if got := rankSum([]float64{1, 1, 1}, []float64{1, 1, 1}); got != 1 {
		t.Errorf("all the same: %v", got)
	}
}

// earlierAndNow are two runs of the same plan, the second with its detour slower by a factor.
func earlierAndNow(rng *rand.Rand, factor, machine float64) (then *result.Run, now *result.Bench) {
	made := func(detour, machine float64) *result.Bench {
		series := func(ns float64) (list []result.WindowSample) {
			list = append(list, result.WindowSample{Pair: -1, Phase: result.PhaseSteady, P50NS: 1, P99NS: 1, Warmup: true}, result.WindowSample{Phase: result.PhaseSteady, P50NS: 1, P99NS: 1, Excluded: true})
			for i := range 12 {
				p50 := ns * machine * math.Exp(0.03*rng.NormFloat64())
				list = append(list, result.WindowSample{Pair: i, Phase: result.PhaseSteady, P50NS: int64(p50), P99NS: int64(3 * p50)})
			}
			return list
		}
		return &result.Bench{Equivalence: 0.05, Workloads: []result.Workload{{
			Name: "echo",
			Arms: []result.Arm{{Path: "direct", Series: series(1e6)}, {Path: "detour", Series: series(2e6 * detour)}},
			Comparisons: []result.Comparison{
				{Baseline: "direct", Candidate: "detour", Metric: "steady_rtt.p50", Ratio: 2 * detour, CI95: [2]float64{1.97 * detour, 2.04 * detour}, Pairs: 12},
				{Baseline: "direct", Candidate: "detour", Metric: "upgrade.p90", Ratio: 1, CI95: [2]float64{1, 1}, Pairs: 12},
			},
		}}}
	}
	return &result.Run{Run: result.Info{ID: "before", Host: result.Host{Name: "a"}}, Bench: made(1, 1)}, made(factor, machine)
}

func TestAgainstAnEarlierReport(t *testing.T) {
	t.Parallel()
	here, elsewhere := result.Host{Name: "a"}, result.Host{Name: "b"}
	for name, c := range map[string]struct {
		factor, machine float64
		host            result.Host
		verdicts        string // direct p50, detour p50, ratio p50
		regressions     int
	}{
		"the same":                     {1, 1, here, "equivalent equivalent equivalent", 0},
		"slower detour":                {1.3, 1, here, "equivalent slower slower", 3}, // p50, p99 and the ratio
		"slower within the threshold":  {1.08, 1, here, "equivalent slower slower", 0},
		"faster detour":                {0.7, 1, here, "equivalent faster faster", 0},
		"slower machine":               {1, 1.5, elsewhere, "slower slower equivalent", 0},
		"the same machine, but slower": {1, 1.5, here, "slower slower equivalent", 4},
		"slower detour elsewhere":      {1.3, 1, elsewhere, "equivalent slower slower", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			then, now := earlierAndNow(rand.New(rand.NewPCG(4, 4)), c.factor, c.machine)
			got := Against(now, c.host, then)
			found := map[string]string{}
			regressions := 0
			for _, ch := range got.Changes {
				found[ch.Path+" "+ch.Metric] = ch.Verdict
				if ch.Regression {
					regressions++
				}
				if !(ch.CI95[0] <= ch.Ratio && ch.Ratio <= ch.CI95[1]) {
					t.Errorf("%+v", ch)
				}
			}
			all := strings.Join([]string{found["direct steady_rtt.p50"], found["detour steady_rtt.p50"], found["detour ratio steady_rtt.p50"]}, " ")
			if all != c.verdicts || regressions != c.regressions || len(got.Changes) != 5 || got.SameHost != (c.host == here) {
				t.Errorf("%s, %d regressions: %+v", all, regressions, got)
			}
			run := result.Run{Bench: now}
			run.Bench.Validity.OK, run.Bench.Against = true, got
			if status := run.Judge(); (status == result.ExitFailed) != (c.regressions > 0) {
				t.Errorf("status %d with %d regressions", status, c.regressions)
			}
			run.Bench.Validity.OK = false
			if status := run.Judge(); status == result.ExitFailed {
				t.Error("a measurement that is not valid fails the run")
			}
		})
	}
}

func TestAgainstFindsLittleBetweenEqualRuns(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	claims, regressions := 0, 0
	const runs = 100
	for range runs {
		then, now := earlierAndNow(rng, 1, 1)
		now.Workloads[0].Comparisons, now.Equivalence = nil, 1e-9 // nothing is equivalent by that
		claimed := false
		for _, c := range Against(now, result.Host{Name: "a"}, then).Changes {
			claimed = claimed || c.Verdict == "slower" || c.Verdict == "faster"
			if c.Regression {
				regressions++
			}
		}
		if claimed {
			claims++
		}
	}
	t.Logf("%d of %d equal runs have a change, %d regressions", claims, runs, regressions)
	if claims > 10 || regressions > 0 {
		t.Errorf("%d of %d equal runs have a change, %d regressions", claims, runs, regressions)
	}
}

func TestAgainstAReportWithoutAMeasurement(t *testing.T) {
	_, now := earlierAndNow(rand.New(rand.NewPCG(1, 1)), 1, 1)
	if got := Against(now, result.Host{}, &result.Run{}); len(got.Changes) != 0 {
		t.Errorf("%+v", got)
	}
}
