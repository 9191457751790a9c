package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestJSONWritesPromisedListsAsEmptyNotNull(t *testing.T) {
	run := &result.Run{
		Schema: result.Schema, Conformance: &result.Conformance{Results: []result.CheckResult{{Check: "DET-01"}}},
		Wire: []result.Wire{{Path: "direct"}}, Bench: &result.Bench{Workloads: []result.Workload{{Name: "echo", Arms: []result.Arm{{}}}}},
	}
	out := render(t, "json", run)
	for _, want := range []string{
		`"backends": []`, `"reasons": []`, `"topology": []`, `"totals": {}`, `"evidence": []`, `"alpn": []`, `"sni": null`,
		`"comparisons": []`, `"limits": []`, `"phases": {}`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("report.json lacks %s", want)
		}
	}
	if n := strings.Count(out, "null"); n != 1 {
		t.Errorf("report.json has %d nulls, want only that of sni:\n%s", n, out)
	}
	if run.Backends != nil {
		t.Error("the result was changed")
	}
}

func TestJSONRoundTrips(t *testing.T) {
	run := golden(t)
	again, err := Read(strings.NewReader(render(t, "json", run)))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := render(t, "json", run), render(t, "json", again); a != b {
		t.Errorf("read and written again it differs:\n%s", cmp.Diff(a, b))
	}
}

// Pairs of numbers stand on one line, and a text that looks like one stays what it is.
func TestJSONWritesPairsOnOneLine(t *testing.T) {
	t.Parallel()
	run := full(newFixture(4))
	text := "[\n  1,\n  2\n]"
	run.Scenario.Description, run.Bench.Workloads[0].Comparisons[0].CI95 = text, [2]float64{-1.5e-7, 2e21}
	out := render(t, "json", run)
	if !strings.Contains(out, `"ci95": [-1.5e-07, 2e+21]`) && !strings.Contains(out, `"ci95": [-1.5e-7, 2e+21]`) {
		t.Error("an interval is on several lines")
	}
	again, err := Read(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	if again.Scenario.Description != text {
		t.Errorf("the text became %q", again.Scenario.Description)
	}
	if diff := cmp.Diff(run.Bench, again.Bench, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestReadRefusesOtherSchemas(t *testing.T) {
	for text, want := range map[string]string{
		`{"schema":"tlsroute-bench/report/99","verdict":7}`: "tlsroute-bench/report/99",
		`{"hello":"world"}`: "",
	} {
		_, err := Read(strings.NewReader(text))
		var schema *SchemaError
		if !errors.As(err, &schema) || schema.Got != want || schema.Want != result.Schema {
			t.Errorf("Read(%s): %v", text, err)
		}
	}
	if _, err := Read(strings.NewReader(`{"schema":"tlsroute-bench/report/1","later":{"field":1}}`)); err != nil {
		t.Errorf("a field of a later version: %v", err)
	}
	if _, err := Read(strings.NewReader(`{"schema":`)); err == nil {
		t.Error("half a file was read")
	}
}

func TestJSONNamesTheNumberItCannotWrite(t *testing.T) {
	run := golden(t)
	run.Bench.Workloads[1].Comparisons[0].CI95[1] = math.NaN()
	var buf bytes.Buffer
	err := writeJSON(&buf, run)
	if err == nil || !strings.Contains(err.Error(), "run.bench.workloads[1].comparisons[0].ci95[1]") || buf.Len() > 0 {
		t.Errorf("error %v after %d bytes", err, buf.Len())
	}
}

// many makes a run in which everything failed, with long hostile texts.
func many(n int) *result.Run {
	run := &result.Run{Schema: result.Schema, Verdict: result.Fail, Scenario: result.Scenario{Name: "x", File: "a,b:c%.yaml"}, Conformance: &result.Conformance{}}
	for i := range n {
		run.Conformance.Results = append(run.Conformance.Results, result.CheckResult{
			Check: fmt.Sprintf("DET-%03d", i), Slug: "slug", Title: strings.Repeat("title | ", 40),
			Group: "DET", Verdict: result.CheckFail, Path: "direct", Detail: strings.Repeat("<b>`x`</b>\n@someone %\r\n", 100),
		})
		run.Reasons = append(run.Reasons, strings.Repeat("reason ", 50))
		run.Wire = append(run.Wire, result.Wire{Path: "direct", Hop: strings.Repeat("h", 300), ALPN: []string{strings.Repeat("é", 300)}})
	}
	return run
}

func TestMarkdownFitsAPullRequest(t *testing.T) {
	out := render(t, "markdown", many(500))
	if len(out) >= 64<<10 {
		t.Errorf("summary.md has %d bytes, the limit is %d", len(out), 64<<10)
	}
	if !strings.Contains(out, "more, see `report.json`") {
		t.Error("summary.md does not say that something is left out")
	}
	for _, bad := range []string{"<b>", "@someone", "\r"} {
		if strings.Contains(out, bad) {
			t.Errorf("summary.md contains %q of a target", bad)
		}
	}
}

func TestGitHubStaysUnderTenAnnotationsAndEscapes(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(render(t, "github", many(30)), "\n"), "\n")
	if len(lines) != 10 {
		t.Fatalf("%d lines, want 10", len(lines))
	}
	if !strings.HasSuffix(lines[9], "::21 more, see summary.md and report.html") {
		t.Errorf("the last line is %q", lines[9])
	}
	form := regexp.MustCompile(`^::(error|warning|notice) file=a%2Cb%3Ac%25\.yaml,title=[^:,]*::[^\r]*$`)
	for _, l := range lines {
		if !form.MatchString(l) {
			t.Errorf("not an annotation: %.200q", l)
		}
	}
	if !strings.Contains(lines[0], "%0A") || !strings.Contains(lines[0], "%25") {
		t.Errorf("line ends and per cent signs are not escaped: %.200q", lines[0])
	}
	mixed := many(30)
	for i := range 12 {
		mixed.Conformance.Results[i].Verdict = result.CheckInconclusive
	}
	out := render(t, "github", mixed)
	if e, w := strings.Count(out, "::error "), strings.Count(out, "::warning "); e != 10 || w != 10 || !strings.Contains(out, "::9 more") || !strings.Contains(out, "::3 more") {
		t.Errorf("18 errors and 12 warnings make %d and %d lines", e, w)
	}
	exact := many(9)
	if n := strings.Count(render(t, "github", exact), "\n"); n != 9 {
		t.Errorf("nine faults make %d lines", n)
	}
}

func TestTest2JSONEndsEveryTestOnce(t *testing.T) {
	run := golden(t)
	run.Conformance.Results = append(run.Conformance.Results, run.Conformance.Results[0]) // the same name twice
	open, ended := map[string]bool{}, map[string]string{}
	var last event
	for line := range strings.Lines(render(t, "test2json", run)) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.Time.Before(last.Time) {
			t.Errorf("time goes back at %q", line)
		}
		switch e.Action {
		case "run":
			if _, twice := ended[e.Test]; twice || open[e.Test] {
				t.Errorf("%s is run twice", e.Test)
			}
			open[e.Test] = true
		case "pass", "fail", "skip":
			if e.Test != "" && !open[e.Test] {
				t.Errorf("%s ends without having run", e.Test)
			}
			delete(open, e.Test)
			ended[e.Test] = e.Action
		case "start", "output":
		default:
			t.Errorf("action %q", e.Action)
		}
		last = e
	}
	if len(open) > 0 || last.Action != "fail" || last.Test != "" {
		t.Errorf("still open: %v; last event %+v", open, last)
	}
	if want := len(run.Conformance.Results) + len(run.Bench.Limits) + 2; len(ended) != want {
		t.Errorf("%d tests ended, want %d", len(ended), want)
	}
	if got := ended["KAL-03_idle-survives_[alb-https]"]; got != "fail" {
		t.Errorf("INCONCLUSIVE ends as %q, want fail: it is no pass", got)
	}
}

func TestTextHasColourOnlyWhenAsked(t *testing.T) {
	run := golden(t)
	run.Conformance.Results[0].Verdict = result.CheckFail
	run.Conformance.Results[0].Detail = "\x1b]0;owned\x07 \u009b31m"
	var buf bytes.Buffer
	if err := WriteText(&buf, run, true); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(buf.String(), "\x1b[1;31m") {
		t.Error("no colour when asked")
	}
	plain := render(t, "text", run)
	if i := strings.IndexFunc(plain, func(r rune) bool { return r < ' ' && r != '\n' || r >= 0x7f && r <= 0x9f }); i >= 0 {
		t.Errorf("control character in plain text: %q", plain[max(0, i-20):i+10])
	}
	if strings.Contains(buf.String(), "\x1b]") {
		t.Error("an escape sequence of the target reaches the terminal")
	}
}

func FuzzTextIsSafeInEveryFormat(f *testing.F) {
	f.Add("plain")
	f.Add("]]>\x00\xff\u2028<script>|`")
	f.Fuzz(func(t *testing.T, s string) {
		run := &result.Run{
			Verdict: result.Fail, Run: result.Info{Started: time.Unix(0, 0)}, Scenario: result.Scenario{Name: s, File: s},
			Conformance: &result.Conformance{Results: []result.CheckResult{{Check: s, Slug: s, Group: s, Target: s, Verdict: result.CheckFail, Detail: s, Outcome: s}}},
		}
		for _, fault := range readXML(t, render(t, "junit", run)).faults(surefire) {
			t.Errorf("junit: %s", fault)
		}
		for _, f := range Formats() {
			if out := render(t, f.Name, run); f.Name != "html" && !utf8.ValidString(out) {
				t.Errorf("%s is not UTF-8", f.Name)
			}
		}
		if n := strings.Count(render(t, "github", run), "\n"); n != 1 {
			t.Errorf("one fault makes %d lines of annotations", n)
		}
	})
}
