package scenario_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/document"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/scenarios"
)

const small = `
name: small
topology: {paths: [direct]}
backends: [{name: witness, kind: witness}]
routes: [{name: echo, mode: terminate, backend: witness}]
`

func TestEveryEmbeddedScenarioLoads(t *testing.T) {
	for _, name := range scenarios.Names() {
		sc, err := scenario.Load(name, scenario.Vocabulary{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if sc.Name != name {
			t.Errorf("%s.yaml calls itself %q", name, sc.Name)
		}
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	sc, err := scenario.Parse("small.yaml", []byte(small+"bench: {workloads: [{name: echo, route: echo, rate: 1}]}\n"), scenario.Vocabulary{})
	if err != nil {
		t.Fatal(err)
	}
	if sc.Topology.Router.Name != scenario.DefaultRouterName || sc.Bench.Pairs != scenario.DefaultPairs ||
		time.Duration(sc.Bench.Window) != 500*time.Millisecond || sc.Bench.Arms[0] != "direct" ||
		sc.Bench.Workloads[0].Tunnels != 4 || sc.Bench.Workloads[0].Arrival != "poisson" || sc.Routes[0].ClientAuth != "none" ||
		sc.Topology.Router.Upgrade.PongTimeout != scenario.DefaultPong || sc.Topology.Router.Upgrade.RequireConnection {
		t.Errorf("got %+v", sc)
	}
	if len(sc.SHA256) != 64 {
		t.Errorf("sha256 %q", sc.SHA256)
	}
}

func TestNamesThatNobodyKnowsAreFaults(t *testing.T) {
	no := func(what string) func(string) error {
		return func(name string) error { return errors.New(what + " " + name) }
	}
	text := strings.Replace(small, "[direct]", "[direct, direct, alb-https]", 1) + `
conformance: {only: [NO-99], skip: [NO-98]}
bench: {arms: [alb-https, direct], workloads: [{name: ssh, route: echo, rate: 1}, {name: echo, route: gone}]}
limits: ["x"]
`
	_, err := scenario.Parse("x.yaml", []byte(text), scenario.Vocabulary{
		Check: no("no check"), Limit: func(expr string, _ []string) error { return errors.New("no limit " + expr) },
		WorkloadKind: func(name string) string { return name },
	})
	var faults *document.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		`x.yaml:3:28: path "direct" is given twice`,
		`path "alb-https" needs topology.load_balancer`,
		"no check NO-99", "no check NO-98", "no limit x",
		`workload "ssh" speaks to a ssh backend, but route "echo" leads to one of kind witness`,
		`no route is called "gone" (there are echo)`,
		`workload "echo" sends nothing`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault says %q:\n%v", want, err)
		}
	}
	if len(faults.List) != 8 {
		t.Errorf("%d faults:\n%v", len(faults.List), err)
	}
}

func TestArmsGivenTwiceAreAFault(t *testing.T) {
	_, err := scenario.Parse("x.yaml", []byte(small+"bench: {arms: [direct, direct]}\n"), scenario.Vocabulary{})
	if err == nil || !strings.Contains(err.Error(), `x.yaml:6:24: arm "direct" is given twice`) {
		t.Errorf("got %v", err)
	}
}

func TestOnePathAsTwoArms(t *testing.T) {
	sc, err := scenario.Parse("x.yaml", []byte(small+"bench: {arms: [direct, direct-again], again: {direct-again: direct}}\n"), scenario.Vocabulary{})
	if err != nil {
		t.Fatal(err)
	}
	if got := sc.Bench.PathOf("direct-again") + " " + sc.Bench.PathOf("direct"); got != "direct direct" {
		t.Errorf("got %s", got)
	}
	for text, want := range map[string]string{
		"{arms: [direct, other], again: {other: gone}}":   `arm "other" is not in topology.paths`,
		"{arms: [direct], again: {direct: direct}}":       `"direct" is a path of its own`,
		"{arms: [direct], again: {direct-again: direct}}": `"direct-again" is none of bench.arms`,
		"{arms: [direct, direct-again]}":                  `arm "direct-again" is not in topology.paths`,
	} {
		if _, err := scenario.Parse("x.yaml", []byte(small+"bench: "+text+"\n"), scenario.Vocabulary{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestOddDocumentsAreFaultsWithAPlace(t *testing.T) {
	for text, want := range map[string]string{
		"~\n":    "must be object, not null",
		"- a\n":  "must be object, not array",
		"alb\n":  "must be object, not string",
		"{}\n":   "missing field",
		"\xff\n": "not text in UTF-8",
		small + "bench: {workloads: [{name: echo, route: echo, rate: 2000000}]}\n":         "bench.workloads[0].rate",
		small + "bench: {window: 9999999999h}\n":                                           "9999999999h",
		strings.Replace(small, "mode: terminate", "mode: passthrough, backend_tls: on", 1): "x.yaml:5:55: a passthrough route has no TLS of its own",
	} {
		_, err := scenario.Parse("x.yaml", []byte(text), scenario.Vocabulary{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "x.yaml:") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDurationsAreStrings(t *testing.T) {
	for value, want := range map[string]string{
		"30":    "bench.window must be string, not number",
		"quick": "bench.window",
	} {
		_, err := scenario.Parse("x.yaml", []byte(small+"bench: {window: "+value+"}\n"), scenario.Vocabulary{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("window %s: %v", value, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range scenarios.Names() {
		data, _ := scenarios.Find(name)
		f.Add(string(data))
	}
	for _, more := range []string{"", "bench: {}\n", "bench: {arms: [direct, direct], pairs: 1e9}\n", "conformance: ~\n", "limits: [~, '']\n", "name: again\n", "---\n", "x: *y\n"} {
		f.Add(small + more)
	}
	f.Add(strings.Replace(small, "direct", "alb-https", 1))
	f.Fuzz(func(t *testing.T, text string) {
		sc, err := scenario.Parse("x.yaml", []byte(text), scenario.Vocabulary{})
		if (sc == nil) == (err == nil) {
			t.Fatalf("scenario %v, error %v", sc, err)
		}
	})
}
