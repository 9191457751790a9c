package selftest

import (
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/conformancetest"
)

// TestLibrary puts checks to the reference router as a Go test of somebody else would.
func TestLibrary(t *testing.T) {
	conformancetest.Run(t, newLab(t).start(t, nil), conformance.Options{Only: []string{"DET-01", "TLS-01", "TUN-04"}})
}
