package lab

import (
	"slices"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	_ "github.com/tlsroute/tlsroute-bench/conformance/checks" // the catalogue
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// knownDifferences are findings that the profiles leave open: Debian's HAProxy does not remove an Upgrade without Connection, and answers
// 502 to the 101 (the knob's grade says so), and offers extended CONNECT, which the simulator has not; Caddy drops what Connection names.
var knownDifferences = map[string][]string{"haproxy": {"ALB-UPG-03", "ALB-UPG-12"}, "caddy": {"ALB-UPG-05"}}

// TestProductsAndTheirProfilesAreComparable puts the same checks to both of each pair: what an upgrade comes to differs in what is known.
func TestProductsAndTheirProfilesAreComparable(t *testing.T) {
	sc, err := scenario.Load("real", scenario.Vocabulary{Topology: Check})
	if err != nil {
		t.Fatal(err)
	}
	l := startLab(t, sc, Options{Conformance: true})
	var products []string
	for _, pair := range l.Pairs("test") {
		products = append(products, pair.Likeness.Product)
		opt := conformance.Options{Only: []string{"ALB-UPG-*"}}
		simulated, err := conformance.Run(t.Context(), pair.Simulated, opt)
		if err != nil {
			t.Fatal(err)
		}
		real, err := conformance.Run(t.Context(), pair.Real, opt)
		if err != nil {
			t.Fatal(err)
		}
		pair.Likeness.Compare(simulated.Results, real.Results)
		got := pair.Likeness
		var differ []string
		for _, d := range got.Differences {
			differ = append(differ, d.Check)
		}
		if got.Compared < 10 || !slices.Equal(differ, knownDifferences[got.Product]) || len(got.Unclear) > 0 || got.Version == "" || got.Profile != got.Product {
			t.Errorf("%+v", got)
		}
	}
	// Of Apache there is no profile.
	if len(products) != 3 || products[0] != "haproxy" || products[1] != "nginx" || products[2] != "caddy" {
		t.Errorf("pairs of %q", products)
	}
}
