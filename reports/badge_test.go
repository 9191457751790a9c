package reports

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestBadge(t *testing.T) {
	run := func(v result.Verdict, verdicts ...result.CheckVerdict) *result.Run {
		r := &result.Run{Verdict: v, Conformance: &result.Conformance{}}
		for i, c := range verdicts {
			r.Conformance.Results = append(r.Conformance.Results, result.CheckResult{Check: string(rune('A' + i)), Verdict: c})
		}
		return r
	}
	for want, r := range map[string]*result.Run{
		"brightgreen 2 checks conform":                  run(result.Pass, result.CheckPass, result.CheckTolerated),
		"brightgreen 1 check conforms, 1 known to fail": run(result.Pass, result.CheckPass, result.CheckXFail, result.CheckUnsupported),
		"red 2 of 3 checks failed":                      run(result.Fail, result.CheckPass, result.CheckFail, result.CheckXPass),
		"lightgrey inconclusive":                        run(result.Inconclusive, result.CheckPass, result.CheckInconclusive),
		"lightgrey inconclusive ":                       {Verdict: result.Inconclusive},
		"red fail":                                      {Verdict: result.Fail},
		"lightgrey unknown":                             {},
	} {
		var b badge
		if err := json.Unmarshal([]byte(render(t, "badge", r)), &b); err != nil {
			t.Fatal(err)
		}
		if got := b.Color + " " + b.Message; got != strings.TrimSpace(want) || b.SchemaVersion != 1 || b.Label == "" || b.IsError != (r.Verdict == result.Fail) {
			t.Errorf("%+v, want %s", b, want)
		}
		svg := readXML(t, render(t, "badge-svg", r))
		if svg.name != "svg" || svg.attr["aria-label"] != b.Label+": "+b.Message || svg.all("title")[0].text != b.Label+": "+b.Message {
			t.Errorf("the drawing says %q, the endpoint %q", svg.attr["aria-label"], b.Message)
		}
	}
}
