package backend_test

import (
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/backend/backendtest"
)

// TestContract holds every driver of every kind to the same requests and the same answers, asked by the real clients.
func TestContract(t *testing.T) {
	for _, kind := range backend.Kinds() {
		for _, driver := range backend.Drivers(kind) {
			t.Run(kind+"/"+driver, func(t *testing.T) { backendtest.Run(t, driver, backendtest.Spec(t, kind)) })
		}
	}
}
