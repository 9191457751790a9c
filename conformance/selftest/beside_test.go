package selftest

import (
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// TestSideBySideIsTheSame puts the catalogue to the reference router with several checks at once: whatever they do to each
// other must not show.
func TestSideBySideIsTheSame(t *testing.T) {
	var before string
	c, err := conformance.Run(t.Context(), right[0].target(t), conformance.Options{Seed: 1, Parallel: 2, Skip: []string{"KAL-*", "OPS-06", "SEC-05"}}) // which only wait, or look at a process
	check(t, err)
	judged := 0
	for _, r := range c.Results {
		switch r.Verdict { //nolint:exhaustive // every other is wrong
		case result.CheckPass:
			judged++
		case result.CheckUnsupported, result.CheckTolerated:
		default:
			t.Errorf("%s on %s: %s: %s", r.Check, r.Path, r.Verdict, r.Detail)
		}
		if r.Check < before {
			t.Errorf("%s is behind %s", r.Check, before)
		}
		before = r.Check
	}
	if judged < 100 {
		t.Errorf("%d results passed: the catalogue is not there", judged)
	}
}

// TestSideBySideKills: mutants that dial what they must not are told from checks beside them that do no wrong.
func TestSideBySideKills(t *testing.T) {
	for _, m := range mutants["TLS-07"] {
		c, err := conformance.Run(t.Context(), m.target(t), conformance.Options{Only: []string{"TLS-07", "TLS-10", "DET-02"}, Seed: 1, Parallel: 12})
		check(t, err)
		failed := 0
		for _, r := range c.Results {
			t.Logf("%s: %s on %s: %s: %s", m.name, r.Check, r.Path, r.Verdict, r.Detail)
			if r.Check == "TLS-07" && r.Verdict == result.CheckFail {
				failed++
			}
		}
		if failed == 0 {
			t.Errorf("%s survives among others", m.name)
		}
	}
}
