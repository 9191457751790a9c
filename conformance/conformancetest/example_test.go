package conformancetest_test

import (
	"crypto/x509"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/conformancetest"
)

// A router that was started with the routes of the fixture is judged from a Go test. Witnesses are asked through an interface: they
// may run in the same process or elsewhere.
func ExampleRun() {
	var (
		roots        *x509.CertPool      // of the certificates that the router was given
		witnessA     conformance.Witness // behind the routes that lead to witness A
		witnessB     conformance.Witness // and to B
		TestMyRouter = func(t *testing.T) {
			conformancetest.Run(t, conformance.Target{
				Name: "my router", Role: conformance.Router, Features: []string{"terminate", "passthrough"},
				Fixture:    conformance.Fixture{WitnessA: "a", WitnessB: "b", Own: "router.example.test"},
				InnerRoots: roots,
				Witnesses:  map[string]conformance.Witness{"a": witnessA, "b": witnessB},
				Paths:      []conformance.Path{{Name: "direct", Address: "127.0.0.1:8443"}},
			}, conformance.Options{
				Levels: []string{"MUST"},
				Known:  []conformance.Known{{Check: "TLS-02", Reason: "answers with a FIN", Link: "https://example.test/issues/7"}},
			})
		}
	)
	_ = TestMyRouter // go test runs it
}
