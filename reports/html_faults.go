package reports

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// markedFault is a fault with its place on a time axis; at is negative when that lies elsewhere.
type markedFault struct {
	result.Fault
	at int64
}

// faultsWithin keeps the order of the run: a fault has the same number in every workload.
func faultsWithin(faults []result.Fault, s *timeScale) []markedFault {
	out := make([]markedFault, len(faults))
	for i, f := range faults {
		out[i] = markedFault{f, -1}
		if f.Injected && f.InjectedNS >= s.from && f.InjectedNS <= s.to {
			out[i].at = f.InjectedNS
		}
	}
	return out
}

// faultMarks are the marks of an arm. Those that would touch are one mark with several numbers.
func faultMarks(faults []markedFault, path string, s *timeScale) (marks []timeMark, strikes []string) {
	type group struct {
		x            float64
		numbers, say []string
	}
	var groups []group
	for i, f := range faults {
		if f.at < 0 || !slices.Contains(f.Paths, path) {
			continue
		}
		x := s.x(f.at)
		at := slices.IndexFunc(groups, func(g group) bool { return x-g.x < 0.025 && g.x-x < 0.025 })
		if at < 0 {
			at = len(groups)
			groups = append(groups, group{x: x})
		}
		groups[at].numbers = append(groups[at].numbers, strconv.Itoa(i+1))
		groups[at].say = append(groups[at].say, duration(f.at)+": "+faultWhat(f.Fault))
		for _, k := range f.Strikes {
			if x := percent(s.x(k.AtNS)); k.Path == path && k.AtNS >= s.from && k.AtNS <= s.to && !slices.Contains(strikes, x) {
				strikes = append(strikes, x)
			}
		}
	}
	for _, g := range groups {
		marks = append(marks, timeMark{percent(g.x), strings.Join(g.numbers, ", "), strings.Join(g.say, "; ")})
	}
	return marks, strikes
}
