package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// TestMain is the program too that components in processes of their own are, and our own backends in containers.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "backend" {
		backendMain()
		return
	}
	if len(os.Args) == 6 && (os.Args[1] == "router" || os.Args[1] == "alb") {
		daemonMain()
		return
	}
	goleak.VerifyTestMain(m)
}

const small = `
name: small
topology:
  paths: [direct, alb-https]
  load_balancer: {}
backends: [{name: witness, kind: witness}]
routes:
  - {name: echo, sni: [echo.example.test], alpn: [tlsroute-echo], mode: terminate, backend: witness}
  - {name: mtls, sni: [mtls.example.test], alpn: [tlsroute-echo], mode: terminate, client_auth: require, backend: witness}
  - {name: pass, sni: ["*.pass.example.test"], mode: passthrough, backend: witness}
bench: {workloads: [{name: echo, route: echo, rate: 10}]}
`

func start(t *testing.T, opt Options) *Lab {
	t.Helper()
	return startText(t, small, opt)
}

func startText(t *testing.T, text string, opt Options) *Lab {
	t.Helper()
	sc, err := scenario.Parse("small.yaml", []byte(text), scenario.Vocabulary{})
	if err != nil {
		t.Fatal(err)
	}
	return startLab(t, sc, opt)
}

func startLab(t *testing.T, sc *scenario.Scenario, opt Options) *Lab {
	t.Helper()
	opt.Failed = func(err error) { t.Errorf("a component ended by itself: %v", err) }
	l, err := Start(t.Context(), sc, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dir := l.dir
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := l.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", dir, err)
		}
	})
	return l
}

// TestEveryRouteIsReachedOverEveryPath asks the witness behind each route, over each path, and half-closes.
func TestEveryRouteIsReachedOverEveryPath(t *testing.T) {
	l := start(t, Options{})
	for _, path := range []string{"direct", "alb-https"} {
		for _, route := range []string{"echo", "mtls", "pass"} {
			t.Run(path+"/"+route, func(t *testing.T) {
				d, err := l.Dialer(path, route)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := d.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				nonce := path + "/" + route
				record, err := witness.Ask(conn, witness.Order{Nonce: nonce, Do: witness.Echo})
				if err != nil {
					t.Fatal(err)
				}
				if record.Witness != "witness" || (record.TLS != nil) != (route == "pass") {
					t.Errorf("record %+v", record)
				}
				if _, err := conn.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				if err := conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if back, err := io.ReadAll(conn); err != nil || string(back) != "hello" {
					t.Errorf("read %q, %v", back, err)
				}
				if len(l.backend("witness").Witness.Find(nonce)) != 1 {
					t.Error("the witness's log does not have the connection")
				}
			})
		}
	}
}

// A strict router refuses what the load balancer has stripped of its Connection field, and takes the rest.
func TestTheRouterIsAsStrictAsTheScenario(t *testing.T) {
	const strict = "  router: {upgrade: {ping_interval: 7s, pong_timeout: 9s, require_connection: true}}\n"
	l := startText(t, strings.Replace(small, "  load_balancer: {}\n", "  load_balancer: {}\n"+strict, 1), Options{})
	config, _ := l.router.inside.Config()
	if got := config.Upgrade; time.Duration(got.PingInterval) != 7*time.Second || time.Duration(got.PongTimeout) != 9*time.Second {
		t.Errorf("timers %v and %v", got.PingInterval, got.PongTimeout)
	}
	for typ, want := range map[string]int{"alpn": 400, "websocket": 0} {
		d, err := l.Dialer("alb-https", "echo")
		if err != nil {
			t.Fatal(err)
		}
		d.Upgrade = typ
		conn, err := d.Dial(t.Context())
		if err == nil {
			conn.Close()
		}
		status := 0
		if refused, ok := errors.AsType[*upgrade.StatusError](err); ok {
			status = refused.Status
		} else if err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		if status != want {
			t.Errorf("%s: refused with %d, want %d", typ, status, want)
		}
	}
}

func TestReadyDescribesEverything(t *testing.T) {
	l := start(t, Options{})
	file := filepath.Join(t.TempDir(), "ready.json")
	if err := WriteReady(file, l.Ready()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r Ready
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"router", "alb", "witness"} {
		conn, err := net.DialTimeout("tcp", r.Addresses[name], time.Second)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		conn.Close()
	}
	for _, f := range []string{r.CA.Outer, r.CA.Inner, r.Client.Cert, r.Client.Key} {
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
	if r.PID != os.Getpid() || len(r.Routes) != 3 || len(r.Backends) != 1 || r.Upgrade.Path != scenario.DefaultUpgradePath {
		t.Errorf("got %+v", r)
	}
	if !strings.Contains(string(data), `"alpn": []`) {
		t.Error("a route without ALPN must have an empty list, not null")
	}
}

func TestOnlyBringsUpOneRoleAndWhatItNeeds(t *testing.T) {
	for only, want := range map[string][2]bool{OnlyBackends: {false, false}, OnlyRouter: {true, false}, OnlyALB: {true, true}} {
		l := start(t, Options{Only: only})
		r := l.Ready()
		_, router := r.Addresses["router"]
		_, alb := r.Addresses["alb"]
		if router != want[0] || alb != want[1] || r.Addresses["witness"] == "" {
			t.Errorf("only %s: addresses %v", only, r.Addresses)
		}
	}
}

// TestWalkSeesWhatEachHopCarried holds the promise of the whole detour: names and ALPN up to the load balancer, nothing to
// its target, everything again inside. It must hold read off the wire and, where that is not permitted, tapped.
func TestWalkSeesWhatEachHopCarried(t *testing.T) {
	for _, source := range []string{"capture", "tap"} {
		t.Run(source, func(t *testing.T) {
			l := start(t, Options{})
			if source == "tap" {
				l.capture = func(context.Context, []capture.Hop, *capture.KeyLog) (*capture.Session, error) {
					return nil, fmt.Errorf("socket: %w", capture.ErrNotPermitted)
				}
			} else if probe, err := capture.Start(t.Context(), nil, nil); errors.Is(err, capture.ErrNotPermitted) {
				t.Logf("not permitted to capture here (%v): the walk must say so and tap", err)
				source = "tap"
			} else if err == nil {
				if _, err := probe.Stop(); err != nil {
					t.Fatal(err)
				}
			}
			wires, sentence, err := l.Walk(t.Context(), func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			if tapped := strings.Contains(sentence, "not permitted"); tapped != (source == "tap") {
				t.Errorf("sentence %q", sentence)
			}
			if len(wires) != 3+3*3 {
				t.Fatalf("%d rows", len(wires))
			}
			for _, w := range wires {
				wantSNI := map[string]string{"echo": "echo.example.test", "mtls": "mtls.example.test", "pass": "any.pass.example.test"}[w.Route]
				wantALPN, wantCert, wantSource := []string{"tlsroute-echo"}, w.Route == "mtls" && (w.Hop == "client->router" || w.Hop == hopInner), source
				if w.Route == "pass" {
					wantALPN = []string{}
				}
				if w.Hop == "alb->router" {
					wantSNI, wantALPN = "", []string{}
				}
				if w.Hop == hopInner {
					wantSource = "tap"
				}
				sni := ""
				if w.SNI != nil {
					sni = *w.SNI
				}
				if sni != wantSNI || (w.SNI == nil) != (wantSNI == "") || !slices.Equal(w.ALPN, wantALPN) || w.ClientCert != wantCert || w.Source != wantSource {
					t.Errorf("%s, %s, %s: SNI %q, ALPN %q, client certificate %v, by %s", w.Path, w.Hop, w.Route, sni, w.ALPN, w.ClientCert, w.Source)
				}
			}
		})
	}
}

func TestTargetsAreJudgedOverEveryPath(t *testing.T) {
	l := start(t, Options{Conformance: true})
	targets, err := l.Targets("test")
	if err != nil {
		t.Fatal(err)
	}
	var roles []string
	for _, target := range targets {
		roles = append(roles, string(target.Role))
	}
	if !slices.Equal(roles, []string{"router", "client", "lb"}) {
		t.Fatalf("roles %v", roles)
	}
	var paths []string
	for _, p := range targets[0].Paths {
		paths = append(paths, p.Name)
	}
	if !slices.Equal(paths, []string{"direct", "upgrade-https", "alb-https"}) {
		t.Errorf("paths %v", paths)
	}
	// The client under test does what it is asked, through the instances under test.
	f := targets[0].Fixture
	conn, report, err := targets[1].Dial(t.Context(), conformance.DialRequest{
		Address: targets[0].Paths[2].Address, SNI: "mtls." + f.Domain, ALPN: []string{"trb-mtls"}, Client: f.ClientA,
		InnerRoots: targets[0].InnerRoots, OuterRoots: targets[0].Paths[2].Upgrade.Roots, OuterSNI: targets[0].Paths[2].Upgrade.ServerName,
		Upgrade: "auto",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if report.Class != "terminated" || report.Upgrade != "websocket" || report.ALPN != "trb-mtls" {
		t.Errorf("report %+v", report)
	}
	if record, err := witness.Ask(conn, witness.Order{Nonce: "x", Do: witness.Echo}); err != nil || record.Witness != f.WitnessA {
		t.Errorf("record %+v, %v", record, err)
	}
}

func TestPlanHasAnArmForEachPath(t *testing.T) {
	l := start(t, Options{})
	plan, err := l.Plan(1)
	if err != nil {
		t.Fatal(err)
	}
	for i, arm := range plan.Workloads[0].Arms {
		phases := map[string]bool{}
		conn, err := arm.Dial(t.Context(), func(phase string, took time.Duration) { phases[phase] = took > 0 })
		if err != nil {
			t.Fatalf("%s: %v", arm.Path, err)
		}
		conn.Close()
		want := []string{result.PhaseTCP, result.PhaseInnerTLS}
		if i == 1 {
			want = []string{result.PhaseTCP, result.PhaseOuterTLS, result.PhaseUpgrade, result.PhaseInnerTLS}
		}
		for _, p := range want {
			if !phases[p] {
				t.Errorf("%s: phase %s was not observed: %v", arm.Path, p, phases)
			}
		}
		if len(phases) != len(want) {
			t.Errorf("%s: phases %v, want %v", arm.Path, phases, want)
		}
	}
	if plan.Workloads[0].Arms[1].Upgrade() != "websocket" || plan.Workloads[0].Arms[0].Upgrade() != "" {
		t.Error("the arms do not say which upgrade they used")
	}
}

func TestStartThatFailsLeavesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	text := strings.Replace(small, "load_balancer: {}", "load_balancer: {listen: \""+taken.Addr().String()+"\"}", 1)
	sc, err := scenario.Parse("small.yaml", []byte(text), scenario.Vocabulary{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), sc, Options{}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
