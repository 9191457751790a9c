package selftest

import (
	"flag"
	"path"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/strength"
)

var among = flag.String("among", "*", "")
var derive = flag.String("derive", "", "list the checks that notice the faults that match a glob")

// TestDerive is for who adds a fault: it lists every check of a router that notices it.
func TestDerive(t *testing.T) {
	if *derive == "" {
		t.Skip("for developers: go test ./conformance/selftest -run TestDerive -v -args -derive GLOB")
	}
	faults, err := strength.Select([]string{*derive})
	check(t, err)
	var all []string
	for _, c := range conformance.Checks() {
		if func() bool {
			for _, g := range strings.Split(*among, ",") {
				if ok, _ := path.Match(g, c.ID); ok {
					return true
				}
			}
			return false
		}() && c.Role == conformance.Router && c.Level != conformance.Info {
			all = append(all, c.ID)
		}
	}
	for _, f := range faults {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			f.Checks = all
			got, err := strength.Run(t.Context(), newLab(t).start(t, nil), strength.Options{Faults: []strength.Fault{f}, Checks: conformance.Options{Seed: 1}})
			check(t, err)
			t.Logf("%s: noticed by %q; absent %q", f.Name, got.Rows[0].Noticed, got.Rows[0].Absent)
		})
	}
}
