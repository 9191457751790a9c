package reports

import (
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// The comparison with an earlier report, for the formats that a person reads.

func againstTitle(a *result.Against) string {
	title := fmt.Sprintf("Against run %s of %s", a.Run, a.Started)
	if a.Commit != "" {
		title += ", commit " + a.Commit
	}
	return title
}

var againstHead = []string{"workload", "path", "what", "now over then", "95 % interval", "verdict"}

func againstRows(a *result.Against) [][]string {
	var rows [][]string
	for _, c := range a.Changes {
		what := metricName(c.Metric)
		if of, ok := strings.CutPrefix(c.Metric, "ratio "); ok {
			what = metricName(of) + ", as a ratio to the baseline path"
		}
		words := c.Verdict
		if c.Regression {
			words += ", a regression"
		}
		rows = append(rows, []string{c.Workload, c.Path, what, ratio(c.Ratio), ratio(c.CI95[0]) + " to " + ratio(c.CI95[1]), words})
	}
	return rows
}

// againstReading says what a change is worth.
func againstReading(a *result.Against) string {
	if len(a.Changes) == 0 {
		return "The two runs have no workload and path in common that has enough windows in both."
	}
	text := fmt.Sprintf("A path that is slower beyond the noise of the windows of both runs, and by more than %.0f %%, fails the run: what differs from run to run moves less. ", 100*a.Threshold)
	if a.SameHost {
		return text + "Both runs were made on the same machine."
	}
	return text + "The runs were made on different machines, so only the ratios to the baseline path count."
}
