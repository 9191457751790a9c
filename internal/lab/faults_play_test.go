package lab

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

const failingBackends = `
name: failing
topology:
  paths: [direct, alb-https]
  load_balancer: {}
  faults:
    - {at: 0s, backend: shell, kind: kill, for: 1h}
    - {at: 0s, backend: other, kind: restart}
    - {at: 0s, backend: third, kind: pause, for: 1ms}
    - {at: 1h, backend: other, kind: kill}
backends:
  - {name: shell, kind: ssh, driver: local}
  - {name: other, kind: ssh, driver: local}
  - {name: third, kind: ssh, driver: local}
routes: [{name: shell, sni: [shell.example.test], mode: passthrough, backend: shell}]
`

// TestFaultsOfBackendsArePlayed wants what the timeline says to become of the servers, and what was to come back to be there behind it.
func TestFaultsOfBackendsArePlayed(t *testing.T) {
	l := startText(t, failingBackends, Options{})
	speaks := func(name string) error {
		c, err := net.Dial("tcp", l.backend(name).Address)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		_, err = c.Read(make([]byte, 4)) // SSH-
		return err
	}
	play := l.PlayFaults(t.Context(), 1)
	waitUntil(t, "the server to be killed", func() bool { return errors.Is(speaks("shell"), syscall.ECONNREFUSED) })
	faults := play.Stop()
	for _, name := range []string{"shell", "other", "third"} {
		if err := speaks(name); err != nil {
			t.Errorf("%s behind the timeline: %v", name, err)
		}
	}
	paths := []string{"direct", "alb-https"}
	want := []result.Fault{
		{Backend: "shell", Paths: paths, Kind: "kill", Detail: "for 1h0m0s", Injected: true},
		{Backend: "other", Paths: paths, Kind: "restart", Injected: true},
		{Backend: "third", Paths: paths, Kind: "pause", Detail: "for 1ms", Injected: true},
		{Backend: "other", Paths: paths, Kind: "kill", AtNS: 3600e9},
	}
	// How far the timeline came behind the first is the machine's affair.
	for i := range faults {
		if i == 1 || i == 2 {
			want[i].Injected = faults[i].Injected
		}
		faults[i].InjectedNS, faults[i].Seed = 0, 0
	}
	if diff := cmp.Diff(want, faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestFaultsOfBackendsAreChecked(t *testing.T) {
	for _, c := range []struct{ old, new, driver, want string }{
		{"kind: kill, for", "kind: rotate, for", "", `7:38: "rotate" is nothing that becomes of a backend: there are kill, restart, pause`},
		{"backend: shell, kind: kill", "backend: shall, kind: kill", "", `7:25: no backend is called "shall" (there are other, shell, third)`},
		{"backend: shell, kind: kill", "hop: client->alb, kind: kill", "", `kill is a backend's: it needs backend`},
		{"kind: kill, for", "kind: kill, hop: client->alb, for", "", `7:25: a fault of a backend goes by nothing but at, kind and for`},
		{"kind: restart", "kind: restart, for: 1s", "", `8:52: restart takes as long as it takes`},
		{"backend: third, kind: pause", "kind: stall", "", `9:7: a fault needs hop or backend`},
		{"kind: ssh, driver: local", "kind: ssh, driver: embedded", "local", `7:25: backend "shell" has driver embedded, which cannot be killed or paused: give it driver: local, or --backends local`},
		{"kind: ssh, driver: local", "kind: ssh", "embedded", `7:25: backend "shell" has driver embedded`},
		{"kind: ssh, driver: local", "kind: witness", "local", `7:25: backend "shell" has driver local, which cannot be killed or paused: give it driver: container, or --backends container`},
		{"kind: ssh, driver: local", "kind: witness, driver: container", "", ""},
		{"kind: ssh, driver: local", "kind: ssh, driver: container", "", ""},
		{"kind: ssh, driver: local", "kind: ssh", "local", ""},
		{"kind: ssh, driver: local", "kind: ssh", "auto", ""},
		{"load_balancer: {}", "load_balancer: {}\n  processes: separate", "", ""},
	} {
		text := strings.Replace(failingBackends, c.old, c.new, 1)
		_, err := scenario.Parse("failing.yaml", []byte(text), scenario.Vocabulary{Topology: CheckOn(c.driver)})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.new, err, c.want)
		}
	}
}

// TestAutoThatIsEmbeddedCannotFail wants the run to end before it has begun, and to say why.
func TestAutoThatIsEmbeddedCannotFail(t *testing.T) {
	t.Setenv("TLSROUTE_BACKEND_PATH", t.TempDir()) // no program is found
	t.Setenv("DOCKER_HOST", "unix://"+t.TempDir()+"/none")
	sc, err := scenario.Parse("failing.yaml", []byte(strings.ReplaceAll(failingBackends, ", driver: local", "")), scenario.Vocabulary{Topology: CheckOn("auto")})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Start(t.Context(), sc, Options{Backends: "auto"})
	if err == nil {
		_ = l.Close(t.Context())
	}
	for _, want := range []string{"kill of backend shell", "cannot (chosen by auto", "give it driver: local"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
