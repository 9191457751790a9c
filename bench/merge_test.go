package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// memory is a folder of logs.
type memory struct {
	mu    sync.Mutex // guards files
	files map[string]*bytes.Buffer
}

func (m *memory) create(name string) (io.WriteCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files == nil {
		m.files = map[string]*bytes.Buffer{}
	}
	m.files[name] = &bytes.Buffer{}
	return unclosed{m.files[name]}, nil
}

func (m *memory) open(name string) (io.ReadCloser, error) {
	f := m.files[name]
	if f == nil {
		return nil, fmt.Errorf("no log %q", name)
	}
	return io.NopCloser(bytes.NewReader(f.Bytes())), nil
}

// shardOf makes the log and the report of one process: windows pairs of two arms, samples drawn from rng and given to each as well.
func shardOf(t *testing.T, index, windows int, left func(pair int) bool, each func(arm int, left bool, v time.Duration), rng *rand.Rand) (Part, *memory) {
	t.Helper()
	plan := &Plan{Window: time.Second, Pairs: windows}
	wp := &WorkloadPlan{Name: "echo", Backend: "witness", Rate: 10, Tunnels: 2, Arrival: ArrivalPoisson, Mode: ModeOpen, Arms: []Arm{{Path: "direct"}, {Path: "detour"}}}
	r := newRunOf(plan, wp, "echo", Options{Logger: slog.New(slog.DiscardHandler)})
	r.logName = "echo.hlog"
	m := &memory{}
	log, err := openLog(m.create, r.logName)
	if err != nil {
		t.Fatal(err)
	}
	for pair := range windows {
		var list []*window
		for i, a := range r.arms {
			n := 50 + rng.IntN(200)
			for range n {
				v := time.Duration(1e5 * (float64(i) + rng.ExpFloat64()) * float64(1+index))
				a.rec.phase(result.PhaseSteady).record(v)
				each(i, left(pair), max(v, 1))
			}
			list = append(list, &window{arm: a, run: r, start: time.UnixMilli(int64(1000 * (2*pair + i))), tally: tally{planned: int64(n), achieved: int64(n), done: int64(n)}})
		}
		r.keep(pair, list, !left(pair), log)
	}
	if err := log.close(); err != nil {
		t.Fatal(err)
	}
	b := &result.Bench{Workloads: []result.Workload{r.result()}, Validity: result.Validity{OK: true}, Shards: []result.Shard{{Index: index, PlanSHA256: "plan"}}}
	return Part{Name: fmt.Sprintf("shard %d", index), Bench: b, Log: m.open}, m
}

// The distributions of merged shards are those of one histogram that has every sample, to the last bucket; averages are not.
func TestShardsMergeExactly(t *testing.T) {
	const windows = 12
	rng := rand.New(rand.NewPCG(7, 7))
	one := []*hdr.Histogram{newHistogram(), newHistogram()}
	var all, requests int64
	left := func(pair int) bool { return pair == 4 }
	var parts []Part
	for i := range 5 {
		p, _ := shardOf(t, i, windows, left, func(arm int, left bool, v time.Duration) {
			requests++
			if !left {
				all++
				if err := one[arm].RecordValue(int64(v)); err != nil {
					t.Fatal(err)
				}
			}
		}, rng)
		parts = append(parts, p)
	}
	var merged memory
	b, err := Merge(parts, MergeOptions{Log: merged.create, Limits: []string{"errors == 0", "direct.steady_rtt.p50 < 1s"}})
	if err != nil {
		t.Fatal(err)
	}
	w := b.Workloads[0]
	var samples, sum int64
	for i, a := range w.Arms {
		got, want := a.Phases[result.PhaseSteady], summary(one[i], addBlock(nil, one[i]))
		got.CI95NS, want.CI95NS, got.Curve, want.Curve = nil, nil, values(got.Curve), values(want.Curve) // intervals know of windows
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", a.Path, got, want)
		}
		samples, sum = samples+a.Phases[result.PhaseSteady].Count, sum+a.Requests
		if len(a.Series) != windows || !a.Series[4].Excluded || a.Series[5].Excluded {
			t.Errorf("%s: series %+v", a.Path, a.Series)
		}
	}
	if samples != all || sum != requests {
		t.Errorf("%d samples of %d requests, want %d of %d", samples, sum, all, requests)
	}
	if c := w.Comparisons[0]; c.Pairs != windows-1 || c.Verdict != "slower" {
		t.Errorf("comparison %+v", c)
	}
	if w.RatePerS != 50 || w.Tunnels != 10 || w.Windows != windows || len(b.Shards) != 5 || len(b.Limits) != 2 || !b.Limits[0].OK || !b.Validity.OK {
		t.Errorf("%+v %+v %+v", w, b.Limits, b.Validity)
	}

	// What was merged can be merged again, and as one part gives itself.
	again, err := Merge([]Part{{Name: "all", Bench: b, Log: merged.open}}, MergeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(again.Workloads[0].Arms[0].Phases) != fmt.Sprint(w.Arms[0].Phases) || again.Workloads[0].Comparisons[0] != w.Comparisons[0] {
		t.Errorf("merged once more: %+v, want %+v", again.Workloads[0], w)
	}
}

// values are the points without their intervals.
func values(curve []result.Point) []result.Point {
	var out []result.Point
	for _, p := range curve {
		out = append(out, result.Point{Quantile: p.Quantile, NS: p.NS})
	}
	return out
}

// Runs that were made one after the other keep their pairs apart; parts that are no measurement of the same are refused.
func TestRunsFollowEachOther(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	none := func(int) bool { return false }
	ignore := func(int, bool, time.Duration) {}
	a, _ := shardOf(t, 0, 6, none, ignore, rng)
	b, _ := shardOf(t, 0, 7, none, ignore, rng) // the same index: not of one plan
	m, err := Merge([]Part{a, b}, MergeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if w := m.Workloads[0]; w.Windows != 13 || w.Comparisons[0].Pairs != 13 || w.RatePerS != 10 || w.Tunnels != 2 {
		t.Errorf("%+v", w)
	}
	for what, change := range map[string]func(*result.Workload){
		"another rate": func(w *result.Workload) { w.RatePerS++ },
		"another arm":  func(w *result.Workload) { w.Arms[1].Path = "other" },
		"no log":       func(w *result.Workload) { w.Log = "" },
		"a lost log":   func(w *result.Workload) { w.Log = "lost.hlog" },
		"another kind": func(w *result.Workload) { w.Name = "unheard-of" },
		"no arms":      func(w *result.Workload) { w.Arms = nil },
	} {
		c, _ := shardOf(t, 0, 6, none, ignore, rng)
		change(&c.Bench.Workloads[0])
		for _, parts := range [][]Part{{a, c}, {c, a}} {
			if _, err := Merge(parts, MergeOptions{}); err == nil {
				t.Errorf("%s was merged", what)
			} else {
				t.Log(err)
			}
		}
	}
	invalid, _ := shardOf(t, 0, 6, none, ignore, rng)
	invalid.Bench.Validity = result.Validity{Reasons: []string{"it was late"}}
	if m, err := Merge([]Part{a, invalid}, MergeOptions{}); err != nil || m.Validity.OK || !strings.Contains(m.Validity.Reasons[0], "it was late") {
		t.Errorf("with an invalid part: %v %+v", err, m)
	}
}

func TestLogsAloneMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 2))
	var n int64
	var logs []io.Reader
	for range 3 {
		_, m := shardOf(t, 0, 3, func(pair int) bool { return pair == 1 }, func(arm int, left bool, _ time.Duration) {
			if arm == 0 && left {
				n++
			}
		}, rng)
		logs = append(logs, m.files["echo.hlog"])
	}
	var out bytes.Buffer
	phases, err := MergeLogs(&out, logs)
	if err != nil {
		t.Fatal(err)
	}
	if got := phases["excluded.direct.steady_rtt"].Count; got != n || len(phases) != 4 {
		t.Errorf("%d samples in %d tags, want %d in 4", got, len(phases), n)
	}
	// hdrhistogram-go's own reader, as any other, reads what came out.
	var total int64
	for r := hdr.NewHistogramLogReader(&out); ; {
		h, err := r.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			break
		}
		total += h.TotalCount()
	}
	for _, p := range phases {
		total -= p.Count
	}
	if total != 0 {
		t.Errorf("the log and the distributions differ by %d samples", total)
	}
}

func TestALogOfAnotherGeometryIsRefused(t *testing.T) {
	h := hdr.New(1, int64(time.Hour), 2)
	if err := h.RecordValue(5); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if err := hdr.NewHistogramLogWriter(&log).OutputIntervalHistogram(h); err != nil {
		t.Fatal(err)
	}
	if _, err := MergeLogs(io.Discard, []io.Reader{&log}); err == nil || !strings.Contains(err.Error(), "exactly") {
		t.Errorf("error %v", err)
	}
}

func FuzzReadLog(f *testing.F) {
	_, m := shardOf(&testing.T{}, 0, 2, func(pair int) bool { return pair == 1 }, func(int, bool, time.Duration) {}, rand.New(rand.NewPCG(3, 2)))
	f.Add(m.files["echo.hlog"].Bytes())
	f.Add([]byte("#[Pair: 1]\nTag=a.tcp,0.1,1.0,2.0,HISTFAAAABx42pNpmSzMwMDAxAABzFCaEUoz2X+AMIAAAFcCBPQ=\n"))
	f.Add([]byte("Tag=a.tcp\n"))
	f.Add([]byte("1e300,NaN,,\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		phases, err := MergeLogs(&out, []io.Reader{bytes.NewReader(data), bytes.NewReader(data)})
		if err != nil {
			return
		}
		again, err := MergeLogs(io.Discard, []io.Reader{&out})
		if err != nil {
			t.Fatalf("what was merged cannot be read: %v\n%s", err, out.Bytes())
		}
		for tag, p := range phases {
			if again[tag].Count != p.Count || again[tag].P99NS != p.P99NS || p.Count%2 != 0 {
				t.Errorf("%s: %+v, then %+v", tag, p, again[tag])
			}
		}
	})
}

// roomBarrier keeps goroutines of this process together.
type roomBarrier struct {
	of     int
	mu     sync.Mutex // guards all below
	point  string
	count  int
	sums   []float64
	gate   chan struct{}
	start  time.Time
	failed error
}

func (b *roomBarrier) Meet(ctx context.Context, point string, values ...float64) (time.Time, []float64, error) {
	b.mu.Lock()
	if b.gate == nil {
		b.gate, b.point, b.sums, b.count = make(chan struct{}), point, make([]float64, len(values)), 0
	}
	if b.point != point || len(values) != len(b.sums) {
		b.failed = fmt.Errorf("one is at %q, another at %q", b.point, point)
		b.mu.Unlock()
		return time.Time{}, nil, b.failed
	}
	for i, v := range values {
		b.sums[i] += v
	}
	b.count++
	gate, sums := b.gate, b.sums
	if b.count == b.of {
		b.start = time.Now().Add(5 * time.Millisecond)
		close(gate)
		b.gate = nil
	}
	b.mu.Unlock()
	select {
	case <-gate:
	case <-ctx.Done():
		return time.Time{}, nil, ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.start, slices.Clone(sums), b.failed
}

// together runs a plan in several parts and merges them.
func together(t *testing.T, plan Plan, of int, change func(index int, p *Plan)) (*result.Bench, []*result.Bench) {
	t.Helper()
	room := &roomBarrier{of: of}
	parts, benches, errs := make([]Part, of), make([]*result.Bench, of), make([]error, of)
	var wg sync.WaitGroup
	for i := range of {
		p := plan
		p.Shard, p.Shards, p.Limits = i, of, nil
		if change != nil {
			change(i, &p)
		}
		wg.Go(func() {
			m := &memory{}
			benches[i], errs[i] = Run(t.Context(), p, Options{Barrier: room, Log: m.create})
			parts[i] = Part{Name: fmt.Sprintf("shard %d", i), Bench: benches[i], Log: m.open}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, b := range benches {
		b.Shards[0].PlanSHA256 = "plan"
	}
	b, err := Merge(parts, MergeOptions{Limits: plan.Limits})
	if err != nil {
		t.Fatal(err)
	}
	return b, benches
}

// The parts of a plan add up to it: rates, tunnels, requests, pairs; a pair that is spoiled in one process is left out in all.
func TestAPlanInThreeParts(t *testing.T) {
	target := newTarget(t, nil)
	plan := echoPlan(Arm{Path: "direct", Dial: target.dial}, Arm{Path: "same", Dial: target.dial})
	plan.Workloads[0].Rate, plan.Workloads[0].ConnectRate, plan.Workloads[0].Tunnels = 300, 30, 7
	plan.Workloads[0].Arrival = ArrivalConstant
	plan.Limits = []string{"errors == 0"}
	b, parts := together(t, plan, 3, nil)
	w := b.Workloads[0]
	requests, connects := planned(&plan, &WorkloadPlan{Rate: 300, ConnectRate: 30, Arrival: ArrivalConstant})
	for _, a := range w.Arms {
		// The sum of the parts is the planned process itself, but for what falls on either side of the guard's end.
		if diff := a.Requests - (requests+connects)*int64(w.Windows)/int64(plan.Pairs); diff < -int64(w.Windows) || diff > int64(w.Windows) || a.Errors != 0 {
			t.Errorf("%s: %d requests in %d windows, want %d in %d; errors %q", a.Path, a.Requests, w.Windows, requests+connects, plan.Pairs, a.ErrorSamples)
		}
	}
	if w.Tunnels != 7 || w.RatePerS != 300 || len(b.Shards) != 3 || !b.Limits[0].OK {
		t.Errorf("%d tunnels, %g/s, %d shards, %+v", w.Tunnels, w.RatePerS, len(b.Shards), b.Limits)
	}
	for i, p := range parts {
		if got := p.Workloads[0].Windows; got != w.Windows {
			t.Errorf("part %d has %d windows, the whole %d", i, got, w.Windows)
		}
	}

	// One process that thinks itself always late spoils every pair of all.
	b, parts = together(t, plan, 2, func(i int, p *Plan) {
		if i == 1 {
			p.maxLag, p.lagShare = -time.Hour, -1
		}
	})
	for i, p := range parts {
		if n := p.Workloads[0].Arms[0].Phases[result.PhaseSteady].Count; n != 0 {
			t.Errorf("part %d kept %d samples", i, n)
		}
		if want := p.Workloads[0].Windows * i; p.Shards[0].Excluded < want {
			t.Errorf("part %d: %d windows left out on its account, want %d", i, p.Shards[0].Excluded, want)
		}
	}
	if b.Validity.OK {
		t.Error("a measurement without windows is called valid")
	}
}

// A burst of new tunnels is one instant; the parts are of it.
func TestABurstInParts(t *testing.T) {
	var sum float64
	burst := 0
	for i := range 3 {
		w := WorkloadPlan{ConnectRate: 20, Shape: Shape{Burst: 8}}
		w.share(i, 3)
		sum, burst = sum+w.ConnectRate, burst+w.Shape.Burst
		if w.shift != 0 || w.shape()["burst"] != (&WorkloadPlan{Shape: Shape{Burst: 8}}).shape()["burst"] {
			t.Errorf("part %d: %+v", i, w)
		}
		if got, want := w.ConnectRate/float64(w.Shape.Burst), 20.0/8; got < want*0.999 || got > want*1.001 {
			t.Errorf("part %d: %g bursts a second, want %g", i, got, want)
		}
	}
	if burst != 8 || sum < 19.99 || sum > 20.01 {
		t.Errorf("bursts of %d at %g/s", burst, sum)
	}
}

// Capacity is the sum of what the parts get, and the levels are shares of that.
func TestTheSearchIsOfAllParts(t *testing.T) {
	target := newTarget(t, func(int64, []byte) bool { time.Sleep(5 * time.Millisecond); return true })
	plan := echoPlan(Arm{Path: "direct", Dial: target.dial}, Arm{Path: "same", Dial: target.dial})
	plan.Workloads[0].Rate, plan.Workloads[0].ConnectRate, plan.Workloads[0].Tunnels = 0, 0, 4
	plan.Levels = []int{50}
	b, parts := together(t, plan, 2, nil)
	load := b.Workloads[0].Load
	slowest := load.CapacityPerS[load.SlowestArm]
	if got, want := b.Workloads[0].RatePerS, roundDown(slowest/2); got < want*0.999 || got > want*1.001 {
		t.Errorf("sent at %g/s, want %g/s, half of %v", got, want, load.CapacityPerS)
	}
	if parts[0].Workloads[0].RatePerS != parts[1].Workloads[0].RatePerS {
		t.Errorf("the parts sent at %g/s and %g/s", parts[0].Workloads[0].RatePerS, parts[1].Workloads[0].RatePerS)
	}
}
