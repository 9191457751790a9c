package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// planned is what the schedule of a plan holds in its measured parts, by kind.
func planned(p *Plan, w *WorkloadPlan) (requests, connects int64) {
	for i := range p.Pairs {
		s := newSchedule(p.Seed, w.Name, w, i, p.Guard+p.Window)
		for a, ok := s.next(); ok; a, ok = s.next() {
			switch {
			case a.at < p.Guard:
			case a.connect:
				connects++
			default:
				requests++
			}
		}
	}
	return requests, connects
}

func comparison(t *testing.T, b *result.Bench, metric string) result.Comparison {
	t.Helper()
	for _, c := range b.Workloads[0].Comparisons {
		if c.Metric == metric {
			return c
		}
	}
	t.Fatalf("no comparison of %s in %+v", metric, b.Workloads[0].Comparisons)
	return result.Comparison{}
}

func TestKnownDelayOfOneArmIsFoundWithItsInterval(t *testing.T) {
	const delay = 20 * time.Millisecond // well above what a busy machine adds
	plain := newTarget(t, nil)
	slow := newTarget(t, func(int64, []byte) bool { time.Sleep(delay); return true })
	plan := echoPlan(Arm{Path: "direct", Dial: plain.dial}, Arm{Path: "detour", Dial: slow.dial, Upgrade: func() string { return "websocket" }})
	plan.Window, plan.Workloads[0].Rate, plan.Workloads[0].Tunnels, plan.Pairs = 150*time.Millisecond, 60, 4, DefaultPairs
	plan.Limits = []string{"errors == 0", "detour.steady_rtt.p50 / direct.steady_rtt.p50 < 1.5", "direct.steady_rtt.p50 < 1s"}
	var progress []int
	b, err := Run(t.Context(), plan, Options{Progress: func(_ string, done, total int) {
		if total != 2*DefaultPairs {
			t.Errorf("progress total %d, want %d", total, 2*DefaultPairs)
		}
		progress = append(progress, done)
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, done := range progress {
		if done != i+1 {
			t.Errorf("progress %v, want it one by one", progress)
			break
		}
	}
	w := b.Workloads[0]
	requests, connects := planned(&plan, &plan.Workloads[0])
	for i, want := range []string{"direct", "detour"} {
		a := w.Arms[i]
		if a.Path != want || a.Errors != 0 || a.Requests != requests+connects {
			t.Errorf("arm %d: %s with %d requests and %d errors (%q), want %s with %d and 0", i, a.Path, a.Requests, a.Errors, a.ErrorSamples, want, requests+connects)
		}
		for phase, n := range map[string]int64{
			result.PhaseTCP: connects, result.PhaseFirstByte: connects, result.PhaseConnect: connects,
			result.PhaseSteady: requests, result.PhaseService: requests, result.PhaseLag: requests + connects,
		} {
			if got := a.Phases[phase].Count; got != n {
				t.Errorf("%s.%s has %d samples, want %d", a.Path, phase, got, n)
			}
		}
	}
	if w.Arms[1].Upgrade != "websocket" || w.Windows != DefaultPairs {
		t.Errorf("upgrade %q, windows %d", w.Arms[1].Upgrade, w.Windows)
	}
	c := comparison(t, b, "steady_rtt.p50")
	if c.Verdict != "slower" || c.CI95[0] <= 1 || c.Pairs != DefaultPairs || c.NeedsPairs != 0 {
		t.Errorf("the delay was not found: %+v", c)
	}
	if d := time.Duration(c.DeltaNS); d < delay*8/10 || d > 4*delay {
		t.Errorf("difference %v, want about %v", d, delay)
	}
	for i, ok := range []bool{true, false, true} {
		if b.Limits[i].OK != ok {
			t.Errorf("limit %+v, want ok %v", b.Limits[i], ok)
		}
	}
}

// Each arm is compared with the one before it too, as a difference.
func TestWhatEachArmAddsToTheOneBeforeIt(t *testing.T) {
	const delay = 20 * time.Millisecond
	wait := func(d time.Duration) func(int64, []byte) bool {
		return func(int64, []byte) bool { time.Sleep(d); return true }
	}
	plain, slow, slower := newTarget(t, nil), newTarget(t, wait(delay)), newTarget(t, wait(3*delay))
	plan := echoPlan(Arm{Path: "direct", Dial: plain.dial}, Arm{Path: "one", Dial: slow.dial}, Arm{Path: "two", Dial: slower.dial})
	plan.maxLag = time.Second // no pair is to be left out here
	plan.Window, plan.Workloads[0].Rate, plan.Workloads[0].Tunnels = 150*time.Millisecond, 40, 8
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	added := map[string]time.Duration{}
	for _, s := range b.Workloads[0].Steps {
		if s.CI95NS[0] > s.AddedNS || s.AddedNS > s.CI95NS[1] || s.Pairs != plan.Pairs {
			t.Errorf("%+v", s)
		}
		added[s.From+" "+s.To+" "+s.Metric] = time.Duration(s.AddedNS)
	}
	for of, want := range map[string]time.Duration{"direct one steady_rtt.p50": delay, "one two steady_rtt.p50": 2 * delay} {
		if got := added[of]; got < want*8/10 || got > 2*want {
			t.Errorf("%s: %v, want about %v", of, got, want)
		}
	}
	for of := range added {
		if strings.HasPrefix(of, "direct two") {
			t.Errorf("%s are no neighbours", of)
		}
	}
	if two := compareTwo(t); len(two) > 0 {
		t.Errorf("of two arms: %+v", two)
	}
}

// compareTwo are the steps of a run with a baseline and one arm: the comparison has said it all.
func compareTwo(t *testing.T) []result.Step {
	t.Helper()
	s := newTarget(t, nil)
	b, err := Run(t.Context(), echoPlan(Arm{Path: "direct", Dial: s.dial}, Arm{Path: "detour", Dial: s.dial}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return b.Workloads[0].Steps
}

// Over the whole way from the windows to the result: the value of a limit is the end of the interval that its text names.
func TestRatioLimitIsJudgedAtTheHarderEndOfItsInterval(t *testing.T) {
	s := newTarget(t, nil)
	plan := echoPlan(Arm{Path: "direct", Dial: s.dial}, Arm{Path: "detour", Dial: s.dial})
	plan.maxLag = time.Second // no pair is to be left out here
	plan.Limits = []string{
		"detour.steady_rtt.p50 / direct.steady_rtt.p50 < 1e6",
		"1e6 > detour.steady_rtt.p50 / direct.steady_rtt.p50",
		"detour.steady_rtt.p50 / direct.steady_rtt.p50 > 1e-6",
		"direct.steady_rtt.p50 / detour.steady_rtt.p50 < 1e6",
		"direct.steady_rtt.p50 / detour.steady_rtt.p50 >= 1e-6",
	}
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ci := comparison(t, b, "steady_rtt.p50").CI95
	if !(ci[0] < ci[1]) {
		t.Fatalf("interval %v", ci)
	}
	for i, want := range []struct {
		value float64
		text  string
	}{{ci[1], "upper bound"}, {ci[1], "upper bound"}, {ci[0], "lower bound"}, {1 / ci[0], "upper bound"}, {1 / ci[1], "lower bound"}} {
		if l := b.Limits[i]; l.Value != want.value || !strings.HasPrefix(l.Detail, want.text) || !l.OK || l.Workload != "echo" {
			t.Errorf("limit %+v, want value %v, %s of %v", l, want.value, want.text, ci)
		}
	}
}

// lastMoment answers rightly, and then the drain time is over.
type lastMoment struct{ end func() }

func (s lastMoment) Do(context.Context) error { s.end(); return nil }
func (s lastMoment) Close() error             { return nil }

func TestTunnelWithAnExpiredDeadlineIsNotTakenIntoTheNextWindow(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	rec := newArmRecorder()
	w := &window{
		arm: &armState{rec: rec}, run: &run{plan: &Plan{}}, start: time.Now(), ctx: ctx,
		steady: rec.phase(result.PhaseSteady), service: rec.phase(result.PhaseService),
	}
	slots := make([]slot, 1)
	s := &slots[0]
	stop := watch(ctx, slots)
	s.tunnel = &tunnel{conn: client, sess: lastMoment{end: func() { cancel(); stop() }}} // stop waits until the deadline is set
	s.push(arrival{}, 1)
	w.serve(s, s.waiting())
	s.settle()
	if w.tally.errors != 0 || w.tally.done != 1 {
		t.Errorf("%d errors, %d right answers", w.tally.errors, w.tally.done)
	}
	if s.tunnel != nil {
		t.Error("the spoiled tunnel is still there: its next request would fail without the target's doing")
	}
}

func TestFrozenTargetShowsInResponseTimeAndDoesNotSlowTheSchedule(t *testing.T) {
	const freeze = 300 * time.Millisecond
	var once sync.Once
	var gate sync.RWMutex
	s := newTarget(t, func(n int64, _ []byte) bool {
		if n == 100 {
			once.Do(func() {
				gate.Lock()
				time.Sleep(freeze)
				gate.Unlock()
			})
		}
		gate.RLock()
		defer gate.RUnlock()
		return true
	})
	plan := echoPlan(Arm{Path: "direct", Dial: s.dial})
	w := &plan.Workloads[0]
	w.Rate, w.ConnectRate, w.Arrival, plan.Window, plan.Pairs = 500, 0, ArrivalConstant, 500*time.Millisecond, 3
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := b.Workloads[0].Arms[0]
	requests, _ := planned(&plan, w)
	if a.Requests != requests || a.Phases[result.PhaseSteady].Count != requests || a.Errors != 0 {
		t.Fatalf("%d requests, %d answers, %d errors; planned were %d", a.Requests, a.Phases[result.PhaseSteady].Count, a.Errors, requests)
	}
	steady, service := a.Phases[result.PhaseSteady], a.Phases[result.PhaseService]
	if steady.P99NS < int64(freeze/2) || steady.MaxNS < int64(freeze*9/10) {
		t.Errorf("the freeze is hidden: response p99 %v, max %v", time.Duration(steady.P99NS), time.Duration(steady.MaxNS))
	}
	// At most one request a tunnel was under way, which 1 per cent of 750 does not show: the point of intended time.
	if service.P99NS > int64(freeze/4) {
		t.Errorf("service p99 %v: the queue was charged to it", time.Duration(service.P99NS))
	}
}

func TestIntervalLogReadBackHasEveryCount(t *testing.T) {
	s := newTarget(t, nil)
	plan := echoPlan(Arm{Path: "a", Dial: s.dial}, Arm{Path: "b-2", Dial: s.dial})
	l := logs{}
	b, err := Run(t.Context(), plan, Options{Log: l.open})
	if err != nil {
		t.Fatal(err)
	}
	w := b.Workloads[0]
	if w.Log != "echo.hlog" || l[w.Log] == nil {
		t.Fatalf("log %q, opened %v", w.Log, l)
	}
	counts, intervals := map[string]int64{}, map[string]int{}
	r := hdr.NewHistogramLogReader(l[w.Log])
	for {
		h, err := r.NextIntervalHistogram()
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if h == nil {
			break
		}
		counts[h.Tag()] += h.TotalCount()
		intervals[h.Tag()]++
	}
	for _, a := range w.Arms {
		for phase, p := range a.Phases {
			tag := a.Path + "." + phase
			if counts[tag] != p.Count {
				t.Errorf("%s: %d in the log, %d in the result", tag, counts[tag], p.Count)
			}
			delete(counts, tag)
		}
		if n := intervals[a.Path+".steady_rtt"]; n != plan.Pairs {
			t.Errorf("%s.steady_rtt has %d intervals, want %d", a.Path, n, plan.Pairs)
		}
	}
	if len(counts) != 0 {
		t.Errorf("in the log only: %v", counts)
	}
}

func TestCancelMidRunReturnsWhatWasMeasured(t *testing.T) {
	s := newTarget(t, nil)
	plan := echoPlan(Arm{Path: "a", Dial: s.dial}, Arm{Path: "b", Dial: s.dial})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b, err := Run(ctx, plan, Options{Progress: func(_ string, done, _ int) {
		if done == 5 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	if b.Validity.OK || len(b.Validity.Reasons) == 0 {
		t.Errorf("a partial run is called valid: %+v", b.Validity)
	}
	if got := b.Workloads[0].Windows; got != 2 {
		t.Errorf("%d whole pairs, want 2", got)
	}
	for _, a := range b.Workloads[0].Arms {
		if a.Phases[result.PhaseSteady].Count == 0 || a.Errors != 0 {
			t.Errorf("arm %s: %+v", a.Path, a)
		}
	}
}

func TestCancelReachesRequestsThatHang(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	release := make(chan struct{})
	s := newTarget(t, func(n int64, _ []byte) bool {
		if n > 10 {
			cancel()
			<-release
		}
		return true
	})
	defer close(release)
	plan := echoPlan(Arm{Path: "a", Dial: s.dial})
	plan.Drain = time.Minute
	began := time.Now()
	b, err := Run(ctx, plan, Options{})
	if !errors.Is(err, context.Canceled) || b == nil {
		t.Fatalf("got %v, %v", b, err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("took %v to stop", d)
	}
	if e := b.Workloads[0].Arms[0].Errors; e != 0 {
		t.Errorf("%d errors: what a cancelled window leaves is no error of the target", e)
	}
}

func TestUnansweredIsCensoredAndCountedAndTheArmGivenUp(t *testing.T) {
	release := make(chan struct{})
	s := newTarget(t, func(n int64, _ []byte) bool {
		if n > 20 {
			<-release
		}
		return true
	})
	defer close(release)
	plan := echoPlan(Arm{Path: "a", Dial: s.dial})
	plan.Drain = 100 * time.Millisecond
	plan.Workloads[0].ConnectRate = 0
	windows := 0
	b, err := Run(t.Context(), plan, Options{Progress: func(_ string, done, _ int) { windows = done }})
	if err != nil {
		t.Fatal(err)
	}
	a := b.Workloads[0].Arms[0]
	st := a.Phases[result.PhaseSteady]
	if a.Errors == 0 || st.Count == 0 || st.MaxNS < int64(plan.Drain) {
		t.Fatalf("errors %d, steady %+v", a.Errors, st)
	}
	if last := a.Series[len(a.Series)-1]; last.DrainNS < int64(plan.Drain) {
		t.Errorf("the series has a drain of %v, and it was waited for %v", time.Duration(last.DrainNS), plan.Drain)
	}
	if windows == plan.Pairs || !strings.Contains(strings.Join(b.Validity.Reasons, "\n"), "given up after") {
		t.Errorf("went on for %d windows; validity %+v", windows, b.Validity)
	}
	if len(a.ErrorSamples) == 0 || !strings.Contains(strings.Join(a.ErrorSamples, " "), "no answer") {
		t.Errorf("samples %q", a.ErrorSamples)
	}
}

func TestBlockedDialsAreDroppedCountedAndNeverHoldTheScheduleUp(t *testing.T) {
	hang := func(ctx context.Context, _ func(string, time.Duration)) (net.Conn, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("dial: %w", ctx.Err())
	}
	plan := echoPlan(Arm{Path: "a", Dial: hang})
	plan.Drain, plan.Pairs = 50*time.Millisecond, 1
	w := &plan.Workloads[0]
	w.Rate, w.ConnectRate, plan.Window = 0, 4000, 300*time.Millisecond
	began := time.Now()
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("took %v for a window of 0.32 s and a drain of 0.05", d)
	}
	_, connects := planned(&plan, w)
	a := b.Workloads[0].Arms[0]
	if a.Requests < connects || a.Errors != a.Requests {
		t.Errorf("%d requests, %d errors; planned were %d", a.Requests, a.Errors, connects)
	}
	if b.Validity.OK || !strings.Contains(strings.Join(b.Validity.Reasons, "\n"), "dropped by the generator") {
		t.Errorf("validity %+v", b.Validity)
	}
}

func TestTunnelThatDiesIsCountedAndOpenedAgain(t *testing.T) {
	s := newTarget(t, func(n int64, _ []byte) bool { return n%40 != 0 })
	plan := echoPlan(Arm{Path: "a", Dial: s.dial})
	plan.Workloads[0].ConnectRate = 0
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := b.Workloads[0].Arms[0]
	if died := s.requests.Load() / 40; a.Errors != died || died == 0 {
		t.Errorf("%d errors, %d tunnels died", a.Errors, died)
	}
	if all := strings.Join(a.ErrorSamples, "\n"); !strings.Contains(all, "echo: read") {
		t.Errorf("samples %q", a.ErrorSamples)
	}
	if all := strings.Join(a.Notes, "\n"); !strings.Contains(all, "opened again") {
		t.Errorf("notes %q", a.Notes)
	}
	if got, min := a.Phases[result.PhaseSteady].Count, a.Requests-a.Errors-5; got < min {
		t.Errorf("only %d answers, want at least %d", got, min)
	}
}

func TestWrongAnswerIsAnError(t *testing.T) {
	s := newTarget(t, func(n int64, p []byte) bool {
		if n == 30 {
			p[63] ^= 1
		}
		return true
	})
	plan := echoPlan(Arm{Path: "a", Dial: s.dial})
	plan.Limits = []string{"errors == 0"}
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a := b.Workloads[0].Arms[0]; a.Errors != 1 || !strings.Contains(strings.Join(a.ErrorSamples, ""), "echo: sent") {
		t.Errorf("errors %d, samples %q", a.Errors, a.ErrorSamples)
	}
	if l := b.Limits[0]; l.OK || l.Value != 1 || l.Workload != "" {
		t.Errorf("limit %+v", l)
	}
}

func TestArmThatCannotBeOpenedIsNamedAndTheNextWorkloadRuns(t *testing.T) {
	s := newTarget(t, nil)
	refused := func(context.Context, func(string, time.Duration)) (net.Conn, error) {
		return nil, errors.New("connection refused")
	}
	plan := echoPlan(Arm{Path: "a", Dial: s.dial}, Arm{Path: "b", Dial: refused})
	plan.Workloads = append(plan.Workloads, plan.Workloads[0])
	plan.Workloads[1].Arms = plan.Workloads[0].Arms[:1]
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(b.Validity.Reasons, "\n"); b.Validity.OK || !strings.Contains(got, "arm b: dial: connection refused") {
		t.Errorf("validity %+v", b.Validity)
	}
	if b.Workloads[0].Arms[1].Errors == 0 || b.Workloads[0].Windows != 0 || b.Workloads[1].Windows != plan.Pairs {
		t.Errorf("workloads %+v", b.Workloads)
	}
}

func TestPlanFaultsNameTheField(t *testing.T) {
	dial := func(context.Context, func(string, time.Duration)) (net.Conn, error) { return nil, io.EOF }
	for name, c := range map[string]struct {
		change func(*Plan)
		want   string
	}{
		"no workload":      {func(p *Plan) { p.Workloads = nil }, "workloads: there is none"},
		"unknown workload": {func(p *Plan) { p.Workloads[0].Name = "echoo" }, `workloads[0]: name: no workload is called "echoo"; there are bulk (direction down`},
		"no rate":          {func(p *Plan) { p.Workloads[0].Rate, p.Workloads[0].ConnectRate = 0, 0 }, "both 0"},
		"negative rate":    {func(p *Plan) { p.Workloads[0].Rate = -1 }, "rate and connect_rate must"},
		"arrival":          {func(p *Plan) { p.Workloads[0].Arrival = "bursty" }, `arrival: "bursty"`},
		"no dial":          {func(p *Plan) { p.Workloads[0].Arms = []Arm{{Path: "a"}} }, "arms[0] (a): no dial function"},
		"twice":            {func(p *Plan) { p.Workloads[0].Arms = []Arm{{Path: "a", Dial: dial}, {Path: "a", Dial: dial}} }, `arms[1]: "a" is there twice`},
		"dotted path":      {func(p *Plan) { p.Workloads[0].Arms[0].Path = "a.b" }, "without dots"},
		"window":           {func(p *Plan) { p.Window = -1 }, "must not be negative"},
		"limit":            {func(p *Plan) { p.Limits = []string{"b.connect.p50 < 1s"} }, `no arm "b"; there are a`},
	} {
		t.Run(name, func(t *testing.T) {
			p := echoPlan(Arm{Path: "a", Dial: dial})
			c.change(&p)
			b, err := Run(t.Context(), p, Options{})
			if b != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v; want an error with %q", b, err, c.want)
			}
		})
	}
}

func TestPairInWhichTheGeneratorWasLateIsLeftOutOnEveryArm(t *testing.T) {
	for name, c := range map[string]struct {
		late  int // of 12 pairs
		valid bool
	}{"none": {0, true}, "some": {5, true}, "most": {7, false}} {
		t.Run(name, func(t *testing.T) {
			dial := func(context.Context, func(string, time.Duration)) (net.Conn, error) { return nil, io.EOF }
			plan := echoPlan(Arm{Path: "a", Dial: dial}, Arm{Path: "b", Dial: dial})
			plan.maxLag, plan.Pairs, plan.Workloads[0].ConnectRate = 5*time.Millisecond, 12, 0
			if _, err := plan.prepare(); err != nil {
				t.Fatal(err)
			}
			l := logs{}
			log, err := openLog(l.open, "x.hlog")
			if err != nil {
				t.Fatal(err)
			}
			r := newRun(&plan, 0, "echo", Options{Logger: slog.New(slog.DiscardHandler)})
			for pair := range plan.Pairs {
				var windows []*window
				for i, a := range r.arms {
					lag := time.Millisecond
					if pair < c.late && i == 1 {
						lag = 50 * time.Millisecond // in one arm alone
					}
					for range 50 {
						a.rec.phase(result.PhaseLag).record(time.Millisecond)
					}
					a.rec.phase(result.PhaseLag).record(lag)
					a.rec.phase(result.PhaseLag).record(max(lag, 20*time.Millisecond)) // one late arrival is tolerated
					a.rec.phase(result.PhaseSteady).record(10 * time.Millisecond)
					windows = append(windows, &window{arm: a, run: r, start: time.Now(), tally: tally{planned: 1, achieved: 1, done: 1}})
				}
				r.keep(pair, windows, r.good(windows), log)
			}
			res := r.result()
			for _, a := range res.Arms {
				if n := a.Phases[result.PhaseSteady].Count; n != int64(12-c.late) || a.Requests != 12 {
					t.Errorf("%s: %d samples of %d requests with %d pairs late", a.Path, n, a.Requests, c.late)
				}
				if told := strings.Contains(strings.Join(a.Notes, ""), "left out"); told != (c.late > 0) {
					t.Errorf("%s: %q", a.Path, a.Notes)
				}
			}
			if len(res.Comparisons) > 0 && res.Comparisons[0].Pairs != 12-c.late {
				t.Errorf("comparison %+v", res.Comparisons[0])
			}
			if got := strings.Count(l["x.hlog"].String(), "Tag=excluded."); got != c.late*4 {
				t.Errorf("%d excluded intervals in the log, want %d", got, c.late*4)
			}
			if reasons := r.invalid(r.gates(&res)); (len(reasons) == 0) != c.valid {
				t.Errorf("reasons %q, want valid %v", reasons, c.valid)
			}
		})
	}
}

func TestPairsLeftOutAreMadeUpForWithinBounds(t *testing.T) {
	s := newTarget(t, nil)
	plan := echoPlan(Arm{Path: "a", Dial: s.dial}, Arm{Path: "b", Dial: s.dial})
	plan.Pairs, plan.Window = 5, 20*time.Millisecond
	plan.maxLag, plan.lagShare = time.Nanosecond, 1e-9 // every wake-up is late, on a busy machine too
	plan.Workloads[0].Rate, plan.Workloads[0].ConnectRate = 500, 0
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Workloads[0].Windows; got != stretch*plan.Pairs {
		t.Errorf("%d pairs were tried, want %d", got, stretch*plan.Pairs)
	}
	if b.Validity.OK {
		t.Error("a measurement without one good pair is called valid")
	}
}

func TestLogThatCannotBeWrittenIsAnErrorBesideTheResult(t *testing.T) {
	s := newTarget(t, nil)
	plan := echoPlan(Arm{Path: "a", Dial: s.dial})
	full := func(string) (io.WriteCloser, error) { return nopCloser{errWriter{}}, nil }
	b, err := Run(t.Context(), plan, Options{Log: full})
	if err == nil || !strings.Contains(err.Error(), "echo.hlog: no space") || b == nil || b.Workloads[0].Windows != plan.Pairs {
		t.Errorf("got %v, %v", b, err)
	}
}

type errWriter struct{}

func (errWriter) Write([]byte) (int, error) { return 0, errors.New("no space") }
