package bench

import (
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestRecorderMergesWindowsAndLeavesTheExcludedOut(t *testing.T) {
	a := newArmRecorder()
	p := a.phase(result.PhaseSteady)
	for i := range 100 {
		p.record(time.Duration(i+1) * time.Millisecond)
	}
	st, over := a.endWindow("x", time.Now(), time.Now(), "", nil)
	if s := st[result.PhaseSteady]; s.n != 100 || over != 0 || time.Duration(s.q[0]).Round(time.Millisecond) != 50*time.Millisecond ||
		time.Duration(s.q[2]).Round(time.Millisecond) != 99*time.Millisecond {
		t.Errorf("window %+v, overflow %d", st, over)
	}
	p.record(time.Hour)
	if st, _ := a.endWindow("x", time.Now(), time.Now(), excludedTag, nil); st[result.PhaseSteady].n != 1 {
		t.Errorf("excluded window %+v", st)
	}
	p.record(-5) // a clock that stepped: at least one nanosecond, never an error
	p.record(2 * time.Minute)
	st, over = a.endWindow("x", time.Now(), time.Now(), "", nil)
	if st[result.PhaseSteady].n != 2 || over != 1 {
		t.Errorf("second window %+v, overflow %d, want 2 samples and 1", st, over)
	}
	total := a.totals()[result.PhaseSteady]
	if total.Count != 102 || time.Duration(total.MaxNS) < time.Minute {
		t.Errorf("totals %+v", total)
	}
	if len(a.totals()) != 1 {
		t.Errorf("phases without samples are listed: %v", a.totals())
	}
}

func TestCurveAscendsToWhatTheSampleSupports(t *testing.T) {
	for _, n := range []int64{1, 2, 10, 100_000} {
		h := newHistogram()
		for i := range n {
			_ = h.RecordValue(1000 + i*10)
		}
		c := curve(h, newSample(h))
		if len(c) == 0 || len(c) > curvePoints || c[0].Quantile != 0 {
			t.Fatalf("n=%d: %d points from %+v", n, len(c), c)
		}
		for i := 1; i < len(c); i++ {
			if c[i].Quantile <= c[i-1].Quantile || c[i].NS < c[i-1].NS {
				t.Fatalf("n=%d: point %d does not ascend: %+v, %+v", n, i, c[i-1], c[i])
			}
		}
		last, want := c[len(c)-1].Quantile, 1-1/float64(n)
		if diff := last - want; diff > 1e-9 || diff < -1e-9 {
			t.Errorf("n=%d: ends at %v, want %v", n, last, want)
		}
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	p := newArmRecorder().phase(result.PhaseSteady)
	if n := testing.AllocsPerRun(1000, func() { p.record(123456) }); n != 0 {
		t.Errorf("record allocates %v times", n)
	}
	s := newSchedule(1, "x", &WorkloadPlan{Rate: 1000, ConnectRate: 10, Arrival: ArrivalPoisson}, 0, time.Hour)
	if n := testing.AllocsPerRun(1000, func() { s.next() }); n != 0 {
		t.Errorf("schedule.next allocates %v times", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	p := newArmRecorder().phase(result.PhaseSteady)
	b.ReportAllocs()
	d := time.Duration(1)
	for b.Loop() {
		p.record(d)
		d = (d*7 + 13) % time.Second
	}
}
