package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/progress"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestMeasurementUnderWayIsShownAsAPartOfTheRun(t *testing.T) {
	var out bytes.Buffer
	p := progress.New(&out, progress.Options{})
	g := result.NewGrowing(result.Run{})
	b := benchSoFar{run: g, step: p.Step("bench", 4), total: 4}
	workload := func(name string, windows int) result.Workload {
		return result.Workload{Name: name, Windows: windows, Arms: []result.Arm{
			{Path: "direct", ThroughputPerS: 100, Phases: map[string]result.Phase{result.PhaseSteady: {Count: 5, P50NS: 96_123, P99NS: 1_234_567}}},
			{Path: "alb", ThroughputPerS: 200, Errors: 3, Phases: map[string]result.Phase{result.PhaseConnect: {Count: 5, P50NS: 5_123_456, P99NS: 12_345_678}}},
		}}
	}
	b.progress("echo", 1, 2)
	b.partial("echo", workload("echo", 1))
	before := g.Copy()
	b.partial("echo", workload("echo", 2))
	b.progress("echo", 2, 2)
	b.progress("echo", 3, 3) // one more than was planned
	if b.total != 5 {
		t.Errorf("%d windows in all, want 5", b.total)
	}
	b.progress("ssh", 0, 2)
	b.partial("echo-2", workload("echo", 7))
	b.step.Done()
	p.Close()
	after := g.Copy()
	if len(before.Bench.Workloads) != 1 || before.Bench.Workloads[0].Windows != 1 {
		t.Errorf("the copy of before has %+v", before.Bench.Workloads)
	}
	if w := after.Bench.Workloads; len(w) != 2 || w[0].Windows != 2 || w[1].Windows != 7 {
		t.Errorf("the run has %+v", w)
	}
	if want := "bench: 3 done in 0s, 150/s 3 errors alb p50 5.12ms p99 12.3ms\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("progress %q, want it to end with %q", out.String(), want)
	}
}

func TestRunWithoutLiveShowsNothing(t *testing.T) {
	var l *live
	if err := l.show(result.NewGrowing(result.Run{}))(t.Context(), &result.Run{}); err != nil {
		t.Error(err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
}
