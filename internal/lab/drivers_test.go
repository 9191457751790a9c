package lab

import (
	"cmp"
	"os"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	_ "github.com/tlsroute/tlsroute-bench/internal/backend/container"
)

// startReal starts a topology of the protocol tests on the real servers that driverVariable asks for, and logs what they are.
func startReal(t *testing.T, text string) *Lab {
	t.Helper()
	l := startText(t, text, Options{Backends: cmp.Or(os.Getenv(driverVariable), backend.Local)})
	for _, b := range l.Backends() {
		t.Logf("%s: %s %s by driver %s", b.Name, b.Product, b.Version, b.Driver)
	}
	return l
}
