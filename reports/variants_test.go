package reports

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// variants are runs that are not the good one, as small as they can be: each has its golden page and its place in the browser's
// tour. Judge sets their verdicts, so that they are what a run would have written.
func variants() map[string]*result.Run {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	start := func() *result.Run {
		return &result.Run{
			Schema:   result.Schema,
			Run:      result.Info{ID: "20260301-120000-7", Started: at, Finished: at.Add(42 * time.Second), Seed: 7, Version: "dev", Commit: "0123456789abcdef", Host: result.Host{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26"}},
			Scenario: result.Scenario{Name: "alb", File: "scenarios/alb.yaml", SHA256: strings.Repeat("ab", 32)},
			Backends: []result.Backend{{Name: "witness", Kind: "witness", Driver: "embedded", Product: "tlsroute-bench witness", Version: "1"}},
		}
	}
	check := func(id string, v result.CheckVerdict) result.CheckResult {
		return result.CheckResult{Check: id, Slug: strings.ToLower(id), Title: "a ClientHello in many segments is routed", Group: id[:3], Level: "MUST", Origin: "rfc", Target: "refimpl", Role: "router", Path: "direct", Verdict: v, Outcome: "routed", DurationMS: 1.5}
	}
	arm := func(path string, ns int64) result.Arm {
		p := result.Phase{Count: 1200, P50NS: ns, P90NS: 2 * ns, P99NS: 3 * ns, P999NS: 4 * ns, MaxNS: 5 * ns}
		return result.Arm{Path: path, Requests: 1400, ThroughputPerS: 220, Phases: map[string]result.Phase{result.PhaseSteady: p, result.PhaseService: p}}
	}
	workload := func() result.Workload {
		return result.Workload{
			Name: "echo", Backend: "witness", Arms: []result.Arm{arm("direct", 90_000), arm("alb-https", 180_000)}, Windows: 6, WindowNS: 5e8, RatePerS: 200, Arrival: "poisson",
			Comparisons: []result.Comparison{{Baseline: "direct", Candidate: "alb-https", Metric: "steady_rtt.p50", Ratio: 1.9, CI95: [2]float64{1.7, 2.2}, DeltaNS: 90_000, Pairs: 6, PAdjusted: 0.03125, Verdict: "slower"}},
		}
	}
	runs := map[string]*result.Run{}

	r := start()
	bad := check("DET-01", result.CheckFail)
	bad.Outcome, bad.Expected, bad.Detail, bad.Evidence = "timeout", []string{"routed"}, "expected routed, got nothing for 2 s", []string{"evidence/DET-01.pcapng"}
	r.Conformance = &result.Conformance{Results: []result.CheckResult{bad, check("DET-02", result.CheckPass)}}
	w := workload()
	w.Arms[1].Errors, w.Arms[1].ErrorSamples = 3, []string{"echo: read: connection reset by peer", "dial: timeout"}
	r.Bench = &result.Bench{
		Workloads: []result.Workload{w}, Validity: result.Validity{OK: true},
		Limits: []result.Limit{{Expr: "errors == 0", Value: 3}, {Expr: "alb-https.steady_rtt.p50 / direct.steady_rtt.p50 < 20", Workload: "echo", Value: 2.2, OK: true, Detail: "upper bound of the 95 % interval [1.700, 2.200] of the ratio, estimate 1.900, 6 pairs of windows"}},
	}
	runs["fail"] = r

	r = start()
	r.Partial = true
	r.Conformance = &result.Conformance{Results: []result.CheckResult{check("DET-01", result.CheckPass), check("DET-02", result.CheckNotRun)}}
	w = workload()
	w.Windows, w.Comparisons, w.Arms[0].Notes = 1, nil, []string{"1 tunnel that broke was opened again"}
	r.Bench = &result.Bench{Workloads: []result.Workload{w}, Validity: result.Validity{Reasons: []string{"the run was stopped before its end: interrupt"}}}
	runs["interrupted"] = r

	r = start()
	r.Conformance = &result.Conformance{Results: []result.CheckResult{check("DET-01", result.CheckPass), check("UPG-01", result.CheckTolerated)}}
	long := strings.Repeat("a-long-label.", 18) + "example.test"
	r.Wire = []result.Wire{
		{Path: "direct", Hop: "client->router", Route: "echo", SNI: &long, ALPN: []string{strings.Repeat("p", 255), "teleport-postgres-ping", "h2"}, Source: "capture"},
		{Path: "alb-https", Hop: "alb->router", ALPN: nil, Source: "capture"},
	}
	r.CaptureNotes = []string{"The capture lacks 3 packets."}
	runs["no-bench"] = r

	r = start()
	r.Bench = &result.Bench{Workloads: []result.Workload{workload()}, Validity: result.Validity{OK: true}}
	runs["no-conformance"] = r

	r = start()
	w = workload()
	w.Arms[1].Errors, w.Arms[1].ErrorSamples = 7, []string{"echo: read: connection reset by peer"}
	r.Bench = &result.Bench{Workloads: []result.Workload{w}, Validity: result.Validity{OK: true}}
	strikes := []result.Strike{}
	for i := range int64(7) {
		strikes = append(strikes, result.Strike{AtNS: 3_001_000_000 + i*100_000, Path: "alb-https"})
	}
	r.Faults = []result.Fault{
		{AtNS: 3e8, Injected: true, InjectedNS: 3e8, Backend: "db", Paths: []string{"direct", "alb-https"}, Kind: "kill", Detail: "for 2s", Seed: 10},
		{AtNS: 1e9, Injected: true, InjectedNS: 1_000_200_000, Hop: "client->alb", Paths: []string{"alb-http", "alb-https"}, Direction: "down", Kind: "latency", Detail: "delay 20ms, jitter up to 5ms, for 1s", Seed: 11},
		{AtNS: 3e9, Injected: true, InjectedNS: 3_000_100_000, Hop: "alb->router", Paths: []string{"alb-https"}, Kind: "reset", Seed: 12, Struck: 7, Strikes: strikes},
		{AtNS: 90e9, Hop: "client->alb", Paths: []string{"alb-https"}, Kind: "rotate", Seed: 13},
	}
	runs["faults"] = r

	r = start()
	r.LoadBalancers = []result.LoadBalancer{{Name: "haproxy", Driver: "real", Product: "haproxy", Version: "2.6.12-1+deb12u4"}, {Name: "alb", Driver: "simulator", Product: "aws-alb", Knobs: []result.Knob{
		{Name: "ALPNOffer", Value: "[h2 http/1.1]", Grade: "O", Source: "alb.md 2"},
		{Name: "HalfClose", Value: "propagate", Grade: "unknown", Source: "alb.md 16.1"},
		{Name: "BackendALPN", Grade: "I", Source: "alb.md 2"},
	}}}
	r.Likeness = []result.Likeness{
		{
			LoadBalancer: "haproxy", Product: "haproxy", Version: "2.6.12-1+deb12u4", Profile: "haproxy", Compared: 8,
			Differences: []result.Difference{{Check: "ALB-IDLE-02", Slug: "alb-idle-reset", Title: "bytes in either direction keep a tunnel alive", Simulated: "cut", Real: "alive", SimulatedDetail: "EOF after 2s"}},
			Unclear:     []result.Unclear{{Checks: []string{"ALB-TLS-03", "ALB-UPG-01"}, Why: "on the simulator: INCONCLUSIVE: the target does not answer"}},
		},
		{LoadBalancer: "nginx", Product: "nginx", Version: "1.22.1", Profile: "nginx", Compared: 9, Differences: []result.Difference{}},
	}
	hop := func(name string) result.Hop { return result.Hop{Name: name, Address: "127.0.0.1:1", TLS: true} }
	r.Topology = []result.Path{
		{Name: "direct", Hops: []result.Hop{hop("client->router")}},
		{Name: "alb-https", Hops: []result.Hop{hop("client->alb"), hop("alb->router"), hop("inner")}},
		{Name: "chain", Hops: []result.Hop{hop("client->haproxy"), hop("haproxy->alb"), hop("alb->router"), hop("inner")}},
		{Name: "nginx", Hops: []result.Hop{hop("client->nginx"), hop("nginx->router"), hop("inner")}},
	}
	for _, p := range r.Topology {
		for _, h := range p.Hops {
			r.Wire = append(r.Wire, result.Wire{Path: p.Name, Hop: h.Name, Route: "echo", ALPN: []string{}, Source: "capture", SHA256: p.Name + h.Name})
		}
	}
	r.CountTLS()
	w = workload()
	w.Arms = append(w.Arms, arm("chain", 400_000), arm("nginx", 300_000))
	w.Steps = []result.Step{
		{From: "direct", To: "alb-https", Metric: "connect.p50", AddedNS: 3_700_000, CI95NS: [2]int64{3_100_000, 4_200_000}, Pairs: 6},
		{From: "direct", To: "alb-https", Metric: "steady_rtt.p50", AddedNS: 90_000, CI95NS: [2]int64{-2_000, 120_000}, Pairs: 6},
		{From: "alb-https", To: "chain", Metric: "steady_rtt.p50", AddedNS: 220_000, CI95NS: [2]int64{190_000, 240_000}, Pairs: 6},
		{From: "chain", To: "nginx", Metric: "steady_rtt.p50", AddedNS: -100_000, CI95NS: [2]int64{-190_000, -40_000}, Pairs: 6}, // no neighbours on the way
	}
	r.Bench = &result.Bench{Workloads: []result.Workload{w}, Validity: result.Validity{OK: true}}
	runs["chain"] = r

	for _, r := range runs {
		r.Judge()
	}
	runs["full"] = full(newFixture(16))
	return runs
}

// A hop has a price only when two arms differ by it alone; of paths that differ otherwise nothing is said.
func TestWhatAHopAddsIsSaidOfNeighboursOnly(t *testing.T) {
	got := hopCosts(variants()["chain"])
	if len(got) != 2 || got[0].Station != "alb" || got[0].Connect == nil || got[0].RTT == nil || got[1].Station != "haproxy" || got[1].Connect != nil {
		t.Errorf("got %+v", got)
	}
	if got := tlsCounts(variants()["chain"]); got != "TLS connections by path: direct 1, alb-https 3, chain 4, nginx 3." {
		t.Errorf("got %q", got)
	}
}

func TestEveryVariantMatchesItsGoldenFile(t *testing.T) {
	for name, run := range variants() {
		for _, format := range []string{"html", "markdown", "text"} {
			t.Run(name+"/"+format, func(t *testing.T) {
				got := render(t, format, run)
				file := filepath.Join("testdata", name+"."+format+".golden")
				if format == "html" { // the style is in the golden file of the large run
					got = strings.Replace(got, string(style), "", 1)
				}
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatalf("%v (write it with -update, then read it)", err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("differs from %s (-want +got), look at it and use -update:\n%s", file, diff)
				}
			})
		}
	}
}

// The schema is generated from the types (internal/gen), the files are written by the json format: they must agree.
func TestReportsAreValidByThePublishedSchema(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("schema/report.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("report.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("report.json")
	if err != nil {
		t.Fatal(err)
	}
	runs := variants()
	runs["golden"], runs["empty"] = golden(t), &result.Run{Schema: result.Schema, Verdict: result.Inconclusive}
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(render(t, "json", run)))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(value); err != nil {
				t.Error(err)
			}
			// The control: what is promised cannot be left out.
			object := value.(map[string]any)
			for _, field := range []string{"schema", "run", "scenario", "verdict", "backends", "wire"} {
				kept := object[field]
				delete(object, field)
				if schema.Validate(value) == nil {
					t.Errorf("valid without %q", field)
				}
				object[field] = kept
			}
		})
	}
}

// shape is DESIGN.md section 6 to the letter: every name that a reader may rely on, and the type of its value.
const shape = `{
 "schema": "s", "run": {"id": "s", "started": "s", "finished": "s", "seed": 1, "version": "s", "commit": "s", "host": {}},
 "scenario": {"name": "s", "file": "s", "sha256": "s"}, "verdict": "s",
 "backends": [{"name": "s", "driver": "s", "product": "s", "version": "s"}],
 "conformance": {"totals": {"FAIL": 1}, "results": [{"check": "s", "level": "s", "origin": "s", "target": "s", "path": "s", "verdict": "s", "outcome": "s", "duration_ms": 1, "evidence": ["s"]}]},
 "wire": [{"path": "s", "hop": "s", "alpn": [], "client_cert": true}],
 "bench": {"workloads": [{"name": "s", "backend": "s",
   "arms": [{"path": "s", "requests": 1, "errors": 1, "throughput_per_s": 1, "phases": {"steady_rtt": {"count": 1, "p50_ns": 1, "p90_ns": 1, "p99_ns": 1, "p999_ns": 1, "max_ns": 1}}}],
   "comparisons": [{"baseline": "s", "candidate": "s", "metric": "s", "ratio": 1, "ci95": [1, 1], "verdict": "s"}]}],
  "limits": [{"expr": "s", "value": 1, "ok": true}], "validity": {"ok": true, "reasons": []}}
}`

// fits compares the types of what is in want with what is in got, every element of a list with the first wanted.
func fits(t *testing.T, at string, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s is %T, not an object", at, got)
			return
		}
		for name, w := range want {
			g, ok := object[name]
			if !ok {
				t.Errorf("%s.%s is missing", at, name)
				continue
			}
			fits(t, at+"."+name, w, g)
		}
	case []any:
		list, ok := got.([]any)
		if !ok {
			t.Errorf("%s is %T, not a list", at, got)
			return
		}
		for _, g := range list {
			if len(want) > 0 {
				fits(t, at+"[]", want[0], g)
			}
		}
		if len(want) == 2 && len(list) != 2 {
			t.Errorf("%s has %d elements, not 2", at, len(list))
		}
	case string:
		if _, ok := got.(string); !ok {
			t.Errorf("%s is %T, not a string", at, got)
		}
	case float64:
		if _, ok := got.(float64); !ok {
			t.Errorf("%s is %T, not a number", at, got)
		}
	case bool:
		if _, ok := got.(bool); !ok {
			t.Errorf("%s is %T, not a boolean", at, got)
		}
	}
}

func TestReportHasTheFieldsThatReadersRelyOn(t *testing.T) {
	var want any
	if err := json.Unmarshal([]byte(shape), &want); err != nil {
		t.Fatal(err)
	}
	runs := variants()
	for name, run := range map[string]*result.Run{"golden": golden(t), "fail": runs["fail"]} {
		t.Run(name, func(t *testing.T) {
			var got any
			if err := json.Unmarshal([]byte(render(t, "json", run)), &got); err != nil {
				t.Fatal(err)
			}
			fits(t, "report", want, got)
		})
	}
	var run struct {
		Wire []struct {
			SNI  *json.RawMessage `json:"sni"`
			ALPN json.RawMessage  `json:"alpn"`
		} `json:"wire"`
	}
	text := render(t, "json", runs["no-bench"])
	if err := json.Unmarshal([]byte(text), &run); err != nil {
		t.Fatal(err)
	}
	if strings.Count(text, `"sni": null`) != 1 || run.Wire[1].SNI != nil || string(run.Wire[1].ALPN) != "[]" {
		t.Errorf("an absent name or list is written as %s", text)
	}
}
