package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// compared is the golden run, the same a day later with a slower path and two other verdicts, and a third of another scenario.
func compared(t testing.TB) *Compared {
	t.Helper()
	first, later, other := golden(t), golden(t), golden(t)
	later.Run.ID = "alb-later"
	later.Run.Started = later.Run.Started.AddDate(0, 0, 1)
	arm := &later.Bench.Workloads[0].Arms[1]
	p := arm.Phases[result.PhaseSteady]
	p.P50NS, p.P99NS, p.Curve = p.P50NS*13/10, p.P99NS*13/10, append([]result.Point{}, p.Curve...)
	for i := range p.Curve {
		p.Curve[i].NS = p.Curve[i].NS * 13 / 10
	}
	arm.Phases[result.PhaseSteady] = p
	for i := range later.Conformance.Results {
		switch c := &later.Conformance.Results[i]; {
		case c.Check == "DET-04" && c.Verdict == result.CheckFail:
			c.Verdict = result.CheckPass
		case c.Check == "DET-02" && c.Path == "direct":
			c.Verdict = result.CheckFail
		}
	}
	other.Scenario.Name, other.Run.Host.CPU, other.Partial = "chain", "another", true
	other.Bench.Workloads = other.Bench.Workloads[:1]
	other.Bench.Validity = result.Validity{Reasons: []string{"steal <b>3</b> %"}}
	against := []*result.Against{{Changes: []result.Change{
		{Workload: "echo", Path: "alb-https", Metric: "steady_rtt.p50", Ratio: 1.3, CI95: [2]float64{1.24, 1.37}, Verdict: "slower"},
		{Workload: "echo", Path: "direct", Metric: "steady_rtt.p50", Ratio: 1, CI95: [2]float64{0.99, 1.02}, Verdict: "equivalent"},
		{Workload: "echo", Path: "alb-https", Metric: "ratio steady_rtt.p50", Ratio: 1.29, CI95: [2]float64{1.2, 1.4}, Verdict: "slower"},
	}}, nil}
	c, err := Compare([]Labeled{{"monday", first}, {"tuesday", later}, {"tuesday", other}}, against)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func renderCompared(t testing.TB, name string, c *Compared) string {
	t.Helper()
	for _, f := range CompareFormats {
		if f.Name == name {
			var b bytes.Buffer
			if err := f.Write(&b, c); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return b.String()
		}
	}
	t.Fatalf("no format %s", name)
	return ""
}

func TestEveryComparisonMatchesItsGoldenFile(t *testing.T) {
	for _, f := range CompareFormats {
		t.Run(f.Name, func(t *testing.T) {
			got := renderCompared(t, f.Name, compared(t))
			name := filepath.Join("testdata", "compare."+f.Name+".golden")
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatalf("%v (write it with -update, then read it)", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got), look at it and use -update:\n%s", name, diff)
			}
		})
	}
}

func TestComparisonIsValidByItsSchema(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(compareSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("compare.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("compare.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(renderCompared(t, "json", compared(t))))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Error(err)
	}
	for _, field := range []string{"schema", "runs", "changes", "checks"} { // the control
		object := value.(map[string]any)
		kept := object[field]
		delete(object, field)
		if schema.Validate(value) == nil {
			t.Errorf("valid without %q", field)
		}
		object[field] = kept
	}
}

func TestCompareTellsWhatChanged(t *testing.T) {
	c := compared(t)
	turns := map[string]string{}
	for _, ch := range c.Checks {
		turns[ch.Check+" "+ch.Path] = ch.Turn
	}
	if turns["DET-04 alb-https"] != "other" || turns["DET-02 direct"] != "worse" {
		t.Errorf("turns %v: DET-04 failed, passed and failed again, DET-02 failed in between", turns)
	}
	if c.Runs[2].Label != "tuesday (2)" {
		t.Errorf("two runs are called %q", c.Runs[2].Label)
	}
	var slower *RunChange
	for i, ch := range c.Changes {
		if ch.Run == "tuesday" && ch.Path == "alb-https" && ch.Workload == "echo" && ch.Metric == "steady_rtt.p50" {
			slower = &c.Changes[i]
		}
		if ch.Run == "tuesday (2)" && (ch.CI95 != nil || ch.Verdict != "") {
			t.Errorf("an interval from nowhere: %+v", ch)
		}
		if ch.Run == "tuesday (2)" && ch.Workload == "postgres" {
			t.Errorf("a figure of a workload that the run does not have: %+v", ch)
		}
	}
	if slower == nil || slower.Verdict != "slower" || slower.Ratio != 1.3 || slower.CI95 == nil || slower.Then != 188000 || slower.Now != 244400 {
		t.Errorf("the slower path is %+v", slower)
	}
	notes := strings.Join(c.Notes, "\n")
	for _, want := range []string{"interrupted", "not valid", "another scenario", "another machine", "without an interval"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes lack %q:\n%s", want, notes)
		}
	}
	if h := c.Headline(); !strings.Contains(h, "2 figures slower") || !strings.Contains(h, "1 check result worse") {
		t.Errorf("headline %q", h)
	}
}

// Two levels of load have one name, and the estimates of one of them are missing: then none may be given to either.
func TestEstimatesAreNotGivenToTheWrongLevel(t *testing.T) {
	run := func() *result.Run {
		r := golden(t)
		w := r.Bench.Workloads[0]
		a, b := w, w
		a.Load, b.Load = &result.Load{Fraction: 0.3}, &result.Load{Fraction: 0.7}
		r.Bench.Workloads = []result.Workload{a, b}
		return r
	}
	change := result.Change{Workload: "echo", Path: "alb-https", Metric: "steady_rtt.p50", Ratio: 1.5, CI95: [2]float64{1.4, 1.6}, Verdict: "slower"}
	second := change
	second.Ratio = 1.7
	for _, list := range [][]result.Change{{change}, {change, second}} {
		c, err := Compare([]Labeled{{"a", run()}, {"b", run()}}, []*result.Against{{Changes: list}})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, ch := range c.Changes {
			if ch.CI95 != nil {
				got[ch.Workload] = ch.Ratio
			}
		}
		want := map[string]float64{}
		if len(list) == 2 {
			want = map[string]float64{"echo-at-30": 1.5, "echo-at-70": 1.7}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d estimates:\n%s", len(list), diff)
		}
	}
}

func TestCompareNeedsTwoRunsAndTakesEmptyOnes(t *testing.T) {
	if _, err := Compare([]Labeled{{"a", golden(t)}}, nil); err == nil {
		t.Error("one run was compared with nothing")
	}
	c, err := Compare([]Labeled{{"", &result.Run{}}, {"", &result.Run{Bench: &result.Bench{}, Conformance: &result.Conformance{}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range CompareFormats {
		if out := renderCompared(t, f.Name, c); out == "" {
			t.Errorf("%s: nothing was written", f.Name)
		}
		if err := f.Write(&fullDisk{20}, c); !errors.Is(err, errFull) {
			t.Errorf("%s: error %v, want %v", f.Name, err, errFull)
		}
	}
	var back Compared
	if err := json.Unmarshal([]byte(renderCompared(t, "json", c)), &back); err != nil || back.Schema != CompareSchema {
		t.Errorf("the JSON reads back as %+v, %v", back, err)
	}
}

func TestCompareEscapesWhatTargetsSaid(t *testing.T) {
	hostile := `"><script>alert(1)</script>|` + "`@someone\x1b]0;x\x07"
	a, b := golden(t), golden(t)
	b.Conformance.Results[0].Verdict, b.Conformance.Results[0].Title = result.CheckFail, hostile
	a.Conformance.Results[0].Title, a.Scenario.Name = hostile, hostile
	for i := range 2 {
		[]*result.Run{a, b}[i].Bench.Workloads[0].Name = hostile
		[]*result.Run{a, b}[i].Bench.Workloads[0].Arms[0].Path = hostile
	}
	c, err := Compare([]Labeled{{hostile, a}, {hostile, b}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"html": "<script", "markdown": "<script", "text": "\x1b"} {
		if out := renderCompared(t, name, c); strings.Contains(out, bad) {
			t.Errorf("%s has %q of a target", name, bad)
		}
	}
	if strings.Contains(renderCompared(t, "markdown", c), "@someone") {
		t.Error("the comparison mentions somebody")
	}
}

func TestMarkdownComparisonFitsAPullRequest(t *testing.T) {
	a, b := many(2000), many(2000)
	for i := range b.Conformance.Results {
		b.Conformance.Results[i].Verdict = result.CheckPass
	}
	c, err := Compare([]Labeled{{"a", a}, {"b", b}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out := renderCompared(t, "markdown", c); len(out) >= 64<<10 || !strings.Contains(out, "more, see") {
		t.Errorf("%d bytes, and it must say that something is left out", len(out))
	}
}
