package result_test

import (
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func checks(verdicts ...result.CheckVerdict) *result.Conformance {
	c := &result.Conformance{}
	for _, v := range verdicts {
		c.Results = append(c.Results, result.CheckResult{Check: "X-01", Verdict: v})
	}
	return c
}

func bench(valid, limitOK bool) *result.Bench {
	b := &result.Bench{
		Workloads: []result.Workload{{Name: "echo"}},
		Limits:    []result.Limit{{Expr: "errors == 0", Value: 3, OK: limitOK}},
		Validity:  result.Validity{OK: valid},
	}
	if !valid {
		b.Validity.Reasons = []string{"the generator was late"}
	}
	return b
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		run     result.Run
		verdict result.Verdict
		status  int
		reason  string
	}{
		"all pass":                        {result.Run{Conformance: checks(result.CheckPass, result.CheckTolerated), Bench: bench(true, true)}, result.Pass, 0, ""},
		"a fail":                          {result.Run{Conformance: checks(result.CheckPass, result.CheckFail)}, result.Fail, 1, "1 check failed"},
		"an unexpected pass":              {result.Run{Conformance: checks(result.CheckXPass)}, result.Fail, 1, "known to fail"},
		"a known failure":                 {result.Run{Conformance: checks(result.CheckXFail)}, result.Pass, 0, ""},
		"inconclusive":                    {result.Run{Conformance: checks(result.CheckPass, result.CheckInconclusive)}, result.Inconclusive, 3, "1 check inconclusive"},
		"fail outweighs inconclusive":     {result.Run{Conformance: checks(result.CheckFail, result.CheckInconclusive), Partial: true}, result.Fail, 1, "1 check failed"},
		"limit missed":                    {result.Run{Bench: bench(true, false)}, result.Fail, 1, "limit missed: errors == 0"},
		"a limit on an invalid measure":   {result.Run{Bench: bench(false, false)}, result.Inconclusive, 3, "the generator was late"},
		"interrupted":                     {result.Run{Conformance: checks(result.CheckPass), Partial: true}, result.Inconclusive, 3, "partial"},
		"flaky":                           {result.Run{Conformance: checks(result.CheckPass, result.CheckFlaky)}, result.Pass, 0, ""},
		"flaky, which is to fail":         {result.Run{FailOnFlake: true, Conformance: checks(result.CheckPass, result.CheckFlaky)}, result.Fail, 5, "1 check flaky"},
		"nothing flaky":                   {result.Run{FailOnFlake: true, Conformance: checks(result.CheckPass)}, result.Pass, 0, ""},
		"a fail outweighs flaky":          {result.Run{FailOnFlake: true, Conformance: checks(result.CheckFail, result.CheckFlaky)}, result.Fail, 1, "1 check failed"},
		"inconclusive outweighs flaky":    {result.Run{FailOnFlake: true, Conformance: checks(result.CheckInconclusive, result.CheckFlaky)}, result.Inconclusive, 3, "1 check inconclusive"},
		"no check beside a measurement":   {result.Run{Conformance: checks(result.CheckUnsupported), Bench: bench(true, true)}, result.Inconclusive, 4, "no check was executed"},
		"only unsupported is not a pass":  {result.Run{Conformance: checks(result.CheckUnsupported, result.CheckNotRun)}, result.Inconclusive, 4, "nothing was executed"},
		"nothing at all":                  {result.Run{}, result.Inconclusive, 4, "nothing was executed"},
		"dependency failed alone is none": {result.Run{Conformance: checks(result.CheckDepFailed)}, result.Inconclusive, 4, "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			status := c.run.Judge()
			if status != c.status || c.run.Verdict != c.verdict {
				t.Errorf("got %d %s, want %d %s", status, c.run.Verdict, c.status, c.verdict)
			}
			if got := strings.Join(c.run.Reasons, "\n"); !strings.Contains(got, c.reason) {
				t.Errorf("reasons %q lack %q", got, c.reason)
			}
		})
	}
}
