package conformancetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// said is a test that remembers what was said.
type said struct{ how, what string }

func (s *said) Helper()           {}
func (s *said) Log(args ...any)   { *s = said{"log", fmt.Sprint(args...)} }
func (s *said) Skip(args ...any)  { *s = said{"skip", fmt.Sprint(args...)} }
func (s *said) Error(args ...any) { *s = said{"error", fmt.Sprint(args...)} }

func TestVerdictsBecomeAnswers(t *testing.T) {
	for verdict, want := range map[result.CheckVerdict]string{
		result.CheckPass: "", result.CheckTolerated: "log", result.CheckFlaky: "log", result.CheckFail: "error", result.CheckXPass: "error",
		result.CheckInconclusive: "error", result.CheckUnsupported: "skip", result.CheckNotRun: "skip", result.CheckDepFailed: "skip",
		result.CheckXFail: "skip", "LATER": "error",
	} {
		var s said
		tell(&s, result.CheckResult{
			Check: "TUN-04", Slug: "byte-exact", Verdict: verdict, Detail: "byte 9 of 10", Diff: &result.Diff{Offset: 9, Want: "01", Got: "02"},
			Clauses: []result.Clause{{Doc: "RFC 1", URL: "https://example.test/"}}, Evidence: []string{"a.txt"},
		})
		if s.how != want {
			t.Errorf("%s: %s, want %s", verdict, s.how, want)
		}
		if want == "error" && (!strings.Contains(s.what, "byte 9 of 10\nbytes differ first at byte 9") || !strings.Contains(s.what, "evidence a.txt\nclause RFC 1 https://example.test/")) {
			t.Errorf("%s says %q", verdict, s.what)
		}
	}
	if got := name(result.CheckResult{Check: "A-01"}) + " " + name(result.CheckResult{Check: "A-01", Path: "direct"}); got != "A-01 A-01/direct" {
		t.Error(got)
	}
}

func TestTimelinesAreKept(t *testing.T) {
	dir := t.TempDir()
	e := conformance.Evidence{Trace: wire.Trace{Events: []wire.Event{{At: time.Now(), Kind: "note", Text: "it went on"}}}, KeyLog: []byte("keys")}
	files, err := timelines(dir).Save("A-01-direct", e)
	if err != nil || len(files) != 2 {
		t.Fatalf("%v %v", files, err)
	}
	for file, want := range map[string]string{files[0]: "it went on", files[1]: "keys"} {
		if got, err := os.ReadFile(file); err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %q %v", file, got, err)
		}
	}
	if _, err := timelines(filepath.Join(dir, "none")).Save("A-01", e); err == nil {
		t.Error("kept in a folder that is not there")
	}
}
