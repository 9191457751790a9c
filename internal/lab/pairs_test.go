package lab

import (
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	_ "github.com/tlsroute/tlsroute-bench/conformance/checks" // the catalogue
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// TestProductsAndTheirProfilesAreComparable puts the same checks to both of each pair: what an upgrade comes to must not differ.
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
		if got := pair.Likeness; got.Compared < 2 || len(got.Differences)+len(got.Unclear) > 0 || got.Version == "" || got.Profile != got.Product {
			t.Errorf("%+v", got)
		}
	}
	// Of Apache there is no profile.
	if len(products) != 3 || products[0] != "haproxy" || products[1] != "nginx" || products[2] != "caddy" {
		t.Errorf("pairs of %q", products)
	}
}
