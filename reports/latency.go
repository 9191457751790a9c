package reports

import (
	"fmt"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// latencyRow is one phase of one arm as the summaries show it: its percentiles, and the comparisons of them with the baseline path.
type latencyRow struct {
	Workload, What string
	Arm            result.Arm
	Phase          result.Phase
	P50, P99       *result.Comparison // nil for the baseline, and where samples lack
}

// whatNames are shorter than those of phases, for a column.
var whatNames = map[string]string{result.PhaseSteady: "round trip", result.PhaseService: "service", result.PhaseConnect: "new tunnel", result.PhaseClose: "close"}

func latencies(run *result.Run, phases ...string) []latencyRow {
	var out []latencyRow
	for _, w := range run.Bench.Workloads {
		for _, a := range w.Arms {
			shown := false
			for _, phase := range phases {
				if p, ok := a.Phases[phase]; ok && p.Count > 0 {
					out = append(out, latencyRow{w.Name, whatNames[phase], a, p, comparisonOf(w, a.Path, phase+".p50"), comparisonOf(w, a.Path, phase+".p99")})
					shown = true
				}
			}
			if !shown { // an arm without an answer must not be missing from the table
				out = append(out, latencyRow{Workload: w.Name, What: "–", Arm: a})
			}
		}
	}
	return out
}

// value is a percentile, "–" where nothing was measured.
func (r latencyRow) value(stat string) string {
	if r.Phase.Count == 0 {
		return "–"
	}
	return percentileText(r.Phase, stat)
}

// interval is that of a percentile, empty where there is none.
func (r latencyRow) interval(stat string) string {
	ci, ok := r.Phase.CI95NS[stat]
	if _, missing := percentile(r.Phase, stat); !ok || missing > 0 {
		return ""
	}
	return duration(ci[0]) + " to " + duration(ci[1])
}

func ratioInterval(c *result.Comparison) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s (%s to %s)", ratio(c.Ratio), ratio(c.CI95[0]), ratio(c.CI95[1]))
}

func verdictOf(c *result.Comparison) string {
	if c == nil {
		return ""
	}
	return c.Verdict
}

// compareRows are the comparisons of a measurement that a summary has room for.
func compareRows(run *result.Run) [][]string {
	var rows [][]string
	for _, w := range run.Bench.Workloads {
		for _, a := range w.Arms {
			for _, m := range comparedMetrics {
				if c := comparisonOf(w, a.Path, m.phase+"."+m.stat); c != nil {
					rows = append(rows, []string{
						w.Name, a.Path, whatNames[m.phase] + " " + m.stat, ratio(c.Ratio), ratio(c.CI95[0]) + " to " + ratio(c.CI95[1]), signed(c.DeltaNS), c.Verdict,
					})
				}
			}
			if c := comparisonOf(w, a.Path, "throughput"); c != nil {
				rows = append(rows, []string{
					w.Name, a.Path, "answers a second", ratio(c.Ratio), ratio(c.CI95[0]) + " to " + ratio(c.CI95[1]), throughputs(w, c), c.Verdict,
				})
			}
		}
	}
	return rows
}

// throughputs are those of the two arms of a comparison.
func throughputs(w result.Workload, c *result.Comparison) string {
	rates := map[string]float64{}
	for _, a := range w.Arms {
		rates[a.Path] = a.ThroughputPerS
	}
	return fmt.Sprintf("%s for %s", rateText(rates[c.Candidate]), rateText(rates[c.Baseline]))
}

// isRate says of a metric that more of it is better.
func isRate(metric string) bool { return metric == "bytes_per_s" || metric == "throughput" }

// gatesText counts the conditions of a measurement that may be believed; empty where none were kept.
func gatesText(v result.Validity) string {
	holds, fails, advice := 0, 0, 0
	for _, g := range v.Gates {
		switch {
		case g.OK:
			holds++
		case g.Advisory:
			advice++
		default:
			fails++
		}
	}
	if len(v.Gates) == 0 {
		return ""
	}
	return fmt.Sprintf("validity: %s, %d hold, %d fail, %d only advise", plural(len(v.Gates), "condition"), holds, fails, advice)
}
