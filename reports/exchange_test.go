package reports

import (
	"math"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// windowed is the golden run with a series on the first workload: the candidate takes twice as long in every window.
func windowed(t *testing.T) *result.Run {
	t.Helper()
	run := golden(t)
	w := &run.Bench.Workloads[0]
	for i := range w.Arms {
		for k := range int64(12) {
			ns := (90_000 + 1000*k) * int64(i+1)
			w.Arms[i].Series = append(w.Arms[i].Series, result.WindowSample{
				Pair: int(k), Phase: result.PhaseSteady, Requests: 100, P50NS: ns, P99NS: 3 * ns, MaxNS: 4 * ns,
			})
		}
		w.Arms[i].Series = append(w.Arms[i].Series,
			result.WindowSample{Pair: 12, Phase: result.PhaseSteady, Requests: 100, P50NS: 1, P99NS: 1, MaxNS: 1, Excluded: true},
			result.WindowSample{Pair: -1, Phase: result.PhaseSteady, Requests: 100, P50NS: 1, P99NS: 1, MaxNS: 1, Warmup: true})
	}
	return run
}

// benchmarks reads the format as benchstat does, and fails for a line it would stumble over.
func benchmarks(t *testing.T, text string) (list []*benchfmt.Result, units benchfmt.UnitMetadataMap) {
	t.Helper()
	r := benchfmt.NewReader(strings.NewReader(text), "run")
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			list = append(list, rec.Clone())
		case *benchfmt.SyntaxError:
			t.Errorf("benchstat does not understand: %v", rec)
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return list, r.Units()
}

func TestBenchstatGetsItsSamples(t *testing.T) {
	list, units := benchmarks(t, render(t, "benchstat", windowed(t)))
	values := map[string][]float64{}
	for _, r := range list {
		if v, ok := r.Value("p50-sec"); ok {
			values[string(r.Name)] = append(values[string(r.Name)], v)
		}
		if got := r.GetConfig("scenario"); got != "alb" {
			t.Fatalf("scenario is %q", got)
		}
	}
	direct, alb := values["Echo/path=direct/phase=steady_rtt-2"], values["Echo/path=alb-https/phase=steady_rtt-2"]
	if len(direct) != 12 || len(alb) != 12 {
		t.Fatalf("%d and %d samples, want 12 windows each: %v", len(direct), len(alb), values)
	}
	if direct[0] != 90e-6 {
		t.Errorf("first sample %g s, want 90 µs", direct[0])
	}
	a, b := benchmath.NewSample(direct, &benchmath.DefaultThresholds), benchmath.NewSample(alb, &benchmath.DefaultThresholds)
	if c := benchmath.AssumeNothing.Compare(a, b); !(c.P < c.Alpha) {
		t.Errorf("benchstat finds no difference in twice the time: p = %g", c.P)
	}
	if n := len(values["Echo/path=direct/phase=tcp-2"]); n != 1 {
		t.Errorf("a phase without a series has %d lines, want 1 over all windows", n)
	}
	if u := units.Get("p50-ns", "better"); u == nil || u.Value != "lower" {
		t.Errorf("which way is better: %v", u)
	}
}

func TestBenchstatNamesSurviveAnyText(t *testing.T) {
	run := windowed(t)
	run.Bench.Workloads[0].Name, run.Bench.Workloads[0].Arms[0].Path = "a b/c=d\n42 7 ns/op", "x/y\tz-3"
	run.Run.ID, run.Scenario.Name = "id\nBenchmarkFake 1 1 ns/op", "s\nBenchmarkFake 1 1 ns/op"
	list, _ := benchmarks(t, render(t, "benchstat", run))
	found := false
	for _, r := range list {
		found = found || string(r.Name) == "A_b_c_d_42_7_ns_op/path=x_y_z-3/phase=steady_rtt-2"
		if r.Name.Base()[0] == 'F' {
			t.Errorf("a text of the run became a result: %s", r.Name)
		}
	}
	if !found {
		t.Error("the workload is not there under its name without separators")
	}
}

func TestWorkloadsOfOneNameAreToldApart(t *testing.T) {
	list := []result.Workload{
		{Name: "echo", Load: &result.Load{Fraction: 0.3}}, {Name: "echo", Load: &result.Load{Fraction: 0.5}}, {Name: "echo"}, {Name: "echo"}, {Name: "echo"},
	}
	var got []string
	for _, n := range workloadNames(list) {
		got = append(got, n.Text())
	}
	if want := "echo-at-30, echo-at-50, echo, echo-2, echo-3"; strings.Join(got, ", ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestOpenMetricsIsReadByPrometheus(t *testing.T) {
	run := windowed(t)
	run.Bench.Workloads[0].Arms[0].Path = "a\"b\\c\nd\xff"
	run.Bench.Limits = append(run.Bench.Limits, run.Bench.Limits[0]) // the same sample twice
	run.Bench.Costs = []result.Cost{
		{Component: "router", Workload: "echo", Path: "direct", Process: true, CPUNS: 2_000_000_000, CPUPerRequestNS: 20_000, PSSBytes: 1 << 20, Descriptors: 12},
		{Component: "witness", Workload: "echo", Path: "direct"},
	}
	text := render(t, "openmetrics", run)
	if !strings.HasSuffix(text, "\n# EOF\n") || strings.Count(text, "# EOF") != 1 {
		t.Error("an OpenMetrics text ends with # EOF, once")
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	lat := families["tlsroute_bench_latency_seconds"]
	if lat == nil || lat.GetType().String() != "SUMMARY" {
		t.Fatalf("latency: %v", lat)
	}
	ok := false
	for _, m := range lat.GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["workload"] == "echo" && labels["phase"] == "steady_rtt" && labels["path"] == "a\"b\\c\nd\uFFFD" {
			ok = true
			q := m.GetSummary().GetQuantile()
			p := run.Bench.Workloads[0].Arms[0].Phases[result.PhaseSteady]
			if len(q) < 3 || math.Abs(q[0].GetValue()*1e9-float64(p.P50NS)) > 1 || m.GetSummary().GetSampleCount() != uint64(p.Count) {
				t.Errorf("summary %v, want the percentiles of %+v", m, p)
			}
		}
	}
	if !ok {
		t.Error("no summary of the arm with the hard name")
	}
	for name, want := range map[string]int{
		"tlsroute_bench_limit_met": 2, "tlsroute_bench_component_cpu_seconds": 1, "tlsroute_bench_verdict": 3, "tlsroute_bench_measurement_valid": 1,
	} {
		if n := len(families[name].GetMetric()); n != want {
			t.Errorf("%s has %d samples, want %d", name, n, want)
		}
	}
	// What the parser above lets pass: a unit is the end of the name, and a family stands together.
	done := map[string]bool{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case f[0] == "#" && f[1] == "UNIT" && !strings.HasSuffix(f[2], "_"+f[3]):
			t.Errorf("the unit is not in the name: %s", line)
		case f[0] == "#" && f[1] == "TYPE":
			if done[f[2]] {
				t.Errorf("family %s is there twice", f[2])
			}
			done[f[2]] = true
		}
	}
}
