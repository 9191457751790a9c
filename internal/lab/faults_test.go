package lab

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

const faulty = `
name: faulty
topology:
  paths: [direct, alb-https, slow]
  load_balancers: {alb: {}, slow: {}}
  faults:
    - {at: 100ms, hop: slow->router, direction: down, kind: latency, delay: 20ms, jitter: 1ms}
    - {at: 1s, hop: alb->router, kind: reset}
    - {at: 1500ms, hop: client->alb, direction: up, kind: half-close, for: 10s} # for the tunnels that are opened again
    - {at: 1h, hop: client->alb, kind: stall}
backends: [{name: witness, kind: witness}]
routes: [{name: echo, sni: [echo.example.test], alpn: [tlsroute-echo], mode: terminate, backend: witness}]
bench:
  window: 200ms
  guard: 50ms
  pairs: 5
  workloads: [{name: echo, route: echo, rate: 60, tunnels: 4}]
`

// playFaulty measures while the faults are played.
func playFaulty(t *testing.T, seed int64) (*Lab, *result.Bench, []result.Fault) {
	t.Helper()
	l := startText(t, faulty, Options{})
	plan, err := l.Plan(seed)
	if err != nil {
		t.Fatal(err)
	}
	play := l.PlayFaults(t.Context(), seed)
	measured, err := bench.Run(t.Context(), plan, bench.Options{})
	faults := play.Stop()
	if err != nil {
		t.Fatal(err)
	}
	return l, measured, faults
}

func TestFaultsStrikeTheArmThatTheyAreFor(t *testing.T) {
	const seed = 7
	l, measured, faults := playFaulty(t, seed)
	arms := map[string]result.Arm{}
	for _, a := range measured.Workloads[0].Arms {
		arms[a.Path] = a
	}
	for _, path := range []string{"direct", "slow"} {
		if a := arms[path]; a.Errors != 0 || a.Requests == 0 {
			t.Errorf("%s: %d errors of %d, such as %q", path, a.Errors, a.Requests, a.ErrorSamples)
		}
	}
	if a := arms["alb-https"]; a.Errors == 0 {
		t.Errorf("alb-https: no errors of %d, although its tunnels were reset", a.Requests)
	}
	wantSlow(t, l, "slow", 20*time.Millisecond)
	want := []result.Fault{
		{AtNS: 1e8, Injected: true, Hop: "slow->router", Paths: []string{"slow"}, Direction: "down", Kind: "latency", Detail: "delay 20ms, jitter up to 1ms"},
		{AtNS: 1e9, Injected: true, Hop: "alb->router", Paths: []string{"alb-https"}, Kind: "reset"},
		{AtNS: 1_500_000_000, Injected: true, Hop: "client->alb", Paths: []string{"alb-https"}, Direction: "up", Kind: "half-close", Detail: "for 10s"},
		{AtNS: 3600e9, Hop: "client->alb", Paths: []string{"alb-https"}, Kind: "stall"},
	}
	seeds := map[uint64]bool{}
	for i, f := range faults {
		if f.Injected && f.InjectedNS < f.AtNS {
			t.Errorf("%s at %v was injected at %v", f.Kind, time.Duration(f.AtNS), time.Duration(f.InjectedNS))
		}
		for _, s := range f.Strikes {
			if s.AtNS < f.AtNS || s.Path != "alb-https" {
				t.Errorf("%s at %v struck %+v", f.Kind, time.Duration(f.AtNS), s)
			}
		}
		if ends := f.Kind == "reset" || f.Kind == "half-close"; (f.Struck > 0) != ends || len(f.Strikes) != min(f.Struck, result.MaxStrikes) {
			t.Errorf("%s struck %d connections, and %d are told of", f.Kind, f.Struck, len(f.Strikes))
		}
		seeds[f.Seed] = true
		faults[i].InjectedNS, faults[i].Seed, faults[i].Struck, faults[i].Strikes = 0, 0, 0, nil
	}
	if diff := cmp.Diff(want, faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if len(seeds) != len(want) {
		t.Errorf("%d seeds for %d faults", len(seeds), len(want))
	}
}

func TestOneSeedInjectsTheSame(t *testing.T) {
	l := startText(t, faulty, Options{})
	planned := func(seed int64) []result.Fault {
		faults := l.PlayFaults(t.Context(), seed).Stop()
		for i := range faults {
			faults[i].Injected, faults[i].InjectedNS = false, 0 // how far it came is the machine's affair
		}
		return faults
	}
	first := planned(7)
	if diff := cmp.Diff(first, planned(7)); diff != "" {
		t.Errorf("the same seed (-first +second):\n%s", diff)
	}
	if other := planned(8); other[0].Seed == first[0].Seed {
		t.Errorf("two seeds make the same chance: %d", first[0].Seed)
	}
}

// A node that comes later has the faults that are still at work, and those alone.
func TestANewNodeHasWhatIsStillAtWork(t *testing.T) {
	text := strings.Replace(faulty, "alb: {}", "alb: {nodes: 2}", 1)
	l := startText(t, text, Options{})
	c, _ := l.chain("alb-https")
	alb := c.nodes[0].alb
	for _, i := range []albsim.Injection{
		{Kind: "reset", Hop: "client", Clock: "server"},                                                  // over
		{Kind: "stall", Hop: "client", Clock: "server", For: 1},                                          // over
		{Kind: "latency", Hop: "client", Clock: "server", Delay: albsim.Duration(80 * time.Millisecond)}, // for good
	} {
		if err := alb.inject(i); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // so that no node is an old one
		if err := alb.rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantSlow(t, l, "alb-https", 80*time.Millisecond)
}

func TestMeasuresOfFaultsAreChecked(t *testing.T) {
	text := strings.Replace(faulty, "kind: reset", "kind: reset, delay: 1s", 1)
	text = strings.Replace(text, "delay: 20ms, ", "", 1)
	_, err := scenario.Parse("faulty.yaml", []byte(text), scenario.Vocabulary{Topology: Check})
	for _, want := range []string{"faulty.yaml:7:7: delay: latency needs it", "faulty.yaml:8:54: delay: is nothing that reset goes by"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// wantSlow wants a connection over a path to take as long as its fault makes it.
func wantSlow(t *testing.T, l *Lab, path string, least time.Duration) {
	t.Helper()
	d, err := l.Dialer(path, "echo")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	conn, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if took := time.Since(began); took < least {
		t.Errorf("%s: a connection took %v, with a delay of %v", path, took, least)
	}
}
