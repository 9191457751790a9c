package bench

import (
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestPartialShowsWhatIsThereAndChangesNothing(t *testing.T) {
	s := newTarget(t, nil)
	plan := echoPlan(Arm{Path: "a", Dial: s.dial}, Arm{Path: "b", Dial: s.dial})
	var got []result.Workload
	b, err := Run(t.Context(), plan, Options{Partial: func(label string, w result.Workload) {
		if label != "echo" {
			t.Errorf("label %q", label)
		}
		got = append(got, w)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) == 0 {
		t.Fatal("never called")
	}
	first, whole := got[0], b.Workloads[0]
	if first.Windows != 1 || first.Windows > whole.Windows || len(first.Arms) != 2 {
		t.Fatalf("first called after %d pairs with %d arms", first.Windows, len(first.Arms))
	}
	for i, a := range first.Arms {
		early, all := a.Phases[result.PhaseSteady], whole.Arms[i].Phases[result.PhaseSteady]
		if a.Requests == 0 || early.Count == 0 || early.P50NS == 0 || early.Count > all.Count || a.ThroughputPerS <= 0 {
			t.Errorf("arm %s after one pair: %+v", a.Path, a)
		}
		if all.Count > 0 && whole.Windows > 1 && early.Count == all.Count {
			t.Errorf("arm %s: what was shown grew afterwards", a.Path)
		}
	}
}

// BenchmarkSoFar is what a look at a measurement under way costs the generator, at most once a second and between windows: two arms of
// nine phases, some 10,000 samples each.
func BenchmarkSoFar(b *testing.B) {
	r := &run{plan: &Plan{}, w: &WorkloadPlan{}}
	for range 2 {
		a := &armState{rec: newArmRecorder()}
		for _, phase := range result.Phases[:9] {
			total := a.rec.phase(phase).total
			for i := range int64(10_000) {
				_ = total.RecordValue(50_000 + i*i%3_000_000)
			}
		}
		r.arms = append(r.arms, a)
	}
	for b.Loop() {
		r.soFar()
	}
}
