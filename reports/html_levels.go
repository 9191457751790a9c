package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// levelView is one workload at several shares of capacity: how latency grows with the load.
type levelView struct {
	Name   string
	Charts []*curveChart
	Head   []string // the levels
	Rows   []levelRow
}

type levelRow struct {
	Path  string
	Index int
	Cells []levelCell
}

type levelCell struct{ P50, P99 string }

// newLevelViews groups what the search for saturation made of one workload: "echo-at-30", "echo-at-50".
func newLevelViews(run *result.Run) []levelView {
	var names []string
	by := map[string][]result.Workload{}
	for _, w := range run.Bench.Workloads {
		if w.Load == nil || w.Load.Fraction <= 0 {
			continue
		}
		name := w.Name
		if i := strings.LastIndex(name, "-at-"); i > 0 {
			name = name[:i]
		}
		if by[name] == nil {
			names = append(names, name)
		}
		by[name] = append(by[name], w)
	}
	var out []levelView
	for _, name := range names {
		list := by[name]
		if len(list) < 2 {
			continue
		}
		slices.SortFunc(list, func(a, b result.Workload) int { return int(math.Copysign(1, a.Load.Fraction-b.Load.Fraction)) })
		v := levelView{Name: name}
		for _, w := range list {
			v.Head = append(v.Head, significant(w.Load.Fraction*100)+" %")
		}
		phase := mainPhaseOf(list[0])
		for i, a := range list[0].Arms {
			row := levelRow{Path: a.Path, Index: seriesLook(i)}
			for _, w := range list {
				p := armOf(w, a.Path).Phases[phase]
				if p.Count == 0 {
					row.Cells = append(row.Cells, levelCell{"–", "–"})
					continue
				}
				row.Cells = append(row.Cells, levelCell{percentileText(p, "p50"), percentileText(p, "p99")})
			}
			v.Rows = append(v.Rows, row)
		}
		for _, q := range []string{"p50", "p99"} {
			if c := newLevelChart(fmt.Sprintf("levels%d-%s", len(out), q), name, phase, q, list); c != nil {
				v.Charts = append(v.Charts, c)
			}
		}
		out = append(out, v)
	}
	return out
}

// newLevelChart is one percentile by level, an arm a line with the interval around it.
func newLevelChart(id, name, phase, q string, list []result.Workload) *curveChart {
	lo, hi := math.Inf(1), 0.0
	value := func(w result.Workload, path string) (ns int64, ci [2]int64) {
		p := armOf(w, path).Phases[phase]
		if v, lacking := percentile(p, q); lacking == 0 {
			ns, ci = v, p.CI95NS[q]
		}
		return ns, ci
	}
	for _, w := range list {
		for _, a := range w.Arms {
			if ns, ci := value(w, a.Path); ns > 0 {
				lo, hi = min(lo, float64(ns)), max(hi, float64(ns), float64(ci[1]))
				if ci[0] > 0 {
					lo = min(lo, float64(ci[0]))
				}
			}
		}
	}
	if hi == 0 {
		return nil
	}
	ticks, bottom, top, logY := yAxis(lo, hi)
	c := &curveChart{ID: id, Title: fmt.Sprintf("%s: %s %s by load", name, phaseName(phase), q), Caption: upperFirst(phaseName(phase)) + " " + q, LogY: logY}
	from, to := list[0].Load.Fraction, list[len(list)-1].Load.Fraction
	x := func(f float64) float64 { return (f - from) / max(to-from, 1e-9) }
	y := func(ns int64) float64 { return heightOf(float64(ns), bottom, top, logY) }
	for _, t := range ticks {
		c.Y = append(c.Y, tick{At: percent(heightOf(t, bottom, top, logY)), Label: milliseconds(t)})
	}
	for _, w := range list {
		c.X = append(c.X, tick{At: percent(x(w.Load.Fraction)), Label: significant(w.Load.Fraction*100) + " %"})
	}
	var desc []string
	for i, a := range list[0].Arms {
		s := curveSeries{Name: a.Path, Index: seriesLook(i)}
		var points, upper, lower, said []string
		for _, w := range list {
			ns, ci := value(w, a.Path)
			if ns == 0 {
				continue
			}
			at := x(w.Load.Fraction) * plotUnits
			points = append(points, fmt.Sprintf("%.1f,%.1f", at, y(ns)*plotUnits))
			if ci[0] > 0 {
				upper, lower = append(upper, fmt.Sprintf("%.1f,%.1f", at, y(ci[1])*plotUnits)), append(lower, fmt.Sprintf("%.1f,%.1f", at, y(ci[0])*plotUnits))
			}
			label := fmt.Sprintf("%s at %s %%: %s", a.Path, significant(w.Load.Fraction*100), duration(ns))
			s.Markers = append(s.Markers, curveMarker{percent(x(w.Load.Fraction)), percent(y(ns)), label})
			said = append(said, label)
		}
		if len(points) == 0 {
			continue
		}
		if len(upper) > 1 {
			slices.Reverse(lower)
			s.Bands, c.Bands = []string{strings.Join(append(upper, lower...), " ")}, true
		}
		s.Points = strings.Join(points, " ")
		c.Series, desc = append(c.Series, s), append(desc, strings.Join(said, ", "))
	}
	c.Desc = strings.Join(desc, ". ") + "."
	return c
}
