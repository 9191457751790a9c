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

// curveChart is the distribution of one phase on some arms from the median up: the share of samples on a logarithmic axis
// of 1/(1-q), so that each nine has the same room, against milliseconds.
type curveChart struct {
	ID, Title, Desc string
	Caption         string // Title without what the place on the page says already
	X, Y            []tick
	Series          []curveSeries
	LogY            bool
	Bands           bool // some series has an interval
}

// curveSeries is one arm. Index chooses colour, dash and marker together: colour is never the only sign.
type curveSeries struct {
	Name, Points string   // Points in the 1000 × 1000 space of the plot
	Bands        []string // polygons around the points that have an interval
	Index        int
	Markers      []curveMarker
}

type curveMarker struct{ X, Y, Label string }

// maxTogether is how many arms one chart bears. More are shown in a chart each, beside the baseline and on the same axes.
const maxTogether = 4

// seriesLook is the look of the i-th arm. None but the first has that of the first, which is the baseline.
func seriesLook(i int) int {
	if i == 0 {
		return 0
	}
	return 1 + (i-1)%5
}

// Percentiles that the axis names, up to as many nines as there are samples for.
var axisQuantiles = []struct {
	q     float64
	label string
	stat  string
}{{0.5, "50 %", "p50"}, {0.9, "90 %", "p90"}, {0.99, "99 %", "p99"}, {0.999, "99.9 %", "p999"}, {0.9999, "99.99 %", "p9999"}}

// curve is an arm as a chart needs it.
type curve struct {
	arm    result.Arm
	index  int
	points []result.Point
}

// newCurveCharts shows a phase of a workload; none when it was not measured.
func newCurveCharts(id string, w result.Workload, phase string) []*curveChart {
	var arms []curve
	s := &curveScale{lo: math.Inf(1)}
	for i, a := range w.Arms {
		p, ok := a.Phases[phase]
		if !ok || p.Count == 0 {
			continue
		}
		points := curvePoints(p)
		if len(points) < 2 {
			continue
		}
		s.take(points)
		arms = append(arms, curve{a, i, points})
	}
	if len(arms) == 0 || s.hi <= 0 {
		return nil
	}
	s.ticks, s.bottom, s.top, s.logY = yAxis(s.lo, s.hi)
	caption := upperFirst(phaseName(phase)) + " by percentile"
	title := fmt.Sprintf("%s: %s by percentile", w.Name, phaseName(phase))
	if len(arms) <= maxTogether {
		return []*curveChart{newCurveChart(id, title, caption, phase, arms, s)}
	}
	var out []*curveChart
	for i, c := range arms[1:] {
		out = append(out, newCurveChart(fmt.Sprintf("%s-%d", id, i), title+", "+c.arm.Path, upperFirst(phaseName(phase))+", "+c.arm.Path, phase, []curve{arms[0], c}, s))
	}
	return out
}

// curveScale is what the charts of one phase have in common.
type curveScale struct {
	lo, hi, nines float64
	ticks         []float64
	bottom, top   float64
	logY          bool
}

func (s *curveScale) take(points []result.Point) {
	for _, pt := range points {
		s.lo, s.hi = min(s.lo, float64(max(pt.NS, 1))), max(s.hi, float64(pt.NS), float64(pt.HiNS))
		if pt.LoNS > 0 {
			s.lo = min(s.lo, float64(pt.LoNS))
		}
		s.nines = max(s.nines, ninesOf(pt.Quantile))
	}
}

// x and y are the place of a value, from 0 to 1.
func (s *curveScale) x(q float64) float64 {
	half := ninesOf(0.5)
	return (ninesOf(q) - half) / (s.nines - half)
}

func (s *curveScale) y(ns float64) float64 { return heightOf(ns, s.bottom, s.top, s.logY) }

// heightOf is the place of a value on a y axis, from 0 at the top to 1.
func heightOf(v, bottom, top float64, logarithmic bool) float64 {
	if logarithmic {
		return 1 - (math.Log(max(v, bottom))-math.Log(bottom))/(math.Log(top)-math.Log(bottom))
	}
	return 1 - (v-bottom)/(top-bottom)
}

func newCurveChart(id, title, caption, phase string, arms []curve, s *curveScale) *curveChart {
	c := &curveChart{ID: id, Title: title, Caption: caption, LogY: s.logY}
	var desc []string
	for _, t := range s.ticks {
		c.Y = append(c.Y, tick{At: percent(s.y(t)), Label: milliseconds(t)})
	}
	for _, q := range axisQuantiles {
		if ninesOf(q.q) <= s.nines*1.001 {
			c.X = append(c.X, tick{At: percent(s.x(q.q)), Label: q.label})
		}
	}
	for _, a := range arms {
		p := a.arm.Phases[phase]
		desc = append(desc, fmt.Sprintf("%s: p50 %s, p90 %s, p99 %s", a.arm.Path, percentileText(p, "p50"), percentileText(p, "p90"), percentileText(p, "p99")))
		out := curveSeries{Name: a.arm.Path, Index: seriesLook(a.index), Bands: bands(a.points, s)}
		c.Bands = c.Bands || len(out.Bands) > 0
		var b strings.Builder
		for _, pt := range a.points {
			fmt.Fprintf(&b, "%.1f,%.1f ", s.x(pt.Quantile)*1000, s.y(float64(pt.NS))*1000)
		}
		out.Points = strings.TrimSpace(b.String())
		for _, q := range axisQuantiles {
			ns, missing := percentile(p, q.stat)
			if ns == 0 || missing > 0 || ninesOf(q.q) > s.nines*1.001 {
				continue
			}
			out.Markers = append(out.Markers, curveMarker{percent(s.x(q.q)), percent(s.y(min(float64(ns), s.top))), fmt.Sprintf("%s %s: %s", a.arm.Path, q.label, duration(ns))})
		}
		c.Series = append(c.Series, out)
	}
	c.Desc = strings.Join(desc, ". ") + "."
	return c
}

// milliseconds is a label of an axis whose caption names the unit.
func milliseconds(ns float64) string {
	return strconv.FormatFloat(float64(float32(ns/1e6)), 'f', -1, 32)
}

// bands are polygons around each run of points that have an interval: along the upper ends, and back along the lower.
func bands(points []result.Point, s *curveScale) []string {
	var out []string
	for i := 0; i < len(points); i++ {
		j := i
		for j < len(points) && points[j].LoNS > 0 && points[j].HiNS >= points[j].LoNS {
			j++
		}
		if j-i >= 2 {
			var b strings.Builder
			for _, pt := range points[i:j] {
				fmt.Fprintf(&b, "%.1f,%.1f ", s.x(pt.Quantile)*1000, s.y(float64(pt.HiNS))*1000)
			}
			for k := j - 1; k >= i; k-- {
				fmt.Fprintf(&b, "%.1f,%.1f ", s.x(points[k].Quantile)*1000, s.y(float64(points[k].LoNS))*1000)
			}
			out = append(out, strings.TrimSpace(b.String()))
		}
		i = j
	}
	return out
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
	half := p.CI95NS["p50"]
	out := []result.Point{{Quantile: 0.5, NS: p.P50NS, LoNS: half[0], HiNS: half[1]}}
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
