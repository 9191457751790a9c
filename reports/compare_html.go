package reports

import (
	"bytes"
	"fmt"
	"html/template"
	"io"
	"slices"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// compareView is what compare.html shows, in its order.
type compareView struct {
	*Compared
	CSS      template.CSS
	Several  bool // more than one later run: each line names its own
	RunCells [][]string
	Groups   []compareGroup
}

// compareGroup is one path of one workload in all runs.
type compareGroup struct {
	ID, Workload, Path string
	Rows               []RunChange
	Curves             []*curveChart
}

// writeCompareHTML writes the page: one file that needs nothing else, as report.html.
func writeCompareHTML(w io.Writer, c *Compared) error {
	v := compareView{Compared: c, CSS: style, Several: len(c.Runs) > 2, Groups: c.groups()}
	for _, r := range c.Runs {
		v.RunCells = append(v.RunCells, c.runCells(r))
	}
	var buf bytes.Buffer // rendered whole first: half a page is worse than an error
	if err := page().ExecuteTemplate(&buf, "compare.gohtml", v); err != nil {
		return fmt.Errorf("render compare.html: %w", err)
	}
	return writeAll(w, buf.Bytes(), "compare.html")
}

func (c *Compared) groups() []compareGroup {
	var out []compareGroup
	for _, ch := range c.Changes {
		i := slices.IndexFunc(out, func(g compareGroup) bool { return g.Workload == ch.Workload && g.Path == ch.Path })
		if i < 0 {
			i = len(out)
			out = append(out, compareGroup{ID: fmt.Sprintf("g%d", i), Workload: ch.Workload, Path: ch.Path})
		}
		out[i].Rows = append(out[i].Rows, ch)
	}
	for i := range out {
		g := &out[i]
		// The same figures by metric, so that the runs of one stand under each other.
		slices.SortStableFunc(g.Rows, func(a, b RunChange) int { return metricRank(a.Metric) - metricRank(b.Metric) })
		overlaid := c.overlaid(g.Workload, g.Path)
		for j, phase := range []string{result.PhaseSteady, result.PhaseConnect} {
			g.Curves = append(g.Curves, newCurveCharts(fmt.Sprintf("%s-curve%d", g.ID, j), overlaid, phase)...)
		}
	}
	return out
}

func metricRank(metric string) int {
	for i, m := range comparedMetrics {
		switch metric {
		case m.phase + "." + m.stat:
			return i
		case "ratio " + m.phase + "." + m.stat:
			return len(comparedMetrics) + i
		}
	}
	return 2 * len(comparedMetrics)
}

// overlaid is a workload whose arms are one path in the runs that have it, so that its chart lays them over each other.
func (c *Compared) overlaid(workload, path string) result.Workload {
	w := result.Workload{Name: workload + ", " + path}
	for i, run := range c.runs {
		arm := result.Arm{Path: c.Runs[i].Label}
		if run.Bench != nil {
			for j, name := range workloadNames(run.Bench.Workloads) {
				if name.Text() == workload {
					arm.Phases = armOf(run.Bench.Workloads[j], path).Phases
				}
			}
		}
		w.Arms = append(w.Arms, arm) // an empty one too, so that a run keeps its colour
	}
	return w
}
