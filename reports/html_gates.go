package reports

import (
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// gateRow is one condition of a measurement that may be believed, in words.
type gateRow struct {
	Class, Mark, Word         string
	Name, Where, Value, Bound string
	Detail                    string
}

// gateView has what does not hold in the open, and what does in a fold.
type gateView struct{ Open, Held []gateRow }

func newGateView(v result.Validity) *gateView {
	if len(v.Gates) == 0 {
		return nil
	}
	out := &gateView{}
	for _, g := range v.Gates {
		where := g.Workload
		if g.Path != "" {
			where = strings.TrimPrefix(where+", "+g.Path, ", ")
		}
		if where == "" {
			where = "the whole run"
		}
		row := gateRow{Name: gateName(g.Name), Where: where, Value: gateValue(g.Value, g.Unit), Bound: gateValue(g.Limit, g.Unit), Detail: upperFirst(g.Detail)}
		switch {
		case g.OK:
			row.Class, row.Mark, row.Word = "good", "✓", "holds"
			out.Held = append(out.Held, row)
		case g.Advisory:
			row.Class, row.Mark, row.Word = "near", "≈", "advice"
			out.Open = append(out.Open, row)
		default:
			row.Class, row.Mark, row.Word = "bad", "✕", "fails"
			out.Open = append([]gateRow{row}, out.Open...)
		}
	}
	return out
}

// gateName turns "sched_lag.p99" into "schedule lag p99", as metrics are written.
func gateName(name string) string { return metricName(name) }

func gateValue(v float64, unit string) string {
	switch unit {
	case "ns":
		return duration(int64(v))
	case "ratio":
		return significant(v*100) + " %"
	case "count":
		return grouped(int64(v))
	}
	return strings.TrimSpace(significant(v) + " " + unit)
}
