package selftest

import (
	"context"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// TestWhoRelaunchesSaysSo: what the catalogue says of instances is so. A check that says it starts some cannot go on without; one that
// does not say it gets none.
func TestWhoRelaunchesSaysSo(t *testing.T) {
	var opt conformance.Options
	for _, c := range conformance.Checks() {
		if c.Relaunches {
			opt.Only = append(opt.Only, c.ID)
		}
	}
	target := balancerTarget(t, nil)
	launcher := target.Balancers
	target.Balancers = nil
	got := must(conformance.Run(t.Context(), target, opt))(t)
	if len(got.Results) == 0 {
		t.Error("no check says that it relaunches")
	}
	for _, r := range got.Results {
		if r.Verdict != result.CheckNotRun || !strings.Contains(r.Detail, "another configuration") {
			t.Errorf("%s, on a target that cannot be started: %s (%s)", r.Check, r.Verdict, r.Detail)
		}
	}
	target.Balancers = launcher
	silent := &conformance.T{Target: &target}
	if err := silent.Relaunch(context.Background(), func(*door.Balancer) {}); err == nil || !strings.Contains(err.Error(), "does not say") {
		t.Errorf("a check that does not say so got an instance: %v", err)
	}
}
