package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// againstView is the comparison with an earlier run: what changed beyond the noise of both in the open, the rest in a fold.
type againstView struct {
	*result.Against
	Axis          []tick
	One           string
	Changed, Same []changeRow
}

type changeRow struct {
	result.Change
	What, At, From, To, Desc string
}

func newAgainstView(a *result.Against) *againstView {
	if a == nil {
		return nil
	}
	v := &againstView{Against: a}
	var values []float64
	for _, c := range a.Changes {
		values = append(values, c.Ratio, c.CI95[0], c.CI95[1])
	}
	axis := newRatioAxis(values)
	v.Axis, v.One = axis.ticks, percent(axis.at(1))
	for _, c := range a.Changes {
		row := changeRow{Change: c, What: metricName(c.Metric), At: percent(axis.at(c.Ratio)), From: percent(axis.at(c.CI95[0])), To: percent(axis.at(c.CI95[1]))}
		if of, ok := strings.CutPrefix(c.Metric, "ratio "); ok {
			row.What = metricName(of) + ", as a ratio to the baseline"
		}
		row.Desc = fmt.Sprintf("%s, %s, %s: %s of then, 95 %% interval %s to %s", c.Workload, c.Path, row.What, ratio(c.Ratio), ratio(c.CI95[0]), ratio(c.CI95[1]))
		if c.Regression || slices.Contains([]string{"slower", "faster"}, c.Verdict) {
			v.Changed = append(v.Changed, row)
		} else {
			v.Same = append(v.Same, row)
		}
	}
	return v
}
