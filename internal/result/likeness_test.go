package result_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestLikenessNamesWhatDiffersAndWhatIsUnclear(t *testing.T) {
	row := func(check, outcome string, v result.CheckVerdict) result.CheckResult {
		return result.CheckResult{Check: check, Slug: "slug", Title: "title", Outcome: outcome, Verdict: v, Detail: "because"}
	}
	l := result.Likeness{Product: "nginx", Unclear: []result.Unclear{{Why: "of before"}}}
	l.Compare(
		[]result.CheckResult{
			row("A-1", "alive", result.CheckPass), row("A-2", "cut", result.CheckFail), row("A-3", "", result.CheckInconclusive), row("A-4", "", result.CheckInconclusive),
			row("A-5", "x", result.CheckPass), row("A-6", "x", result.CheckPass),
		},
		[]result.CheckResult{
			row("A-1", "alive", result.CheckFail), row("A-2", "alive", result.CheckPass), row("A-3", "y", result.CheckPass), row("A-4", "y", result.CheckPass),
			row("A-5", "", result.CheckDepFailed),
		},
	)
	want := result.Likeness{
		Product: "nginx", Compared: 2,
		Differences: []result.Difference{{Check: "A-2", Slug: "slug", Title: "title", Simulated: "cut", Real: "alive", SimulatedDetail: "because", RealDetail: "because"}},
		Unclear: []result.Unclear{
			{Checks: []string{"A-3", "A-4"}, Why: "on the simulator: INCONCLUSIVE: because"}, {Checks: []string{"A-5"}, Why: "on the product: DEP-FAILED: because"},
		},
	}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
