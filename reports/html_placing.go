package reports

import (
	"fmt"
	"math"
	"slices"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// placing is the arms of a workload in the order of their median, on one axis: where our router stands among its peers.
type placing struct {
	Phase string
	Axis  []tick
	Rows  []placingRow
}

type placingRow struct {
	Place                 int
	Path, Product         string
	Index                 int
	P50, P99              string // text
	At, From, To, Tail    string // on the axis; From and To empty without an interval, Tail without enough samples
	PerS, ErrorText, Desc string
}

// newPlacing is nil where no arm has a peer.
func newPlacing(w result.Workload) *placing {
	if !slices.ContainsFunc(w.Arms, func(a result.Arm) bool { return a.Peer != "" }) {
		return nil
	}
	phase := mainPhaseOf(w)
	type armAt struct {
		result.Arm
		look int
	}
	var arms []armAt
	lo, hi := math.Inf(1), 0.0
	for i, a := range w.Arms {
		p := a.Phases[phase]
		if p.Count == 0 || p.P50NS <= 0 {
			continue
		}
		arms = append(arms, armAt{a, seriesLook(i)})
		lo, hi = min(lo, float64(p.P50NS)), max(hi, float64(p.P50NS), float64(p.CI95NS["p50"][1]))
		if from := p.CI95NS["p50"][0]; from > 0 {
			lo = min(lo, float64(from))
		}
		if p99, lacking := percentile(p, "p99"); lacking == 0 {
			hi = max(hi, float64(p99))
		}
	}
	if len(arms) == 0 {
		return nil
	}
	slices.SortStableFunc(arms, func(a, b armAt) int { return int(a.Phases[phase].P50NS - b.Phases[phase].P50NS) })
	lo, hi = lo/1.1, hi*1.1
	at := func(ns int64) float64 {
		return min(max((math.Log(float64(ns))-math.Log(lo))/(math.Log(hi)-math.Log(lo)), 0), 1)
	}
	out := &placing{Phase: phaseName(phase)}
	last := math.Inf(-1)
	for _, t := range roundTimes {
		if t < lo || t > hi {
			continue
		}
		if x := at(int64(t)); x-last > 0.17 && x < 0.97 {
			out.Axis = append(out.Axis, tick{At: percent(x), Label: duration(int64(t)), Minor: len(out.Axis)%2 == 1})
			last = x
		}
	}
	for i, a := range arms {
		p := a.Phases[phase]
		row := placingRow{
			Place: i + 1, Path: a.Path, Product: a.Peer, Index: a.look, P50: percentileText(p, "p50"), P99: percentileText(p, "p99"),
			At: percent(at(p.P50NS)), PerS: rateText(a.ThroughputPerS), ErrorText: grouped(a.Errors),
		}
		row.Desc = fmt.Sprintf("%s: p50 %s, p99 %s", a.Path, row.P50, row.P99)
		if ci := p.CI95NS["p50"]; ci[0] > 0 {
			row.From, row.To = percent(at(ci[0])), percent(at(ci[1]))
			row.Desc += fmt.Sprintf("; interval of p50 from %s to %s", duration(ci[0]), duration(ci[1]))
		}
		if p99, lacking := percentile(p, "p99"); lacking == 0 && p99 > 0 {
			row.Tail = percent(at(p99))
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}
