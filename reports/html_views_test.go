package reports

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Every field of a measurement that a person may ask for is on the page.
func TestPageShowsWhatAMeasurementHas(t *testing.T) {
	out := render(t, "html", variants()["full"])
	for what, want := range map[string]string{
		"a gate that holds":                 "99.8 % of the planned load went off in time",
		"a gate that is advice":             `<span aria-hidden="true">≈</span> advice`,
		"the limit of a gate":               "100 µs",
		"the earlier run":                   "Against run 20261119-090000-3",
		"a regression":                      "regression</span>",
		"what did not change":               "2 comparisons without a change that can be told",
		"the share of capacity":             "Open loop at 30 % of capacity",
		"capacity":                          "1,840/s",
		"latency by load":                   "p99 at 50 %",
		"a plan of rates":                   "From 100 to 400/s in 400 ms, then 400/s for 100 ms.",
		"tunnels":                           "64 tunnels, 48 of them active",
		"the measures of a workload":        "full, of a name by weight",
		"what was negotiated":               "curve X25519MLKEM768",
		"warm-up":                           "after 3 windows of warm-up until steady",
		"why it stopped":                    "stopped at the end of its time",
		"what was not in time":              "2 not answered in time",
		"payload":                           "3 GiB, 210 MiB/s",
		"a peer":                            "HAProxy 2.6.12, splice-request and splice-response",
		"the place of a peer":               "5. sslh",
		"an interval of the tail":           "with 95 % intervals",
		"a percentile that lacks samples":   "more</small>",
		"an interval of the curve":          "<polygon points=",
		"windows left out":                  `class="left"`,
		"windows of warm-up":                `class="warm"`,
		"errors by window":                  "6 errors at",
		"faults on the axis of time":        `class="x fault"`,
		"connections ended":                 `class="strike"`,
		"latencies by window":               `class="h5"`,
		"costs":                             "74 µs",
		"costs of a tunnel":                 "6,144 B a tunnel",
		"spliced bytes":                     "3 GiB and",
		"components inside":                 "Of router nothing is said",
		"shards":                            "127.0.1.2",
		"the plan of the shards":            "All had the same plan",
		"workloads of one name, told apart": `<h3 id="w1-h">echo-at-50`,
		"a way to each workload":            `<a href="#w2">handshake</a>`,
		"the phase of names":                "name lookup",
		"the phase of the end":              "Close</h4>",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%s: the page lacks %q", what, want)
		}
	}
	old := variants()["no-conformance"] // of before there was any of that
	for _, not := range []string{"Validity gates", "Window by window", "Against run", "intervals</h4>", "What the components used", "Shards"} {
		if strings.Contains(render(t, "html", old), not) {
			t.Errorf("a measurement without it shows %q", not)
		}
	}
}

func TestReportOfTenMinutesIsUnderThreeMiB(t *testing.T) {
	t.Parallel()
	run := tenMinutes()
	for _, format := range []string{"html", "json"} {
		if n := len(render(t, format, run)); n > 3<<20 || n < 100<<10 {
			t.Errorf("%s: %d bytes", format, n)
		} else {
			t.Logf("%s: %d bytes", format, n)
		}
	}
}

// Folding loses no request and no error, and mixes no window that counts with one that does not.
func TestFoldedSeriesCountTheSame(t *testing.T) {
	a := newFixture(1000).arm("alb-https", 9e4, 1000, 0, 0, 1)
	before := slices.Clone(a.Series)
	sums := func(a result.Arm) (requests, errors, cells int64, kinds map[string]int64) {
		kinds = map[string]int64{}
		for i, x := range a.Series {
			requests, errors = requests+x.Requests, errors+x.Errors
			kinds[windowKind(x)] += x.Requests
			for _, c := range a.Heat.Rows[i] {
				cells += int64(c[1])
			}
		}
		return
	}
	r1, e1, c1, k1 := sums(a)
	foldSeries(&a, 240)
	r2, e2, c2, k2 := sums(a)
	if len(a.Series) > 240 || len(a.Series) < 100 || len(a.Heat.Rows) != len(a.Series) {
		t.Errorf("%d windows, %d rows", len(a.Series), len(a.Heat.Rows))
	}
	if r1 != r2 || e1 != e2 || c1 != c2 || !cmp.Equal(k1, k2) || e1 == 0 {
		t.Errorf("before %d %d %d %v, after %d %d %d %v", r1, e1, c1, k1, r2, e2, c2, k2)
	}
	if len(before) != 1003 || before[3].Requests != 200 {
		t.Error("the result itself was folded")
	}
	short := result.Arm{Series: before[:10]}
	foldSeries(&short, 240)
	if len(short.Series) != 10 {
		t.Error("a short series was folded")
	}
}

func TestDrainsAreMarkedBehindTheirWindows(t *testing.T) {
	a := result.Arm{Path: "direct", Series: []result.WindowSample{
		{AtNS: 0, P50NS: 1, DrainNS: 4}, {AtNS: 200, P50NS: 1, DrainNS: 50}, {AtNS: 400, P50NS: 1},
	}}
	p := newTimePanel("t", a, &timeScale{from: 0, to: 500, top: 10}, 100)
	if want := []timeSpan{{"drain", "60%", "10%", "drain of 50 ns at 300 ns"}}; !cmp.Equal(p.Drains, want) {
		t.Errorf("%+v, want %+v: 4 ns behind 100 is no drain", p.Drains, want)
	}
	if !strings.Contains(p.Desc, "Work in flight was waited for after 1 window.") {
		t.Error(p.Desc)
	}
}

func TestHeatMapHasEachCellWhereItBelongs(t *testing.T) {
	a := result.Arm{
		Path:   "direct",
		Series: []result.WindowSample{{AtNS: 0, P50NS: 1}, {AtNS: 100, P50NS: 1}},
		Heat:   &result.Heat{BoundsNS: []int64{1000, 2000, 4000, 8000}, Rows: [][][2]int{{{1, 99}, {3, 1}}, {{1, 50}, {2, 50}}}},
	}
	s := newHeatScale([]result.Arm{a})
	m := newHeatMap("h", a, s, &timeScale{from: 0, to: 200}, 100)
	// Rows are the buckets 1 to 3, the fastest at the bottom; of the first window 99 % and 1 %, of the second twice 50 %, one rectangle.
	want := []heatPath{{"h2", "M0 0h1000v1h-1000z"}, {"h5", "M0 2h1000v1h-1000zM1000 1h1000v2h-1000z"}}
	if m.Rows != 3 || !cmp.Equal(m.Levels, want) {
		t.Errorf("%d rows, %+v", m.Rows, m.Levels)
	}
	if m.Desc != "Nine in ten took from 1 µs to 4 µs, the slowest up to 8 µs." {
		t.Error(m.Desc)
	}
	for ns, want := range map[float64]string{1000: "100%", 2000: "66.7%", 8000: "0%"} {
		if got := percent(s.at(ns)); got != want {
			t.Errorf("%v ns at %s, want %s", ns, got, want)
		}
	}
	if newHeatScale([]result.Arm{{Path: "direct"}}) != nil || newHeatMap("h", result.Arm{}, s, &timeScale{to: 1}, 1) != nil {
		t.Error("a map of nothing")
	}
}

// A heat map that a broken report has must not take the page with it.
func TestHostileSeriesAreShownAsFarAsTheyGo(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*result.Arm){
		"buckets that there are not": func(a *result.Arm) { a.Heat.Rows[0] = [][2]int{{-1, 5}, {99, 5}, {2, -5}} },
		"fewer rows than windows":    func(a *result.Arm) { a.Heat.Rows = a.Heat.Rows[:3] },
		"no bounds":                  func(a *result.Arm) { a.Heat.BoundsNS = nil },
		"bounds of nothing":          func(a *result.Arm) { a.Heat.BoundsNS = make([]int64, 36) },
		"all at one time": func(a *result.Arm) {
			for i := range a.Series {
				a.Series[i].AtNS = 5
			}
		},
		"back in time": func(a *result.Arm) { slices.Reverse(a.Series) },
		"no latencies": func(a *result.Arm) {
			for i := range a.Series {
				a.Series[i].P50NS, a.Series[i].P99NS = 0, 0
			}
		},
		"more errors than there can be": func(a *result.Arm) { a.Series[0].Errors = 1 << 62 },
	} {
		run := full(newFixture(16))
		run.Bench.Workloads[0].Arms = run.Bench.Workloads[0].Arms[:1]
		spoil(&run.Bench.Workloads[0].Arms[0])
		if out := render(t, "html", run); strings.Contains(out, "NaN") || strings.Contains(out, "Inf") || !strings.Contains(out, "</html>") {
			t.Errorf("%s: the page is broken", name)
		}
	}
}

func TestFaultsThatTouchAreOneMark(t *testing.T) {
	s := &timeScale{from: 0, to: 100e9}
	fault := func(at int64, paths ...string) result.Fault {
		return result.Fault{InjectedNS: at, Injected: true, Hop: "client->alb", Paths: paths, Kind: "reset", Strikes: []result.Strike{{AtNS: at + 1e9, Path: "a"}, {AtNS: at, Path: "b"}}}
	}
	list := faultsWithin([]result.Fault{fault(10e9, "a"), fault(11e9, "a", "b"), fault(50e9, "b"), fault(60e9, "a"), fault(200e9, "a"), {AtNS: 5e9, Paths: []string{"a"}}}, s)
	marks, strikes := faultMarks(list, "a", s)
	var got []string
	for _, m := range marks {
		got = append(got, m.X+" "+m.Number)
	}
	if want := []string{"10% 1, 2", "60% 4"}; !cmp.Equal(got, want) || !cmp.Equal(strikes, []string{"11%", "12%", "61%"}) {
		t.Errorf("marks %q, strikes %q", got, strikes)
	}
}

func TestGatesThatAreAdviceAreShownOnceEach(t *testing.T) {
	g := func(name string, value float64, ok, advice bool, path string) result.Gate {
		return result.Gate{Name: name, Path: path, Value: value, Limit: 100e3, Unit: "ns", OK: ok, Advisory: advice}
	}
	v := newGateView(result.Validity{Gates: []result.Gate{
		g("sched_lag.p99", 200e3, false, true, "a"), g("sched_lag.p99", 900e3, false, true, "b"), g("pairs", 1, false, false, "c"), g("pairs", 2, false, false, "d"), g("steal", 1, true, true, ""),
	}})
	var got []string
	for _, r := range v.Open {
		got = append(got, r.Word+" "+r.Name+" "+r.Where+" "+r.Value)
	}
	if want := []string{"fails pairs c 1 ns", "fails pairs d 2 ns", "advice schedule lag p99 b, the worst of 2 900 µs"}; !cmp.Equal(got, want) || len(v.All) != 5 {
		t.Errorf("%q, %d in all", got, len(v.All))
	}
	if newGateView(result.Validity{OK: true}) != nil {
		t.Error("a table of no gates")
	}
	for unit, want := range map[string]string{"ns": "1.50 µs", "ratio": "150000 %", "count": "1,500", "bytes": "1500 bytes", "": "1500"} {
		if got := gateValue(1500, unit); got != want {
			t.Errorf("1500 in %q: %q, want %q", unit, got, want)
		}
	}
}

// With more arms than one chart bears, each is beside the baseline on the same axes, and none has the look of it.
func TestManyArmsHaveAChartEach(t *testing.T) {
	var paths []string
	for p := range strings.SplitSeq("abcdefghi", "") {
		paths = append(paths, "path-"+p)
	}
	w := newFixture(4).workload("many", paths, 500, 0)
	charts := newCurveCharts("x", w, result.PhaseSteady)
	if len(charts) != 8 {
		t.Fatalf("%d charts", len(charts))
	}
	for i, c := range charts {
		if len(c.Series) != 2 || c.Series[0].Name != "path-a" || c.Series[1].Name != paths[i+1] || c.Series[1].Index == c.Series[0].Index || !cmp.Equal(c.Y, charts[0].Y) {
			t.Errorf("chart %d: %+v", i, c.Series)
		}
	}
	w.Arms = w.Arms[:maxTogether]
	if n := len(newCurveCharts("x", w, result.PhaseSteady)); n != 1 {
		t.Errorf("%d charts of %d arms", n, maxTogether)
	}
}

// An interval is drawn only where there is one.
func TestBandsEndWhereTheIntervalsDo(t *testing.T) {
	s := &curveScale{lo: 1, hi: 100, nines: 3, bottom: 0, top: 100}
	points := []result.Point{{Quantile: 0.5, NS: 10, LoNS: 9, HiNS: 11}, {Quantile: 0.9, NS: 20, LoNS: 18, HiNS: 25}, {Quantile: 0.99, NS: 30}, {Quantile: 0.995, NS: 40, LoNS: 30, HiNS: 50}}
	if got := bands(points, s); len(got) != 1 || got[0] != "0.0,890.0 259.0,750.0 259.0,820.0 0.0,910.0" {
		t.Errorf("%q", got)
	}
}

func TestPlacingIsInTheOrderOfTheMedian(t *testing.T) {
	w := newFixture(4).workload("peers", []string{"direct", "haproxy", "nginx"}, 2000, 0)
	if newPlacing(w) != nil {
		t.Error("a placing without a peer")
	}
	w.Arms[1].Peer = "HAProxy"
	w.Arms[0], w.Arms[2] = w.Arms[2], w.Arms[0]
	p := newPlacing(w)
	var got []string
	for _, r := range p.Rows {
		got = append(got, r.Path+" "+r.Product)
		if r.From == "" || r.Tail == "" || r.At == "" {
			t.Errorf("%s has no interval: %+v", r.Path, r)
		}
	}
	if want := []string{"direct ", "haproxy HAProxy", "nginx "}; !cmp.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// The steps of the ramp differ by lightness, each from the next and all in one direction, in both schemes: what tells them apart is no hue.
func TestHeatRampIsOfOneDirection(t *testing.T) {
	ramps := regexp.MustCompile(`--h[1-5]: #[0-9a-f]{6}`).FindAllString(string(style), -1)
	if len(ramps) != 10 {
		t.Fatalf("%d colours of ramps", len(ramps))
	}
	luminance := func(css string) float64 {
		v, err := strconv.ParseUint(css[len(css)-6:], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			c := float64(v>>(16-8*i)&0xff) / 255
			if c <= 0.03928 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			sum += weight * c
		}
		return sum
	}
	for i := range 8 {
		a, b := ramps[i/4*5+i%4], ramps[i/4*5+i%4+1] // four steps in each scheme
		x, y := luminance(a), luminance(b)
		if i >= 4 {
			x, y = y, x // dark: more is lighter
		}
		if (x+0.05)/(y+0.05) < 1.3 {
			t.Errorf("%s and %s are too much alike, or the wrong way round", a, b)
		}
	}
}
