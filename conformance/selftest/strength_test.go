package selftest

import (
	"slices"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/strength"
)

// quick are faults of each kind.
var quick = []string{
	"bit-flipped-down", "half-close-is-close-up", "record-version", "alert-swallowed", "hello-truncated", "hello-behind-lost", "crossed", "proxy-v2-stripped",
	"101-is-200", "behind-101-lost", "accept-from-cache", "first-host", "close-swallowed-down", "rsv-cleared",
}

// TestStrengthBeforeTheReference: each of these faults is noticed by all that must; what the catalogue says is so. "make mutants" does
// it with all faults.
func TestStrengthBeforeTheReference(t *testing.T) {
	faults, err := strength.Select(quick)
	check(t, err)
	if len(faults) != len(quick) {
		t.Fatalf("%d of %d faults are in the catalogue", len(faults), len(quick))
	}
	for _, f := range faults {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			opt := strength.Options{Faults: []strength.Fault{f}, Checks: conformance.Options{Seed: 1}}
			row := must(strength.Run(t.Context(), newLab(t).start(t, nil), opt))(t).Rows[0]
			if len(row.Missed)+len(row.Absent) > 0 || len(row.Noticed) == 0 {
				t.Errorf("noticed by %q, not by %q, absent %q: %q", row.Noticed, row.Missed, row.Absent, row.How)
			}
		})
	}
}

// TestStrengthKnowsAWeakCheck: a fault that its checks cannot notice is told as one, and one whose checks fail anyway as not measured.
func TestStrengthKnowsAWeakCheck(t *testing.T) {
	faults := must(strength.Select([]string{"first-host", "names-repaired"}))(t)
	faults[0].Checks = []string{"UPG-10"}
	faults[1].Checks = []string{"UPG-23"} // of a feature that the reference does not claim
	report := must(strength.Run(t.Context(), newLab(t).start(t, nil), strength.Options{Faults: faults, Checks: conformance.Options{Seed: 1}}))(t)
	weak, absent := report.Rows[0], report.Rows[1]
	if !weak.Unnoticed() || !slices.Equal(weak.Missed, []string{"UPG-10"}) {
		t.Errorf("the fault that nothing is there for: %+v", weak)
	}
	if absent.Measured() || !slices.Equal(absent.Absent, []string{"UPG-23"}) {
		t.Errorf("the fault whose check is not run: %+v", absent)
	}
	if all, some, none, unmeasured := report.Count(); all != 0 || some != 0 || none != 1 || unmeasured != 1 {
		t.Errorf("counted %d, %d, %d, %d", all, some, none, unmeasured)
	}
}

// TestEveryFaultNamesRouterChecks: what a fault names is in the catalogue of checks, and can FAIL.
func TestEveryFaultNamesRouterChecks(t *testing.T) {
	names := map[string]bool{}
	for _, f := range strength.Faults() {
		if names[f.Name] || f.About == "" || len(f.Checks) == 0 {
			t.Errorf("%s: twice, or without a word on it, or without checks", f.Name)
		}
		names[f.Name] = true
		for _, c := range must(conformance.Select(conformance.Options{Only: f.Checks}))(t) {
			if c.Role != conformance.Router || c.Level == conformance.Info || !slices.Contains(f.Checks, c.ID) {
				t.Errorf("%s: %s is none of a router that can FAIL", f.Name, c.ID)
			}
		}
	}
}
