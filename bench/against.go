package bench

import (
	"math"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// regressionThreshold is how much slower something must have become, beyond the noise of both runs, to fail this one. The windows of
// a run know nothing of what differs from run to run (the layout of memory, the placement of threads, the clock of the processor that
// day), which moves medians by some per cent.
const regressionThreshold = 0.10

// The phases and percentiles that are compared: few, and named before, for all of them are one family.
var (
	againstPhases    = []string{result.PhaseConnect, result.PhaseSteady}
	againstQuantiles = []string{"p50", "p99"}
)

// Against compares a measurement with that of an earlier report, then.
//
// Of each arm, the percentiles of the windows now and then are two samples: Hodges and Lehmann's shift of their logarithms with a
// bootstrap interval, and Mann and Whitney's test. Of each arm against the baseline arm, the stored ratios are compared by their
// intervals: a slower machine moves both arms and so the ratio less, which is why on another machine only ratios can fail the run.
// All of it is one family (family.go).
func Against(now *result.Bench, nowHost result.Host, then *result.Run) *result.Against {
	out := &result.Against{
		Run: then.Run.ID, Started: then.Run.Started.UTC().Format("2006-01-02T15:04:05Z"), Commit: then.Run.Commit, Threshold: regressionThreshold,
		SameHost: nowHost.Name == then.Run.Host.Name && nowHost.CPU == then.Run.Host.CPU && nowHost.CPUs == then.Run.Host.CPUs && nowHost.Memory == then.Run.Host.Memory,
		Changes:  []result.Change{},
	}
	if then.Bench == nil {
		return out
	}
	var family []float64
	var absolute []bool
	add := func(c result.Change, p float64, abs bool) {
		out.Changes, family, absolute = append(out.Changes, c), append(family, p), append(absolute, abs)
	}
	names := map[string]int{}
	for i := range now.Workloads {
		w := &now.Workloads[i]
		names[w.Name]++
		old := nthWorkload(then.Bench.Workloads, w.Name, names[w.Name])
		if old == nil {
			continue
		}
		for j := range w.Arms {
			if b := armNamed(old, w.Arms[j].Path); b != nil {
				changesOfArm(w.Name, &w.Arms[j], b, add)
			}
		}
		for _, c := range w.Comparisons {
			changeOfRatio(w.Name, c, old, add)
		}
	}
	delta := now.Equivalence
	setDefault(&delta, DefaultEquivalence)
	for i, p := range holm(family) {
		c := &out.Changes[i]
		c.PAdjusted = p
		c.Verdict = verdict(c.CI95[0], c.CI95[1], minPairs, p, delta) // there are no changes with fewer
		c.Regression = c.Verdict == "slower" && c.Ratio > 1+regressionThreshold && (out.SameHost || !absolute[i])
	}
	return out
}

func nthWorkload(list []result.Workload, name string, n int) *result.Workload {
	for i := range list {
		if list[i].Name == name {
			if n--; n == 0 {
				return &list[i]
			}
		}
	}
	return nil
}

func armNamed(w *result.Workload, path string) *result.Arm {
	for i := range w.Arms {
		if w.Arms[i].Path == path {
			return &w.Arms[i]
		}
	}
	return nil
}

// changesOfArm are those of what its series are of; none when one of the reports has no series.
func changesOfArm(workload string, now, then *result.Arm, add func(result.Change, float64, bool)) {
	for _, phase := range againstPhases {
		for _, q := range againstQuantiles {
			x, y := logSeries(then.Series, phase, q), logSeries(now.Series, phase, q)
			if min(len(x), len(y)) < minPairs {
				continue
			}
			metric := phase + "." + q
			e := shift(x, y, minResamples, stream(0, "%s/%s/%s/against", workload, now.Path, metric))
			add(result.Change{
				Workload: workload, Path: now.Path, Metric: metric,
				Ratio: math.Exp(e.value), CI95: [2]float64{math.Exp(e.lo), math.Exp(e.hi)},
			}, rankSum(x, y), true)
		}
	}
}

func logSeries(list []result.WindowSample, phase, q string) []float64 {
	var out []float64
	for _, s := range list {
		ns := s.P50NS
		if q == "p99" {
			ns = s.P99NS
		}
		if s.Phase == phase && !s.Excluded && !s.Warmup && ns > 0 {
			out = append(out, math.Log(float64(ns)))
		}
	}
	return out
}

// changeOfRatio takes the difference of two estimates with intervals of their own, which need not be symmetric: the distances to the
// ends that face each other add up by their squares (G. Y. Zou and A. Donner, 2008).
func changeOfRatio(workload string, now result.Comparison, old *result.Workload, add func(result.Change, float64, bool)) {
	if !againstMetric(now.Metric) {
		return
	}
	for _, then := range old.Comparisons {
		if then.Metric != now.Metric || then.Baseline != now.Baseline || then.Candidate != now.Candidate || min(then.Pairs, now.Pairs) < minPairs {
			continue
		}
		if !(min(then.CI95[0], now.CI95[0]) > 0) {
			return // no ratio of latencies: a file that was changed by hand
		}
		a, b := math.Log(now.Ratio), math.Log(then.Ratio)
		d := a - b
		down := math.Hypot(a-math.Log(now.CI95[0]), math.Log(then.CI95[1])-b)
		up := math.Hypot(math.Log(now.CI95[1])-a, b-math.Log(then.CI95[0]))
		p, toOne := 1.0, down // the distance from the estimate towards a ratio of 1
		if d < 0 {
			toOne = up
		}
		if toOne > 0 {
			p = min(1, 2*normalCDF(-math.Abs(d)/toOne*1.959963984540054))
		}
		add(result.Change{
			Workload: workload, Path: now.Candidate, Metric: "ratio " + now.Metric,
			Ratio: math.Exp(d), CI95: [2]float64{math.Exp(d - down), math.Exp(d + up)},
		}, p, false)
		return
	}
}

func againstMetric(metric string) bool {
	for _, phase := range againstPhases {
		for _, q := range againstQuantiles {
			if metric == phase+"."+q {
				return true
			}
		}
	}
	return false
}
