package bench

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func measured() []result.Workload {
	phases := func(ms int64) map[string]result.Phase {
		p := result.Phase{Count: 1000, P50NS: ms * 1e6, P90NS: 2 * ms * 1e6, P99NS: 3 * ms * 1e6, P999NS: 4 * ms * 1e6, MaxNS: 5 * ms * 1e6}
		return map[string]result.Phase{result.PhaseSteady: p, result.PhaseConnect: p}
	}
	with := func(name string, direct, alb int64, errs int64, ratio float64, ci [2]float64) result.Workload {
		return result.Workload{
			Name: name, RatePerS: 100, ConnectRatePerS: 10,
			Arms: []result.Arm{
				{Path: "direct", Requests: 500, Phases: phases(direct)},
				{Path: "alb-https", Requests: 500, Errors: errs, Phases: phases(alb)},
			},
			Comparisons: []result.Comparison{{
				Baseline: "direct", Candidate: "alb-https", Metric: "steady_rtt.p50", Ratio: ratio, CI95: ci, Pairs: 12,
			}},
		}
	}
	steadyOnly := with("ssh", 9, 9, 0, 1, [2]float64{0.9, 1.1})
	steadyOnly.ConnectRatePerS = 0
	delete(steadyOnly.Arms[0].Phases, result.PhaseConnect)
	return []result.Workload{
		with("echo", 2, 3, 0, 1.5, [2]float64{1.4, 1.6}),
		with("postgres", 4, 8, 2, 2, [2]float64{1.9, 2.1}),
		steadyOnly,
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		expr     string
		ok       bool
		value    float64
		workload string
		detail   string
	}{
		{"errors == 0", false, 2, "", ""},
		{"errors <= 2", true, 2, "", ""},
		{"errors / requests < 0.001", true, 2. / 3000, "", ""},
		{"requests >= 3000", true, 3000, "", ""},
		{"errors != 2", false, 2, "", ""},
		{"direct.connect.p50 < 50ms", true, 4e6, "postgres", "4ms"},
		{"direct.connect.p50 < 3ms", false, 4e6, "postgres", "4ms"},
		{"direct.connect.max < 20ms + 1us", true, 20e6, "postgres", "20ms"},
		{"3ms > direct.connect.p50", false, 4e6, "postgres", ""},
		{"alb-https.steady_rtt.p50 - direct.steady_rtt.p50 < 5ms", true, 4e6, "postgres", "4ms"},
		{"alb-https.steady_rtt.p50 / direct.steady_rtt.p50 < 2.05", false, 2.1, "postgres", "upper bound"},
		{"alb-https.steady_rtt.p50/direct.steady_rtt.p50 < 2.2", true, 2.1, "postgres", "upper bound"},
		{"(alb-https.steady_rtt.p50 / direct.steady_rtt.p50) > 0.95", false, 0.9, "ssh", "lower bound"},
		{"2.05 > alb-https.steady_rtt.p50 / direct.steady_rtt.p50", false, 2.1, "postgres", "upper bound"},
		{"direct.steady_rtt.p50 / alb-https.steady_rtt.p50 > 0.45", true, 1 / 2.1, "postgres", "lower bound"},
		{"alb-https.steady_rtt.p99 / direct.steady_rtt.p99 < 1.9", false, 2, "postgres", "not compared"},
		{"(alb-https.steady_rtt.p99 + 2ms) * 2 / direct.steady_rtt.p99 <= 1 + 2 * 2", true, 13. / 3, "postgres", ""},
		{"-direct.connect.p50 < -1ms", true, -2e6, "echo", ""},
		{"alb-https.upgrade.p50 < 1s", false, 0, "echo", "no samples"},
		{"errors * 1e308 * 1e308 < 1", false, 0, "", "beyond what a number can hold"},
		{"direct.connect.p50 / (direct.connect.p90 - direct.connect.p90) < 1", false, 0, "echo", "division by zero"},
	} {
		t.Run(c.expr, func(t *testing.T) {
			ls, err := parseLimits([]string{c.expr}, []string{"direct", "alb-https"})
			if err != nil {
				t.Fatal(err)
			}
			got := ls[0].evaluate(&result.Bench{Workloads: measured()})
			if got.Expr != c.expr || got.OK != c.ok || got.Value != c.value || got.Workload != c.workload || !strings.Contains(got.Detail, c.detail) {
				t.Errorf("got %+v, want ok %v, value %v of %q, detail with %q", got, c.ok, c.value, c.workload, c.detail)
			}
			if _, err := json.Marshal(got); err != nil {
				t.Errorf("not writable as JSON: %v", err)
			}
		})
	}
}

func TestLimitsOnIntervalsRatesAndTheFarTail(t *testing.T) {
	w := measured()
	echo := &w[0].Arms[0]
	p := echo.Phases[result.PhaseSteady]
	p.CI95NS, p.Needs = map[string][2]int64{"p99": {5e6, 8e6}}, map[string]int64{"p999": 120, "p9999": 35_887}
	echo.Phases = map[string]result.Phase{result.PhaseSteady: p}
	echo.ThroughputPerS, echo.BytesPerS = 250, 1e9
	w = w[:1]
	for expr, want := range map[string]struct {
		ok     bool
		value  float64
		detail string
	}{
		"direct.steady_rtt.p99 < 7ms":      {false, 8e6, "upper bound"},
		"direct.steady_rtt.p99 <= 8ms":     {true, 8e6, "upper bound"},
		"7ms > direct.steady_rtt.p99":      {false, 8e6, "upper bound"},
		"direct.steady_rtt.p99 > 5.5ms":    {false, 5e6, "lower bound"},
		"direct.steady_rtt.p99 == 6ms":     {true, 6e6, ""},
		"direct.steady_rtt.p999 < 9ms":     {true, 8e6, "needs 120 more"},
		"direct.steady_rtt.p9999 < 1s":     {false, 0, "needs 35887 more samples"},
		"direct.throughput > 200":          {true, 250, ""},
		"direct.throughput > 250":          {false, 250, ""},
		"direct.bytes_per_s / 1e6 > 900":   {true, 1000, ""},
		"alb-https.bytes_per_s > 1":        {false, 0, "moved no payload"},
		"alb-https.throughput < 1":         {true, 0, ""},
		"direct.throughput / requests < 1": {true, 0.25, ""},
	} {
		ls, err := parseLimits([]string{expr}, []string{"direct", "alb-https"})
		if err != nil {
			t.Fatal(err)
		}
		if got := ls[0].evaluate(&result.Bench{Workloads: w}); got.OK != want.ok || got.Value != want.value || !strings.Contains(got.Detail, want.detail) {
			t.Errorf("%s: got %+v, want ok %v, value %v, detail with %q", expr, got, want.ok, want.value, want.detail)
		}
	}
	for _, expr := range []string{"direct.throughput < 5ms", "who.throughput > 1", "direct.speed > 1"} {
		if err := CheckLimits([]string{expr}, "direct"); err == nil {
			t.Errorf("%s is taken", expr)
		}
	}
}

func TestLimitsOnWhatComponentsUse(t *testing.T) {
	b := &result.Bench{Workloads: measured()[:2]}
	b.Workloads[1].Label = "postgres-2"
	for _, w := range []string{"echo", "postgres-2", "postgres"} { // no workload has the last label: it must not be taken for its name
		factor := map[string]float64{"echo": 1, "postgres-2": 2, "postgres": 100}[w]
		for path, ns := range map[string]float64{"direct": 100e3, "alb-https": 250e3 * factor} {
			b.Costs = append(b.Costs, result.Cost{Component: "router", Workload: w, Path: path, Process: true, CPUPerConnectNS: ns, BytesPerTunnel: 2000, DescriptorsPerTunnel: 2})
		}
	}
	for expr, want := range map[string]struct {
		ok       bool
		value    float64
		workload string
		detail   string
	}{
		"alb-https.router.cpu_per_connect / direct.router.cpu_per_connect < 4": {false, 5, "postgres", ""},
		"alb-https.router.cpu_per_connect < 500us":                             {false, 500e3, "postgres", "500µs"},
		"alb-https.router.cpu_per_connect <= 500us":                            {true, 500e3, "postgres", ""},
		"direct.router.bytes_per_tunnel < 8192":                                {true, 2000, "echo", ""},
		"direct.router.descriptors_per_tunnel == 2":                            {true, 2, "echo", ""},
		"direct.router.cpu_per_request < 1s":                                   {false, 0, "", "processes: separate"},
		"direct.alb.cpu_per_connect < 1s":                                      {false, 0, "", "processes: separate"},
	} {
		ls, err := parseLimits([]string{expr}, []string{"direct", "alb-https"})
		if err != nil {
			t.Fatal(err)
		}
		got := ls[0].evaluate(b)
		if got.OK != want.ok || got.Value != want.value || got.Workload != want.workload || !strings.Contains(got.Detail, want.detail) {
			t.Errorf("%s: %+v, want %+v", expr, got, want)
		}
	}
}

func TestLimitOnWhatNoWorkloadMeasuredIsMissed(t *testing.T) {
	ls, err := parseLimits([]string{"direct.connect.p50 < 1s"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := ls[0].evaluate(&result.Bench{Workloads: measured()[2:]}); got.OK || got.Detail == "" {
		t.Errorf("got %+v", got)
	}
}

func TestLimitFaultsHaveAColumnAndSayWhatThereIs(t *testing.T) {
	for expr, want := range map[string]struct {
		column int
		text   string
	}{
		"":                                   {1, "want a value, found the end"},
		"errors":                             {7, "want a comparison"},
		"errors = 0":                         {8, `did you mean "=="`},
		"errors == 0 0":                      {13, "want the end"},
		"errors == ":                         {11, "want a value, found the end"},
		"(errors == 0":                       {9, "want )"},
		"upgraded.connect.p50 < 1s":          {1, `no arm "upgraded"; there are direct, alb-https`},
		"direct.conect.p50 < 1s":             {1, `no phase "conect"; there are dns, tcp, outer_tls`},
		"direct.connect.p95 < 1s":            {1, `no quantile "p95"; there are p50, p90, p99`},
		"direct.connect.p50-1ms < 1s":        {1, "a minus needs a space"},
		"1s > direct.connect":                {6, `"direct.connect" is none of`},
		"direct.router.cpu_per_request < 5":  {31, "a time needs a unit"},
		"up.router.cpu_per_request < 5ms":    {1, `no arm "up"`},
		"direct.connect.p50 < 50":            {20, "a time needs a unit"},
		"errors < 5ms":                       {8, "compares a plain number with a time"},
		"direct.connect.p50 + 1 < 1s":        {20, "+ between a time and a plain number"},
		"errors == 5mss":                     {11, "neither a number nor a duration"},
		"1 < 2":                              {1, "nothing that is measured"},
		"errors == 0 & requests > 5":         {13, "unexpected character '&'"},
		strings.Repeat("(", 5000) + "errors": {101, "nested too deeply"},
	} {
		t.Run(expr[:min(len(expr), 40)], func(t *testing.T) {
			err := CheckLimits([]string{expr}, "direct", "alb-https")
			var le *LimitError
			if !errors.As(err, &le) {
				t.Fatalf("got %v, want a *LimitError", err)
			}
			if le.Column != want.column || !strings.Contains(le.Message, want.text) {
				t.Errorf("column %d, %q; want %d and %q", le.Column, le.Message, want.column, want.text)
			}
		})
	}
}

func TestCheckLimitsReportsEveryFaultAndAsksForArmsOnlyWhenGiven(t *testing.T) {
	err := CheckLimits([]string{"errors =", "errors == 0", "whoever.connect.p50 < 1s", "1"})
	if err == nil || strings.Count(err.Error(), "limit ") != 2 {
		t.Errorf("got %v, want two faults", err)
	}
}

func FuzzCheckLimits(f *testing.F) {
	for _, s := range []string{"errors == 0", "alb-https.steady_rtt.p99 / direct.steady_rtt.p99 < 1.5", "1.5µs>-(a.tcp.max)", "a--b", "µ", "1µ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ls, err := parseLimits([]string{s}, nil)
		var le *LimitError
		if err != nil && (!errors.As(err, &le) || le.Column < 1 || le.Column > len(s)+1) {
			t.Fatalf("%q: %v", s, err)
		}
		for _, l := range ls {
			l.evaluate(&result.Bench{Workloads: measured()}) // must not panic
		}
	})
}
