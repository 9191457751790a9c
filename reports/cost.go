package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// cost is what the detour costs a workload on one path, from the comparison of the median steady round trip.
type cost struct {
	Workload       string
	Path, Baseline string
	Comparison     result.Comparison
	Words          string // what the verdict means
	BaseNS, NS     int64
}

// onlyByNumber says that a comparison would tell a difference if it were the only one: its interval excludes 1, and it is
// the p-value adjusted for the number of comparisons that does not hold.
func onlyByNumber(c result.Comparison) bool {
	return c.Verdict == "inconclusive" && (c.CI95[0] > 1 || c.CI95[1] < 1) && c.PAdjusted >= 0.05
}

// verdictWords says what the verdict of a comparison means that is one of n.
func verdictWords(c result.Comparison, n int) string {
	switch {
	case c.Verdict == "inconclusive" && c.NeedsPairs > 0:
		return fmt.Sprintf("needs %s of windows to tell anything among %s", plural(c.NeedsPairs, "more pair"), plural(n, "comparison"))
	case onlyByNumber(c):
		return fmt.Sprintf("not significant among %s (p = %s)", plural(n, "comparison"), significant(c.PAdjusted))
	case c.Verdict == "inconclusive":
		return "too few or too noisy windows to tell"
	case c.Verdict == "equivalent":
		return "no difference that matters"
	default:
		return c.Verdict
	}
}

// doubts explains each round trip of a workload that is called inconclusive although its interval excludes 1, or that had too few
// pairs of windows to be called anything else.
func doubts(w result.Workload) []remark {
	var out []remark
	for _, c := range w.Comparisons {
		if c.Metric != result.PhaseSteady+".p50" {
			continue
		}
		switch {
		case onlyByNumber(c):
			out = append(out, remark{Paths: []string{c.Candidate}, Text: "inconclusive although the interval excludes 1: " + verdictWords(c, len(w.Comparisons))})
		case c.Verdict == "inconclusive" && c.NeedsPairs > 0:
			out = append(out, remark{Paths: []string{c.Candidate}, Text: verdictWords(c, len(w.Comparisons))})
		}
	}
	return out
}

func costs(run *result.Run) []cost {
	var out []cost
	if run.Bench == nil || invalid(run) {
		return nil
	}
	for _, w := range run.Bench.Workloads {
		for _, c := range w.Comparisons {
			if c.Metric == result.PhaseSteady+".p50" {
				out = append(out, cost{
					Workload: w.Name, Path: c.Candidate, Baseline: c.Baseline, Comparison: c, Words: verdictWords(c, len(w.Comparisons)),
					BaseNS: armOf(w, c.Baseline).Phases[result.PhaseSteady].P50NS, NS: armOf(w, c.Candidate).Phases[result.PhaseSteady].P50NS,
				})
			}
		}
	}
	return out
}

func armOf(w result.Workload, path string) result.Arm {
	for _, a := range w.Arms {
		if a.Path == path {
			return a
		}
	}
	return result.Arm{}
}

// remark is a line that the figures of some arms of a workload must not be read without.
type remark struct {
	Paths  []string
	Text   string
	Errors bool // it is about the errors of an arm
}

func (r remark) String() string { return strings.Join(r.Paths, ", ") + ": " + r.Text }

// remarks are the notes of a workload, one that several arms share once, and of each arm's errors how many and the first.
func remarks(w result.Workload) []remark {
	var out []remark
	for _, a := range w.Arms {
		if len(a.ErrorSamples) > 0 {
			out = append(out, remark{[]string{a.Path}, fmt.Sprintf("%s, such as: %s", plural(int(a.Errors), "error"), a.ErrorSamples[0]), true})
		}
	}
	for _, a := range w.Arms {
		for _, note := range a.Notes {
			if i := slices.IndexFunc(out, func(r remark) bool { return r.Text == note }); i >= 0 {
				out[i].Paths = append(out[i].Paths, a.Path)
			} else {
				out = append(out, remark{[]string{a.Path}, note, false})
			}
		}
	}
	return out
}

// reading says how the figures of a measurement are to be read, in every format alike.
const reading = "A round trip counts from the planned instant, service from when the request was really sent: what lies between is the load generator's own wake-up. " + verdictReading

// verdictReading is the part of it that a table without service times wants.
const verdictReading = "A path is called slower or faster only when the interval excludes 1 and the difference also holds against the number of comparisons made."

// scarcity explains percentileText where it has no value to give.
const scarcity = "“needs N more”: too few samples for a 95 % interval of this percentile, so that it means nothing yet."

// scarce says whether an arm lacks samples for any of these percentiles of the round trip, or for the median of another phase
// beside them.
func scarce(run *result.Run, stats ...string) bool {
	for _, w := range run.Bench.Workloads {
		for _, a := range w.Arms {
			for _, stat := range stats {
				if p, ok := a.Phases[result.PhaseSteady]; ok && missing(p, stat) {
					return true
				}
			}
			for _, phase := range []string{result.PhaseService, result.PhaseConnect} {
				if p, ok := a.Phases[phase]; ok && missing(p, "p50") {
					return true
				}
			}
		}
	}
	return false
}

func missing(p result.Phase, stat string) bool {
	_, n := percentile(p, stat)
	return n > 0
}
