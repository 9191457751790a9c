package conformance

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// launches counts what it starts and stops.
type launches struct{ started, stopped, reloaded atomic.Int32 }

func (*launches) Document() door.Router { return door.Router{Listen: "127.0.0.1:0"} }

func (l *launches) Launch(_ context.Context, doc door.Router) (Instance, error) {
	if doc.ProxyProtocol.Mode == "required" {
		return nil, &UnsupportedError{Reason: "no PROXY protocol"}
	}
	l.started.Add(1)
	return launched{l}, nil
}

type launched struct{ of *launches }

func (launched) Address() string                             { return "127.0.0.1:9" }
func (launched) Admin() string                               { return "" }
func (launched) PID() int                                    { return 0 }
func (i launched) Reload(context.Context, door.Router) error { i.of.reloaded.Add(1); return nil }
func (launched) Drain(context.Context) error                 { return nil }
func (launched) Logs(context.Context) (string, error)        { return "", nil }
func (i launched) Stop(context.Context) error                { i.of.stopped.Add(1); return nil }

func TestChecksWithASetupAreRunOnInstances(t *testing.T) {
	seen := func(_ context.Context, t *T) (Observation, error) {
		if t.Instance == nil || t.Path.Address != t.Instance.Address() {
			return Observation{}, errors.New("not on its instance")
		}
		return Observation{Outcome: Routed}, t.Instance.Reload(context.Background(), t.Instance.Document)
	}
	with := func(id string, s *Setup) Check {
		return fake(id, Observation{}, nil, func(c *Check) { c.Setup, c.Run = s, seen })
	}
	plain := func(Fixture, *door.Router) {}
	required := func(_ Fixture, doc *door.Router) { doc.ProxyProtocol.Mode = "required" }
	all := []Check{
		with("OPS-01", &Setup{Name: "shared", Change: plain}), with("OPS-02", &Setup{Name: "shared", Change: plain}),
		with("OPS-03", &Setup{Name: "own", Change: plain, Alone: true}), with("OPS-04", &Setup{Name: "proxy", Change: required}),
	}
	l := &launches{}
	target, _ := newTarget(t)
	target.Launcher = l
	got, err := run(t.Context(), target, Options{}, all)
	if err != nil {
		t.Fatal(err)
	}
	want := []result.CheckVerdict{result.CheckPass, result.CheckPass, result.CheckPass, result.CheckUnsupported}
	for i, r := range got.Results {
		if r.Verdict != want[i] {
			t.Errorf("%s: %s (%s), want %s", r.Check, r.Verdict, r.Detail, want[i])
		}
	}
	if l.started.Load() != 2 || l.stopped.Load() != 2 || l.reloaded.Load() != 3 {
		t.Errorf("started %d, stopped %d, reloaded %d", l.started.Load(), l.stopped.Load(), l.reloaded.Load())
	}
	target.Launcher = nil
	if got, err = run(t.Context(), target, Options{}, all[:1]); err != nil || got.Results[0].Verdict != result.CheckNotRun {
		t.Errorf("without a launcher: %+v, %v", got.Results[0], err)
	}
}
