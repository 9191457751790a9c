package reports

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestChangesAgainstAnEarlierRunAreTold(t *testing.T) {
	against := &result.Against{
		Run: "abc", Started: "2026-01-01T00:00:00Z", Threshold: 0.1,
		Changes: []result.Change{
			{Workload: "echo", Path: "alb-https", Metric: "steady_rtt.p50", Ratio: 1.31, CI95: [2]float64{1.25, 1.38}, Verdict: "slower", Regression: true},
			{Workload: "echo", Path: "alb-https", Metric: "ratio connect.p99", Ratio: 1, CI95: [2]float64{0.99, 1.02}, Verdict: "equivalent"},
		},
	}
	run := &result.Run{Bench: &result.Bench{Validity: result.Validity{OK: true}, Against: against}}
	for _, name := range []string{"text", "markdown"} {
		f, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, same := range []bool{true, false} {
			against.SameHost = same
			var out bytes.Buffer
			if err := f.Write(&out, run); err != nil {
				t.Fatal(err)
			}
			want := []string{"Against run abc", "1.31×", "1.25× to 1.38×", "slower, a regression", "as a ratio to the baseline path", "more than 10 %", "the same machine"}
			if !same {
				want[len(want)-1] = "different machines"
			}
			for _, w := range want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("%s (same machine %v) lacks %q:\n%s", name, same, w, out.String())
				}
			}
		}
	}
}
