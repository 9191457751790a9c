package reports

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

var (
	tapLine = regexp.MustCompile(`^(not )?ok (\d+) - ((?:[^#\\]|\\[#\\])*?)(?: # (SKIP|TODO)(?: .*)?)?$`)
	tapYAML = regexp.MustCompile(`^  (---|\.\.\.|verdict: ".*"|message: ".*")$`)
)

// parseTAP reads what a harness would: by number, whether it is ok and its directive. Every line must be of the grammar.
func parseTAP(t *testing.T, text string) map[string]string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var planned int
	if lines[0] != "TAP version 14" {
		t.Fatalf("the first line is %q", lines[0])
	}
	if _, err := fmt.Sscanf(lines[1], "1..%d", &planned); err != nil {
		t.Fatalf("no plan: %q", lines[1])
	}
	got := map[string]string{}
	n := 0
	for _, l := range lines[2:] {
		m := tapLine.FindStringSubmatch(l)
		switch {
		case m != nil:
			n++
			if m[2] != fmt.Sprint(n) {
				t.Errorf("%q is number %d", l, n)
			}
			got[m[3]] = strings.TrimSpace(m[1] + "ok " + m[4])
		case strings.HasPrefix(l, "# "), tapYAML.MatchString(l):
		default:
			t.Errorf("no line of TAP: %q", l)
		}
	}
	if n != planned {
		t.Errorf("%d points, %d planned", n, planned)
	}
	return got
}

func TestTAPSaysWhatTheVerdictsMean(t *testing.T) {
	run := odd()
	for v, id := range map[result.CheckVerdict]string{
		result.CheckPass: "DET-01", result.CheckTolerated: "DET-02", result.CheckUnsupported: "DET-03", result.CheckInconclusive: "DET-04",
		result.CheckXPass: "DET-05", result.CheckDepFailed: "DET-06", result.CheckNotRun: "DET-07", "LATER": "DET-08",
	} {
		run.Conformance.Results = append(run.Conformance.Results, result.CheckResult{Check: id, Slug: `a#b\c`, Verdict: v, Detail: "a\n# b"})
	}
	got := parseTAP(t, render(t, "tap", run))
	for name, want := range map[string]string{
		"TUN-04 byte-exact [direct]": "not ok", "KAL-01 idle [direct]": "ok", "TLS-02 unknown-sni [direct]": "not ok TODO", `DET-01 a\#b\\c`: "ok", `DET-02 a\#b\\c`: "ok",
		`DET-03 a\#b\\c`: "ok SKIP", `DET-04 a\#b\\c`: "not ok", `DET-05 a\#b\\c`: "not ok", `DET-06 a\#b\\c`: "ok SKIP", `DET-07 a\#b\\c`: "ok SKIP", `DET-08 a\#b\\c`: "not ok",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	run.FailOnFlake = true
	if got := parseTAP(t, render(t, "tap", run))["KAL-01 idle [direct]"]; got != "not ok" {
		t.Errorf("flaky, which is to fail, is %q", got)
	}
	parseTAP(t, render(t, "tap", golden(t)))
	parseTAP(t, render(t, "tap", many(50)))
}

func TestTAPIsNeverGreenWhenTheRunIsNot(t *testing.T) {
	for verdict, want := range map[result.Verdict]string{result.Pass: "", result.Fail: "not ok", result.Inconclusive: "not ok"} {
		if got := parseTAP(t, render(t, "tap", &result.Run{Verdict: verdict, Partial: true}))["verdict of the run"]; got != want {
			t.Errorf("%s with nothing executed: %q, want %q", verdict, got, want)
		}
	}
}
