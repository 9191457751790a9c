package reports

import (
	"slices"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// tailTable is the percentiles of one phase with their intervals, an arm a row.
type tailTable struct {
	Phase string
	Main  bool // shown open
	Rows  []tailRow
}

type tailRow struct {
	Path    string
	Index   int
	Samples string
	Cells   []tailCell
	Max     string
}

// tailCell is a value with its interval, or what is lacking for one.
type tailCell struct{ Value, Interval, Needs string }

var tailNames = []string{"p50", "p90", "p99", "p999", "p9999"}

// newTailTables is empty for reports of before there were intervals: their percentiles are in the table of arms.
func newTailTables(w result.Workload) []tailTable {
	var out []tailTable
	main := mainPhaseOf(w)
	for _, phase := range result.Phases {
		t := tailTable{Phase: phaseName(phase), Main: phase == main}
		for i, a := range w.Arms {
			p, ok := a.Phases[phase]
			if !ok || p.Count == 0 || len(p.CI95NS) == 0 && len(p.Needs) == 0 {
				continue
			}
			row := tailRow{Path: a.Path, Index: seriesLook(i), Samples: grouped(p.Count), Max: duration(p.MaxNS)}
			for _, name := range tailNames {
				row.Cells = append(row.Cells, newTailCell(p, name))
			}
			t.Rows = append(t.Rows, row)
		}
		if len(t.Rows) > 0 {
			out = append(out, t)
		}
	}
	slices.SortStableFunc(out, func(a, b tailTable) int {
		switch {
		case a.Main == b.Main:
			return 0
		case a.Main:
			return -1
		}
		return 1
	})
	return out
}

// mainPhaseOf is what a workload is about.
func mainPhaseOf(w result.Workload) string {
	for _, a := range w.Arms {
		if a.Phases[result.PhaseSteady].Count > 0 {
			return result.PhaseSteady
		}
	}
	return result.PhaseConnect
}

func newTailCell(p result.Phase, name string) tailCell {
	if n := p.Needs[name]; n > 0 {
		return tailCell{Needs: grouped(n)}
	}
	if _, lacking := percentile(p, name); lacking > 0 {
		return tailCell{Needs: grouped(lacking)}
	}
	ns := map[string]int64{"p50": p.P50NS, "p90": p.P90NS, "p99": p.P99NS, "p999": p.P999NS, "p9999": p.P9999NS}[name]
	if ns == 0 {
		return tailCell{}
	}
	c := tailCell{Value: duration(ns)}
	if ci, ok := p.CI95NS[name]; ok {
		c.Interval = duration(ci[0]) + " to " + duration(ci[1])
	}
	return c
}
