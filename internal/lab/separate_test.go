package lab

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
	"github.com/tlsroute/tlsroute-bench/internal/process"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// daemonMain is "PROGRAM router|alb --config FILE --ready FILE".
func daemonMain() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	d := Daemon{Config: os.Args[3], Ready: os.Args[5], Logger: slog.New(slog.DiscardHandler), Say: func(string, ...any) {}}
	run := d.Router
	if os.Args[1] == "alb" {
		run = d.LoadBalancer
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func parseScenario(t *testing.T, text string) *scenario.Scenario {
	t.Helper()
	sc, err := scenario.Parse("test.yaml", []byte(text), scenario.Vocabulary{Topology: Check})
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

const apart = `
name: apart
topology:
  paths: [direct, alb-https]
  processes: separate
  load_balancer: {redirect_http: true}
  peers: [{name: haproxy-tuned, product: haproxy, tuned: true}]
backends: [{name: witness, kind: witness}]
routes:
  - {name: echo, sni: [echo.example.test], alpn: [tlsroute-echo], mode: terminate, backend: witness}
  - {name: mtls, sni: [mtls.example.test], alpn: [tlsroute-echo], mode: terminate, client_auth: require, backend: witness}
  - {name: pass, sni: [pass.example.test], mode: passthrough, backend: witness}
bench:
  window: 50ms
  guard: 20ms
  pairs: 5
  workloads:
    - {name: echo, route: echo, rate: 100}
    - {name: echo, route: pass, rate: 100, connect_rate: 20}
`

func TestComponentsAsProcesses(t *testing.T) {
	before := process.Descendants(os.Getpid())
	l, err := Start(t.Context(), parseScenario(t, apart), Options{Failed: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	end := func() {
		if !closed {
			closed = true
			if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}
	}
	defer end()
	ready := l.Ready()
	for _, name := range []string{"router", "alb", "alb-http", "haproxy-tuned", "haproxy-tuned-terminate"} {
		if ready.Addresses[name] == "" {
			t.Errorf("no address of %s in %v", name, ready.Addresses)
		}
	}
	// Nobody inside can tell what was seen: the client's end and the wire must do. Without a capture the hop between the two is not seen.
	l.capture = func(context.Context, []capture.Hop, *capture.KeyLog) (*capture.Session, error) {
		return nil, capture.ErrNotPermitted
	}
	wires, source, err := l.Walk(t.Context(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if want := "alb->router of alb-https"; !strings.Contains(source, want) {
		t.Errorf("%q does not say that %s was not seen", source, want)
	}
	for _, w := range wires {
		router := w.Path == "direct" || w.Hop == hopInner
		if want := w.Route == "mtls" && router; w.ClientCert != want {
			t.Errorf("%s %s %s: client certificate %v, want %v", w.Path, w.Hop, w.Route, w.ClientCert, want)
		}
	}
	plan, err := l.Plan(1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bench.Run(t.Context(), plan, bench.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range b.Workloads {
		for _, a := range w.Arms {
			if a.Requests == 0 || a.Requests == a.Errors {
				t.Errorf("%s: %d errors of %d: %v", a.Path, a.Errors, a.Requests, a.ErrorSamples)
			}
			if peer := a.Path == "haproxy-tuned"; peer != strings.HasPrefix(a.Peer, "haproxy ") || peer && !strings.HasSuffix(a.Peer, ", tuned") {
				t.Errorf("%s: peer %q", a.Path, a.Peer)
			}
		}
	}
	var got []string
	for _, c := range b.Costs {
		got = append(got, c.Workload+" "+c.Path+" "+c.Component)
		if !c.Process || c.CPUNS <= 0 || c.PSSBytes < 1<<20 || c.Descriptors < 5 || c.DescriptorsPerTunnel < 1 {
			t.Errorf("cost %+v", c)
		}
		if moved := c.CopiedBytes > 0; moved != (c.Component == "router") {
			t.Errorf("%s has copied %d bytes", c.Component, c.CopiedBytes)
		}
	}
	want := []string{
		"echo direct router", "echo alb-https alb", "echo alb-https router", "echo haproxy-tuned haproxy-tuned",
		"echo-2 direct router", "echo-2 alb-https alb", "echo-2 alb-https router", "echo-2 haproxy-tuned haproxy-tuned",
	}
	if !slices.Equal(got, want) {
		t.Errorf("costs of %q, want %q", got, want)
	}
	end()
	if after := process.Descendants(os.Getpid()); len(after) > len(before) {
		t.Errorf("processes %v are left of %v", after, before)
	}
}

func TestAProcessThatEndsByItselfIsTold(t *testing.T) {
	told := make(chan error, 8)
	l, err := Start(t.Context(), parseScenario(t, apart), Options{Failed: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	l.router.own.child.Kill()
	if err := <-told; !strings.Contains(err.Error(), "router ended by itself") {
		t.Errorf("told %v", err)
	}
	if err := l.Close(context.WithoutCancel(t.Context())); err == nil {
		t.Error("Close says nothing of a router that had ended")
	}
}

func TestAProcessThatDoesNotStartIsSaid(t *testing.T) {
	for program, want := range map[string]string{"/bin/false": "ended before it was ready", "/nowhere": "no such file"} {
		_, err := Start(t.Context(), parseScenario(t, apart), Options{Program: program})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", program, err, want)
		}
	}
	if _, err := Start(t.Context(), parseScenario(t, apart), Options{Record: true}); err == nil || !strings.Contains(err.Error(), "processes: inside") {
		t.Errorf("a capture of separate processes: %v", err)
	}
}

// Inside, nothing is known of a component alone, and the costs say so.
func TestComponentsInsideHaveNoMeter(t *testing.T) {
	l, err := Start(t.Context(), parseScenario(t, small), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range append(l.components("direct"), l.components("alb-https")...) {
		if c.Meter != nil || c.Name != "router" && c.Name != "alb" {
			t.Errorf("%+v", c)
		}
	}
}

func TestWhatProcessesAndPeersCannotDoIsFoundAtLoad(t *testing.T) {
	const text = `
name: faulty
topology:
  paths: [direct, alb-https]
  processes: separate
  load_balancer: {nodes: 2}
  faults: [{at: 1s, hop: client->alb, kind: stall}]
  peers:
    - {name: sslh, product: sslh}
    - {name: stunnel, product: stunnel}
    - {name: squid, product: squid}
    - {name: sslh2, product: sslh, tuned: true}
    - {name: alb, product: haproxy}
backends: [{name: witness, kind: witness}]
routes:
  - {name: end, sni: [end.example.test], mode: terminate, backend: witness}
  - {name: pass, sni: [pass.example.test], mode: passthrough, backend: witness}
bench:
  workloads:
    - {name: echo, route: end, rate: 1, arms: [direct, sslh]}
    - {name: echo, route: pass, rate: 1, arms: [direct, stunnel, gone]}
`
	_, err := scenario.Parse("test.yaml", []byte(text), scenario.Vocabulary{Topology: Check})
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{
		"faults at hops are injected inside this process", `load balancer "alb" has nodes`, `a peer cannot be called "alb"`, `no peer product "squid"`,
		"sslh has nothing that is tuned", "sslh ends no TLS: route end must be of mode passthrough", "stunnel always ends TLS: route pass must be of mode terminate",
		`arm "gone" is not in bench.arms`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in\n%v", want, err)
		}
	}
}
