package conformance

import (
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// What is written about the waits is what they are: at no distance the floor, far away so many round trips, up to the ceiling.
func TestNamedWaitsAreThoseOfT(t *testing.T) {
	methods := map[string]func(*T) time.Duration{"wait": (*T).Wait, "silence": (*T).Silence, "gap": (*T).Gap}
	waits := NamedWaits()
	if len(waits) != len(methods) {
		t.Errorf("%d waits, want %d", len(waits), len(methods))
	}
	for _, w := range waits {
		for _, rtt := range []time.Duration{0, 5 * time.Millisecond, 500 * time.Millisecond} {
			want := max(w.Floor, time.Duration(w.RTTs)*rtt)
			if w.Ceiling > 0 {
				want = min(want, w.Ceiling)
			}
			if got := methods[w.Name](&T{rtt: rtt, usual: rtt}); got != want {
				t.Errorf("%s at %v is %v, want %v", w.Name, rtt, got, want)
			}
		}
	}
}

func TestBindingSaysWhose(t *testing.T) {
	clauses := []result.Clause{{Doc: "a blog"}, {Doc: "RFC 9846", Section: "section 5.1"}}
	for _, c := range []struct {
		origin Origin
		level  Level
		want   string
	}{
		{RFC, Must, "MUST, by RFC 9846"},
		{RFC, Info, "INFO, by RFC 9846; it is recorded, and never fails"},
		{Vendor, Should, "SHOULD, by what a vendor documents or a product is known to do; not the requirement of an RFC"},
		{Policy, Info, "INFO by the policy of this suite; no RFC requires it; it is recorded, and never fails"},
		{Policy, Must, "MUST by the policy of this suite; no RFC requires it, and what fails here violates none"},
	} {
		if got := (Check{Origin: c.origin, Level: c.level, Clauses: clauses}).Binding(); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.origin, c.level, got, c.want)
		}
	}
}

func TestLimitsAndInstancesInWords(t *testing.T) {
	if got := (Check{}).LimitText(); got != "10s, and 200 round trips of the path" {
		t.Error(got)
	}
	if got := (Check{Timeout: time.Minute}).TimeLimit(); got != time.Minute {
		t.Error(got)
	}
	alone, shared := Setup{Name: "drain", Alone: true}, Setup{Name: "odd"}
	if got := alone.String(); !strings.Contains(got, "drain") || !strings.Contains(got, "no other check sees") {
		t.Error(got)
	}
	if got := shared.String(); !strings.Contains(got, "odd") || !strings.Contains(got, "share") {
		t.Error(got)
	}
	if got := (Check{Setup: &alone}).Instance(); got != alone.String() {
		t.Error(got)
	}
	if got := (Check{}).Instance(); got != "" {
		t.Error(got)
	}
	if got := (Check{Relaunches: true}).Instance(); !strings.Contains(got, "other documents") {
		t.Error(got)
	}
	if (Check{Level: Info}).Otherwise() != result.CheckTolerated || (Check{Level: May}).Otherwise() != result.CheckFail {
		t.Error("INFO never fails, and all else does")
	}
}
