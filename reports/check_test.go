package reports

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// odd makes a run with a check that failed with bytes that differ, a flaky one, and one that was known to fail.
func odd() *result.Run {
	return &result.Run{Schema: result.Schema, Verdict: result.Fail, Run: result.Info{ID: "r1"}, Scenario: result.Scenario{Name: "odd"}, Conformance: &result.Conformance{Results: []result.CheckResult{
		{
			Check: "TUN-04", Slug: "byte-exact", Group: "TUN", Path: "direct", Target: "router", Verdict: result.CheckFail, Outcome: "corrupted", Expected: []string{"intact"},
			Detail: "byte 9", Diff: &result.Diff{Offset: 9, From: 1, Want: "0102", Got: ""}, Evidence: []string{"evidence/TUN-04-direct.txt"},
		},
		{
			Check: "KAL-01", Slug: "idle", Group: "KAL", Path: "direct", Target: "router", Verdict: result.CheckFlaky, Outcome: "timeout", Detail: "FLAKY(2/3): late",
			Attempts: []result.Attempt{{Verdict: result.CheckFail, Outcome: "timeout", Detail: "first"}, {Verdict: result.CheckFail, Outcome: "rst", Detail: "second"}, {Verdict: result.CheckPass, Outcome: "intact"}},
		},
		{
			Check: "KAL-02", Slug: "ping", Group: "KAL", Path: "direct", Target: "router", Verdict: result.CheckFail, Outcome: "timeout", Detail: "late (it failed in 2 of 2 runs)",
			Attempts: []result.Attempt{{Verdict: result.CheckFail, Outcome: "timeout", Detail: "first"}, {Verdict: result.CheckFail, Outcome: "rst", Detail: "second"}},
		},
		{
			Check: "TLS-02", Slug: "unknown-sni", Group: "TLS", Path: "direct", Target: "router", Verdict: result.CheckXFail, Outcome: "fin", Detail: "expected alert:112, got fin",
			Known: &result.Known{Reason: "it never did", Link: "https://example.test/1", Expires: "2027-03-01"},
		},
	}}}
}

func TestWhatCameOfOneCheck(t *testing.T) {
	for id, want := range map[string][]string{
		"TUN-04": {"FAIL", "TUN-04 byte-exact [direct], router", "intact", "corrupted", "first at byte 9; from byte 1 on, expected 01 02, got nothing", "evidence/TUN-04-direct.txt"},
		"KAL-01": {"FLAKY", "run 1     FAIL timeout first", "run 3     PASS intact"},
		"TLS-02": {"XFAIL", "it never did https://example.test/1 (until 2027-03-01)"},
		"DET-01": {"it was not among the checks"},
	} {
		var b bytes.Buffer
		if err := WriteCheck(&b, odd(), id); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s: no %q in\n%s", id, w, b.String())
			}
		}
	}
	if err := WriteCheck(&fullDisk{10}, odd(), "TUN-04"); !errors.Is(err, errFull) {
		t.Errorf("a full disk: %v", err)
	}
}

// TestTheFirstByteThatDiffersIsInEveryReport that has details.
func TestTheFirstByteThatDiffersIsInEveryReport(t *testing.T) {
	for format, want := range map[string]string{
		"text": "first at byte 9; from byte 1 on, expected 01 02, got nothing", "markdown": "first at byte 9", "html": "first at byte 9",
		"junit": "first at byte 9", "github": "first at byte 9", "json": `"offset": 9`, "test2json": "first at byte 9",
	} {
		if out := render(t, format, odd()); !strings.Contains(out, want) {
			t.Errorf("%s does not show %q", format, want)
		}
	}
}
