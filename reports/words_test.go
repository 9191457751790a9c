package reports

import (
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestMeasurementWithoutLimitsIsSomething(t *testing.T) {
	run := golden(t)
	run.Conformance, run.Bench.Limits = nil, nil
	if got, want := headline(run), "2 workloads measured, without a limit."; got != want {
		t.Errorf("headline %q, want %q", got, want)
	}
	if got, want := headline(&result.Run{}), "Nothing was executed."; got != want {
		t.Errorf("headline %q, want %q", got, want)
	}
}
