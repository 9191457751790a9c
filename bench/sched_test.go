package bench

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestClosedLoopHasOneRequestATunnelUnderWay(t *testing.T) {
	s := newTarget(t, nil)
	plan := echoPlan(Arm{Path: "a", Dial: s.dial}, Arm{Path: "b", Dial: s.dial})
	w := &plan.Workloads[0]
	w.Mode, w.Rate, w.ConnectRate = ModeClosed, 0, 0
	plan.Limits = []string{"a.steady_rtt.p50 < 1m"}
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := b.Workloads[0]
	if got.Load == nil || got.Load.Model != ModeClosed || got.Tunnels != 2 || got.StoppedBy != stoppedByPairs || !b.Limits[0].OK {
		t.Errorf("%+v, limits %+v", got, b.Limits)
	}
	if !slices.ContainsFunc(got.Comparisons, func(c result.Comparison) bool {
		return c.Metric == metricThroughput && c.Candidate == "b" && c.Ratio > 0 && c.Pairs == plan.Pairs
	}) {
		t.Errorf("the answers a second were not compared: %+v", got.Comparisons)
	}
	for _, a := range got.Arms {
		if st := a.Phases[result.PhaseSteady]; a.Errors != 0 || st.Count != a.Requests || st.Count < int64(2*plan.Pairs) || a.Phases[result.PhaseLag].Count != 0 {
			t.Errorf("%s: %d requests, %d errors (%q), %+v", a.Path, a.Requests, a.Errors, a.ErrorSamples, st)
		}
		if !strings.Contains(strings.Join(a.Notes, ""), "closed loop") {
			t.Errorf("notes %q", a.Notes)
		}
	}
}

func TestClosedLoopDoesNotHammerATargetThatRefuses(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := &window{arm: &armState{rec: newArmRecorder()}, ctx: ctx, start: time.Now(), length: time.Hour}
	cancel()
	n := 0
	for range w.turns(func() bool { return false }) {
		n++
	}
	if n != 0 || w.turned.Load() != 0 {
		t.Errorf("%d turns, %d counted", n, w.turned.Load())
	}
}

func TestLevelsAreSharesOfTheSlowerArmsCapacity(t *testing.T) {
	plain := newTarget(t, nil)
	slow := newTarget(t, func(int64, []byte) bool { time.Sleep(10 * time.Millisecond); return true })
	plan := echoPlan(Arm{Path: "direct", Dial: plain.dial}, Arm{Path: "slow", Dial: slow.dial})
	plan.Levels, plan.Pairs = []int{30, 70}, 2
	l := logs{}
	b, err := Run(t.Context(), plan, Options{Log: l.open})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Workloads) != 2 || l["echo-at-30.hlog"] == nil || l["echo-at-70.hlog"] == nil {
		t.Fatalf("%d workloads, logs %v", len(b.Workloads), l)
	}
	for i, level := range []float64{0.3, 0.7} {
		w := b.Workloads[i]
		if w.Name != "echo" || w.Load == nil || w.Load.Fraction != level || w.Load.SlowestArm != "slow" || len(w.Load.CapacityPerS) != 2 {
			t.Fatalf("%+v, load %+v", w, w.Load)
		}
		rate := w.RatePerS + w.ConnectRatePerS
		if want := level * w.Load.CapacityPerS["slow"]; rate > want*(1+1e-9) || rate < want*0.98 {
			t.Errorf("at %v: %v a second of a capacity of %v", level, rate, w.Load.CapacityPerS)
		}
		if mix := w.RatePerS / w.ConnectRatePerS; math.Abs(mix-10) > 1e-9 {
			t.Errorf("the mix of 200 to 20 became %v", mix)
		}
		// Two tunnels and 10 ms each: 200 requests a second at the most, and the new tunnels take from that.
		if c := w.Load.CapacityPerS["slow"]; c > 240 {
			t.Errorf("capacity %v", c)
		}
		if notes := strings.Join(w.Arms[1].Notes, "\n"); !strings.Contains(notes, "requests a second by a closed loop of 2") || !strings.Contains(notes, "new tunnels a second") {
			t.Errorf("notes %q", notes)
		}
	}
}

func TestArmWithoutAnswersHasNoLevels(t *testing.T) {
	refused := func(context.Context, func(string, time.Duration)) (net.Conn, error) {
		return nil, errors.New("connection refused")
	}
	plan := echoPlan(Arm{Path: "a", Dial: refused})
	plan.Levels = []int{30, 50}
	plan.Workloads[0].ConnectRate = 0
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Workloads) != 1 || b.Validity.OK || b.Workloads[0].Arms[0].Errors == 0 || !strings.Contains(strings.Join(b.Validity.Reasons, ""), "connection refused") {
		t.Errorf("%+v", b)
	}
}

func TestSearchSaysWhenTheGeneratorWasTheLimit(t *testing.T) {
	if s := searchNote(1000, "requests", 4, 0.5); strings.Contains(s, "limited") {
		t.Error(s)
	}
	if s := searchNote(1000, "requests", 4, 0.9); !strings.Contains(s, "limited by the processors of the load generator") || !strings.Contains(s, "90 %") {
		t.Error(s)
	}
	if !settled([][]float64{{1, 100, 105, 109}}) || settled([][]float64{{100, 100, 100}, {50, 100, 100}}) {
		t.Error("settled is about the last rates of every arm")
	}
}

func TestDriftEndsTheWarmUpOnlyWhenItIsOver(t *testing.T) {
	for name, c := range map[string]struct {
		y    []float64
		want bool
	}{
		"falling":      {[]float64{5, 4.1, 3, 2.1, 1}, false},
		"a clean line": {[]float64{5, 4, 3, 2, 1}, false},
		"noise":        {[]float64{1, 1.1, 0.9, 1.05, 1}, true},
		"equal":        {[]float64{1, 1, 1, 1, 1}, true},
		"then flat":    {[]float64{9, 5, 1, 1.1, 0.9, 1.05, 1}, true},
		"too few":      {[]float64{1, 1, 1, 1}, false},
	} {
		if got := steady([][]float64{c.y}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if steady([][]float64{{1, 1, 1, 1, 1}, {5, 4, 3, 2, 1}}) {
		t.Error("one arm drifts")
	}
}

func TestWarmUpIsLoggedUnderItsOwnTagAndCountsNothing(t *testing.T) {
	s := newTarget(t, nil)
	plan := echoPlan(Arm{Path: "a", Dial: s.dial}, Arm{Path: "b", Dial: s.dial})
	plan.Warmup = &Warmup{Max: time.Nanosecond}
	l := logs{}
	b, err := Run(t.Context(), plan, Options{Log: l.open})
	if err != nil {
		t.Fatal(err)
	}
	if w := b.Workloads[0]; w.WarmupWindows > 1 || w.WarmupSteady {
		t.Errorf("%d windows, steady %v", w.WarmupWindows, w.WarmupSteady)
	}
	plan.Warmup = &Warmup{Max: time.Minute}
	if b, err = Run(t.Context(), plan, Options{Log: l.open}); err != nil {
		t.Fatal(err)
	}
	w := b.Workloads[0]
	if w.WarmupWindows < warmupWindows || !w.WarmupSteady {
		t.Errorf("%d windows, steady %v", w.WarmupWindows, w.WarmupSteady)
	}
	if n := strings.Count(l["echo.hlog"].String(), "Tag=warmup.a.steady_rtt,"); n != w.WarmupWindows {
		t.Errorf("%d warm-up intervals in the log, %d windows", n, w.WarmupWindows)
	}
	requests, connects := planned(&plan, &plan.Workloads[0])
	for _, a := range w.Arms {
		warm := 0
		for i, row := range a.Series {
			if row.Warmup {
				warm++
			}
			if row.Warmup != (row.Pair == -1) || i > 0 && row.AtNS <= a.Series[i-1].AtNS || row.Requests == 0 || row.Phase != result.PhaseSteady {
				t.Errorf("row %d: %+v", i, row)
			}
		}
		if a.Requests != requests+connects || warm != w.WarmupWindows || len(a.Series) != warm+plan.Pairs || len(a.Heat.Rows) != len(a.Series) {
			t.Errorf("%s: %d requests, %d and %d windows, %d rows", a.Path, a.Requests, warm, len(a.Series), len(a.Heat.Rows))
		}
		for i, row := range a.Heat.Rows {
			if len(a.Heat.BoundsNS) > maxHeat || len(row) == 0 || a.Series[i].P50NS > a.Heat.BoundsNS[row[len(row)-1][0]] {
				t.Errorf("row %v of %d bounds, %+v", row, len(a.Heat.BoundsNS), a.Series[i])
			}
		}
	}
}

func TestMeasurementEndsByPrecisionOrBudgetAndNotBeforeItsPairs(t *testing.T) {
	s := newTarget(t, nil)
	for want, rule := range map[string]Precision{
		stoppedByPrecision: {P50: 1e9, P99: 1e9, Budget: time.Hour},
		stoppedByBudget:    {P50: 1e-12, P99: 1e-12, Budget: time.Nanosecond},
	} {
		plan := echoPlan(Arm{Path: "a", Dial: s.dial}, Arm{Path: "b", Dial: s.dial})
		plan.Workloads[0].Rate = 1000 // enough for a p99
		plan.Precision = &rule
		b, err := Run(t.Context(), plan, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if w := b.Workloads[0]; w.StoppedBy != want || w.Windows != plan.Pairs {
			t.Errorf("stopped by %q after %d pairs, want %q after %d", w.StoppedBy, w.Windows, want, plan.Pairs)
		}
	}
	r := &run{
		plan: &Plan{Pairs: 6, Precision: &Precision{P50: 1e-12, P99: 1e-12, Budget: time.Minute}}, w: &WorkloadPlan{Rate: 1},
		arms: []*armState{{}, {}}, windows: 8,
	}
	if got, _ := r.stop(t.Context(), true, time.Second); got != "" {
		t.Errorf("imprecise, and the budget not over: stopped by %q", got)
	}
	if got, _ := r.stop(t.Context(), false, time.Hour); got != "" {
		t.Errorf("within a block: stopped by %q", got)
	}
}

func TestStepsAreTheRateOverTheWindowsSideBySide(t *testing.T) {
	w := &WorkloadPlan{
		Name: "echo", Steps: []RateStep{{From: 0, To: 1000, For: 2 * time.Second}, {From: 1000, For: time.Second}, {From: 100, For: 500 * time.Millisecond}},
		Arms: []Arm{{Path: "a", Dial: func(context.Context, func(string, time.Duration)) (net.Conn, error) { return nil, nil }}},
	}
	if err := w.prepare(time.Second, false); err != nil {
		t.Fatal(err)
	}
	const window, guard = time.Second, 100 * time.Millisecond
	if n := w.places(window); n != 4 || w.peak() != 1000 || math.Abs(w.Rate-2050/3.5) > 1e-9 {
		t.Errorf("%d places, peak %v, mean %v", n, w.peak(), w.Rate)
	}
	for place, want := range []float64{250, 750, 1000, 100} {
		p := w.profile(place, guard, window)
		if got := p[1:].total(); math.Abs(got-want) > 1e-6 {
			t.Errorf("place %d: %v arrivals, want %v", place, got, want)
		}
		if got := p[0].mass; math.Abs(got-rateAt(w.Steps, time.Duration(place)*window)*guard.Seconds()) > 1e-6 {
			t.Errorf("place %d: %v arrivals in the guard", place, got)
		}
		for _, arrivals := range []string{ArrivalConstant, ArrivalPoisson} {
			w.Arrival = arrivals
			all := drain(newScheduleAt(1, "x", w, place, p, guard+window))
			again := drain(newScheduleAt(1, "x", w, place, p, guard+window))
			if sum := p.total(); math.Abs(float64(len(all))-sum) > 6*math.Sqrt(sum) || !slices.Equal(all, again) {
				t.Errorf("place %d, %s: %d arrivals, want about %v", place, arrivals, len(all), sum)
			}
			if !slices.IsSortedFunc(all, func(a, b arrival) int { return int(a.at - b.at) }) || all[len(all)-1].at >= guard+window {
				t.Errorf("place %d: out of order or of the window", place)
			}
		}
	}
	// Of a ramp from 0 to r over T, half of the arrivals are due by T/sqrt(2).
	ramp := profile{newSegment(time.Second, 0, 100)}
	if at, ok := ramp.inverse(25); !ok || math.Abs(at.Seconds()-math.Sqrt(0.5)) > 1e-6 {
		t.Errorf("half of the ramp at %v", at)
	}
	if _, ok := ramp.inverse(50); ok {
		t.Error("the ramp has 50 arrivals, from 0 to 49.9…")
	}
}

func TestStepsTakeAsManyPairsAsTheyAreLong(t *testing.T) {
	s := newTarget(t, nil)
	plan := echoPlan(Arm{Path: "a", Dial: s.dial}, Arm{Path: "b", Dial: s.dial})
	plan.Workloads[0].Rate, plan.Workloads[0].Steps = 0, []RateStep{{From: 100, To: 500, For: 800 * time.Millisecond}}
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := b.Workloads[0]
	if w.Windows != 8 || w.RatePerS != 300 || len(w.Load.Steps) != 1 || w.Load.Steps[0] != (result.RateStep{FromPerS: 100, ToPerS: 500, NS: 8e8}) {
		t.Errorf("%d windows, %v, %+v", w.Windows, w.RatePerS, w.Load)
	}
	if s := w.Arms[0].Series; s[7].Requests <= s[0].Requests {
		t.Errorf("from %d to %d requests", s[0].Requests, s[7].Requests)
	}
}

func TestLongSeriesIsFoldedAndKeepsItsCounts(t *testing.T) {
	r := &run{plan: &Plan{Window: time.Second}, w: &WorkloadPlan{Rate: 1}, opt: Options{Logger: slog.New(slog.DiscardHandler)}}
	a := &armState{rec: newArmRecorder()}
	r.arms = []*armState{a}
	const windows = 1000
	for i := range windows {
		for k := range 10 {
			a.rec.phase(result.PhaseSteady).record(time.Duration(1+i*k) * time.Microsecond)
		}
		w := &window{arm: a, run: r, tally: tally{planned: 10}}
		r.observe(w, i, i < 5, i == 500)
		a.rec.endWindow("a", time.Now(), time.Now(), "", nil)
	}
	out := []result.Arm{{}}
	r.series(out)
	requests, cells := int64(0), 0
	for i, s := range out[0].Series {
		requests += s.Requests
		for _, c := range out[0].Heat.Rows[i] {
			cells += c[1]
		}
	}
	if n := len(out[0].Series); n > maxSeries || n < maxSeries/3 || requests != windows*10 || cells != windows*10 {
		t.Errorf("%d rows with %d requests and %d in the map", n, requests, cells)
	}
	if b := out[0].Heat.BoundsNS; len(b) > maxHeat || !slices.IsSorted(b) || b[len(b)-1] < out[0].Series[len(out[0].Series)-1].MaxNS {
		t.Errorf("bounds %v", b)
	}
}

func TestFailuresBesideTheMeasurementCountAndDropsDoNot(t *testing.T) {
	var total tally
	total.failures(&tally{planned: 100, achieved: 90, done: 90, errors: 10, dropped: 7, censored: 1, samples: []string{errDropped.Error(), "refused"}})
	if total.planned != 3 || total.errors != 3 || total.achieved != 3 || total.dropped != 0 || total.done != 0 || !slices.Equal(total.samples, []string{"refused"}) {
		t.Errorf("%d planned, %d errors, %d dropped, %q", total.planned, total.errors, total.dropped, total.samples)
	}
}
