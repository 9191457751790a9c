package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// gateRow is one condition of a measurement that may be believed, in words.
type gateRow struct {
	Class, Mark, Word         string
	Name, Where, Value, Bound string
	Detail                    string
}

// gateView has in the open what fails, and of what is only advice the worst of each kind; All has all.
type gateView struct{ Open, All []gateRow }

func newGateView(v result.Validity) *gateView {
	if len(v.Gates) == 0 {
		return nil
	}
	out := &gateView{}
	var advice []gateRow
	worst, more := map[string]float64{}, map[string]int{}
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
		case g.Advisory:
			row.Class, row.Mark, row.Word = "near", "≈", "advice"
			far := math.Abs(math.Log(max(math.Abs(g.Value), 1e-9) / max(math.Abs(g.Limit), 1e-9)))
			at := slices.IndexFunc(advice, func(r gateRow) bool { return r.Name == row.Name })
			if at < 0 {
				advice = append(advice, row)
				worst[row.Name] = far
				break
			}
			more[row.Name]++
			if far > worst[row.Name] {
				advice[at], worst[row.Name] = row, far
			}
		default:
			row.Class, row.Mark, row.Word = "bad", "✕", "fails"
			out.Open = append(out.Open, row)
		}
		out.All = append(out.All, row)
	}
	for i := range advice {
		if n := more[advice[i].Name]; n > 0 {
			advice[i].Where += fmt.Sprintf(", the worst of %d", n+1)
		}
	}
	out.Open = append(out.Open, advice...)
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
