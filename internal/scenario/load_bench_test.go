package scenario_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

func TestLoadOfABench(t *testing.T) {
	sc, err := scenario.Parse("x.yaml", []byte(small+`
bench:
  levels: [30, 50]
  warmup: {min: 15s}
  precision: {p99: 7.5%}
  workloads: [{name: echo, route: echo}, {name: echo, route: echo, mode: closed}, {name: echo, route: echo, steps: [{rate: 100, to: 1000, for: 5s}]}]
`), scenario.Vocabulary{})
	if err != nil {
		t.Fatal(err)
	}
	b := sc.Bench
	if b.Warmup.Min != scenario.Duration(15*time.Second) || *b.Warmup.Max != b.Warmup.Min || b.Precision.P50 != 0.02 || b.Precision.P99 != 0.075 ||
		b.Budget != scenario.DefaultBudget || b.Workloads[0].Mode != "open" || b.Workloads[2].Steps[0].To != 1000 {
		t.Errorf("got %+v, warm-up %+v, precision %+v", b, b.Warmup, b.Precision)
	}
	if text, err := json.Marshal(b.Precision); err != nil || string(text) != `{"p50":"2%","p99":"7.5%"}` {
		t.Errorf("%s, %v", text, err)
	}
	if sc, err = scenario.Parse("x.yaml", []byte(small+"bench: {warmup: {max: 0s}}\n"), scenario.Vocabulary{}); err != nil || *sc.Bench.Warmup.Max != 0 {
		t.Errorf("no warm-up: %v", err)
	}
}

func TestLoadThatContradictsItselfIsAFault(t *testing.T) {
	for text, want := range map[string]string{
		"{levels: [100]}":                "from 1 to 99 per cent",
		"{levels: [30, 30]}":             "given once",
		"{warmup: {min: 2s, max: 1s}}":   "min 2s is more than max 1s",
		"{budget: 10s}":                  "a budget is for precision",
		"{precision: {p50: 2}}":          "bench.precision.p50",
		"{precision: {p50: 2 per cent}}": "bench.precision.p50",
		"{workloads: [{name: echo, route: echo, mode: closed, rate: 1}]}":                "a closed loop has no rate",
		"{workloads: [{name: echo, route: echo, rate: 1, steps: [{rate: 1, for: 1s}]}]}": "steps are the rate",
		"{workloads: [{name: echo, route: echo, steps: [{rate: 1, for: 0s}]}]}":          "more than no time",
		"{workloads: [{name: echo, route: echo, steps: [{rate: 1}]}]}":                   "for",
		"{workloads: [{name: echo, route: echo}]}":                                       "sends nothing",
	} {
		_, err := scenario.Parse("x.yaml", []byte(small+"bench: "+text+"\n"), scenario.Vocabulary{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "x.yaml:") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
