package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// tick is a place on an axis, in per cent of the plot, and its label. A minor one goes without where room is short.
type tick struct {
	At, Label string
	Minor     bool
}

// curveChart is the distribution of one phase on every arm from the median up: the share of samples on a logarithmic axis
// of 1/(1-q), so that each nine has the same room, against milliseconds.
type curveChart struct {
	ID, Title, Desc string
	X, Y            []tick
	Series          []curveSeries
	LogY            bool
}

// curveSeries is one arm. Index chooses colour, dash and marker together: colour is never the only sign.
type curveSeries struct {
	Name, Points string // Points in the 1000 × 1000 space of the plot
	Index        int
	Markers      []curveMarker
}

type curveMarker struct{ X, Y, Label string }

// Percentiles that the axis names, up to as many nines as there are samples for.
var axisQuantiles = []struct {
	q     float64
	label string
	stat  string
}{{0.5, "50 %", "p50"}, {0.9, "90 %", "p90"}, {0.99, "99 %", "p99"}, {0.999, "99.9 %", "p999"}, {0.9999, "99.99 %", ""}}

func newCurveChart(id string, w result.Workload, phase string) *curveChart {
	c := &curveChart{ID: id, Title: fmt.Sprintf("%s: %s by percentile", w.Name, phaseName(phase))}
	type armCurve struct {
		arm    result.Arm
		index  int
		points []result.Point
	}
	var arms []armCurve
	lo, hi, nines := math.Inf(1), 0.0, 0.0
	var desc []string
	for i, a := range w.Arms {
		p, ok := a.Phases[phase]
		if !ok || p.Count == 0 {
			continue
		}
		points := curvePoints(p)
		if len(points) < 2 {
			continue
		}
		for _, pt := range points {
			lo, hi = min(lo, float64(max(pt.NS, 1))), max(hi, float64(pt.NS))
			nines = max(nines, ninesOf(pt.Quantile))
		}
		arms = append(arms, armCurve{a, i, points})
		desc = append(desc, fmt.Sprintf("%s: p50 %s, p90 %s, p99 %s", a.Path, percentileText(p, "p50"), percentileText(p, "p90"), percentileText(p, "p99")))
	}
	if len(arms) == 0 || hi <= 0 {
		return nil
	}
	c.Desc = strings.Join(desc, ". ") + "."
	ticks, bottom, top, logY := yAxis(lo, hi)
	c.LogY = logY
	y := func(ns float64) float64 {
		if logY {
			return 1 - (math.Log(max(ns, bottom))-math.Log(bottom))/(math.Log(top)-math.Log(bottom))
		}
		return 1 - (ns-bottom)/(top-bottom)
	}
	half := ninesOf(0.5)
	x := func(q float64) float64 { return (ninesOf(q) - half) / (nines - half) }
	for _, t := range ticks {
		c.Y = append(c.Y, tick{At: percent(y(t)), Label: strconv.FormatFloat(float64(float32(t/1e6)), 'f', -1, 32)})
	}
	for _, q := range axisQuantiles {
		if ninesOf(q.q) <= nines*1.001 {
			c.X = append(c.X, tick{At: percent(x(q.q)), Label: q.label})
		}
	}
	for _, a := range arms {
		s := curveSeries{Name: a.arm.Path, Index: a.index % 6}
		var b strings.Builder
		for _, pt := range a.points {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(pt.Quantile)*1000, y(float64(pt.NS))*1000)
		}
		s.Points = strings.TrimSpace(b.String())
		p := a.arm.Phases[phase]
		for _, q := range axisQuantiles {
			ns, missing := percentile(p, q.stat)
			if q.stat == "" || missing > 0 || ninesOf(q.q) > nines*1.001 {
				continue
			}
			s.Markers = append(s.Markers, curveMarker{percent(x(q.q)), percent(y(min(float64(ns), top))), fmt.Sprintf("%s %s: %s", a.arm.Path, q.label, duration(ns))})
		}
		c.Series = append(c.Series, s)
	}
	return c
}

// ninesOf is the place of a quantile on the axis: 0.9 is 1, 0.99 is 2.
func ninesOf(q float64) float64 {
	if q >= 1 {
		return math.Inf(1)
	}
	return -math.Log10(1 - max(q, 0))
}

// curvePoints is the curve from the median as far as there are samples for it, at most four nines; without a curve, the
// percentiles.
func curvePoints(p result.Phase) []result.Point {
	points := p.Curve
	if len(points) == 0 {
		points = []result.Point{{Quantile: 0.9, NS: p.P90NS}, {Quantile: 0.99, NS: p.P99NS}, {Quantile: 0.999, NS: p.P999NS}}
	}
	last := min(1-1/float64(max(p.Count, 2)), 0.9999)
	out := []result.Point{{Quantile: 0.5, NS: p.P50NS}}
	for _, pt := range points {
		if pt.Quantile > 0.5 && pt.Quantile <= last+1e-9 {
			out = append(out, pt)
		}
	}
	return out
}

// yAxis chooses round values around lo..hi. A range of more than thirty is shown on a logarithmic axis, or the faster arm
// would lie on the floor.
func yAxis(lo, hi float64) (ticks []float64, bottom, top float64, logarithmic bool) {
	if hi/lo > 30 {
		steps := []float64{1, 2, 5}
		if hi/lo > 300 {
			steps = []float64{1}
		}
		for decade := math.Pow(10, math.Floor(math.Log10(lo))); len(ticks) == 0 || ticks[len(ticks)-1] < hi; decade *= 10 {
			for _, m := range steps {
				if t := decade * m; len(ticks) == 0 || ticks[len(ticks)-1] < hi {
					if t <= lo {
						ticks = ticks[:0] // a higher floor has been found
					}
					ticks = append(ticks, t)
				}
			}
		}
		return ticks, ticks[0], ticks[len(ticks)-1], true
	}
	step := math.Pow(10, math.Floor(math.Log10(hi/4)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if hi/(step*m) <= 5 {
			step *= m
			break
		}
	}
	n := int(math.Ceil(hi/step - 1e-9))
	for i := 0; i <= n; i++ {
		ticks = append(ticks, float64(i)*step)
	}
	return ticks, 0, float64(n) * step, false
}
