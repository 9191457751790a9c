//go:build docker

package container_test

import (
	"slices"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/backend/backendtest"
)

// TestContract holds containers to what every other driver answers.
func TestContract(t *testing.T) {
	for _, kind := range backend.Kinds() {
		if slices.Contains(backend.Drivers(kind), backend.Container) {
			t.Run(kind, func(t *testing.T) {
				spec := backendtest.Spec(t, kind)
				spec.Program = program(t)
				backendtest.Run(t, backend.Container, spec)
			})
		}
	}
}
