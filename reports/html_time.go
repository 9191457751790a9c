package reports

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// The windows of a workload in order of time: for each arm a panel with the median, the 99th percentile and the errors of every
// window, over a map of its latencies. All panels have the same axes, so that what happened at one time stands in one line.
const (
	maxWindows = 240  // more are folded, for the page
	maxPanels  = 3    // more are in a fold
	drainShare = 20   // a drain from the 20th part of a window on is marked; a shorter one is the last answers on their way
	plotUnits  = 1000 // width and height of the space that lines are drawn in
)

type timeView struct {
	ID, Title      string
	LogY           bool
	X              []tick
	Panels, More   []timePanel
	Faults         []string // what the numbers of the marks mean
	FaultNumbers   []string
	Warmup, Left   bool // some window is one
	Errors, Struck bool
	Drained        bool
	HeatLevels     []heatLevel // the legend; nil without a map
}

type timePanel struct {
	ID, Path, Title, Desc string
	Index                 int
	Y                     []tick
	P50, P99, Areas       []string // polylines, polygons between them
	Spans, Drains         []timeSpan
	Errors                []timeBar
	Marks                 []timeMark
	Strikes               []string
	Heat                  *heatMap
}

// timeSpan is a stretch of windows of one kind, timeBar the errors of a window, timeMark one or more faults.
type (
	timeSpan struct{ Class, X, Width, Label string }
	timeBar  struct{ X, Y, Width, Height, Label string }
	timeMark struct{ X, Number, Label string }
)

// timeScale is the axes that the panels of a workload share.
type timeScale struct {
	from, to    int64
	bottom, top float64
	log         bool
	mostErrors  int64
}

func (s *timeScale) x(ns int64) float64 {
	return min(max(float64(ns-s.from)/float64(s.to-s.from), 0), 1)
}

func newTimeView(id string, w result.Workload, faults []result.Fault) *timeView {
	v := &timeView{ID: id, Title: "Window by window"}
	s := &timeScale{from: math.MaxInt64}
	lo, hi := math.Inf(1), 0.0
	arms := slices.Clone(w.Arms)
	for i := range arms {
		foldSeries(&arms[i], maxWindows)
		for _, x := range arms[i].Series {
			s.from, s.to = min(s.from, x.AtNS), max(s.to, x.AtNS+max(w.WindowNS, 1))
			s.mostErrors = max(s.mostErrors, x.Errors)
			v.Warmup, v.Left = v.Warmup || x.Warmup, v.Left || x.Excluded
			if x.P50NS > 0 {
				lo, hi = min(lo, float64(x.P50NS)), max(hi, float64(x.P50NS), float64(x.P99NS))
			}
		}
	}
	if hi == 0 || s.to <= s.from {
		return nil
	}
	var values []float64
	values, s.bottom, s.top, s.log = yAxis(lo, hi)
	v.LogY, v.X = s.log, timeTicks(s)
	var ticks []tick
	last := math.Inf(1)
	for _, t := range values { // a panel is low: labels that would touch are left out
		if p := heightOf(t, s.bottom, s.top, s.log); last-p > 0.19 {
			ticks = append(ticks, tick{At: percent(p), Label: milliseconds(t)})
			last = p
		}
	}
	struck := faultsWithin(faults, s)
	heat := newHeatScale(arms)
	for i, a := range arms {
		if len(a.Series) == 0 {
			continue
		}
		p := newTimePanel(fmt.Sprintf("%s%d", id, i), a, s, w.WindowNS)
		v.Drained = v.Drained || len(p.Drains) > 0
		p.Index, p.Y, p.Title = seriesLook(i), ticks, fmt.Sprintf("%s, %s by window", a.Path, phaseName(a.Series[0].Phase))
		p.Marks, p.Strikes = faultMarks(struck, a.Path, s)
		v.Struck = v.Struck || len(p.Strikes) > 0
		if p.Heat = newHeatMap(p.ID+"h", a, heat, s, w.WindowNS); p.Heat != nil {
			v.HeatLevels = heatLevels
		}
		if len(v.Panels) < maxPanels {
			v.Panels = append(v.Panels, p)
		} else {
			v.More = append(v.More, p)
		}
	}
	for i, f := range struck {
		if f.at >= 0 {
			v.FaultNumbers = append(v.FaultNumbers, strconv.Itoa(i+1))
			v.Faults = append(v.Faults, fmt.Sprintf("%s, %s, %s", duration(f.at), strings.ReplaceAll(faultHop(f.Fault), "->", " → "), faultWhat(f.Fault)))
		}
	}
	v.Errors = s.mostErrors > 0
	return v
}

func newTimePanel(id string, a result.Arm, s *timeScale, windowNS int64) timePanel {
	p := timePanel{ID: id, Path: a.Path}
	ends := windowEnds(a.Series, windowNS)
	var run []result.WindowSample
	flush := func() {
		if len(run) > 0 {
			var low, high, back strings.Builder
			for i, x := range run {
				at := s.x(x.AtNS+windowNS/2) * plotUnits
				fmt.Fprintf(&low, "%.0f,%.0f ", at, s.height(x.P50NS))
				fmt.Fprintf(&high, "%.0f,%.0f ", at, s.height(x.P99NS))
				y := run[len(run)-1-i]
				fmt.Fprintf(&back, "%.0f,%.0f ", s.x(y.AtNS+windowNS/2)*plotUnits, s.height(y.P50NS))
			}
			p.P50, p.P99 = append(p.P50, strings.TrimSpace(low.String())), append(p.P99, strings.TrimSpace(high.String()))
			p.Areas = append(p.Areas, high.String()+strings.TrimSpace(back.String()))
		}
		run = nil
	}
	var failed, requests int64
	kinds := map[string]int{}
	worst := result.WindowSample{}
	for i, x := range a.Series {
		if x.P50NS > 0 {
			run = append(run, x)
		} else {
			flush()
		}
		requests, failed = requests+x.Requests, failed+x.Errors
		if x.P99NS > worst.P99NS {
			worst = x
		}
		from, width := percent(s.x(x.AtNS)), percent(s.x(ends[i])-s.x(x.AtNS))
		if kind := windowKind(x); kind != "" {
			kinds[kind]++
			if n := len(p.Spans); n > 0 && p.Spans[n-1].Class == kind && windowKind(a.Series[i-1]) == kind {
				first := i - 1
				for first > 0 && windowKind(a.Series[first-1]) == kind {
					first--
				}
				p.Spans[n-1].Width = percent(s.x(ends[i]) - s.x(a.Series[first].AtNS))
			} else {
				p.Spans = append(p.Spans, timeSpan{kind, from, width, kindNames[kind] + " at " + duration(x.AtNS)})
			}
		}
		if x.DrainNS >= windowNS/drainShare {
			from := x.AtNS + windowNS
			width := max(s.x(from+x.DrainNS)-s.x(from), 0.002)
			p.Drains = append(p.Drains, timeSpan{"drain", percent(s.x(from)), percent(width), "drain of " + duration(x.DrainNS) + " at " + duration(from)})
		}
		if x.Errors > 0 {
			h := 0.15 + 0.85*float64(x.Errors)/float64(s.mostErrors)
			thin := min(s.x(ends[i])-s.x(x.AtNS), 0.008)
			p.Errors = append(p.Errors, timeBar{percent((s.x(x.AtNS) + s.x(ends[i]) - thin) / 2), percent(1 - h), percent(thin), percent(h), fmt.Sprintf("%s at %s", plural(int(x.Errors), "error"), duration(x.AtNS))})
		}
	}
	flush()
	p.Desc = fmt.Sprintf("%s, %s requests, %s. The slowest had a p50 of %s and a p99 of %s, at %s.", plural(len(a.Series), "window"),
		grouped(requests), plural(int(failed), "error"), duration(worst.P50NS), duration(worst.P99NS), duration(worst.AtNS))
	for _, kind := range []string{"warm", "left"} {
		if kinds[kind] > 0 {
			p.Desc += fmt.Sprintf(" %s: %d.", upperFirst(kindNames[kind]), kinds[kind])
		}
	}
	if n := len(p.Drains); n > 0 {
		p.Desc += fmt.Sprintf(" Work in flight was waited for after %s.", plural(n, "window"))
	}
	return p
}

func (s *timeScale) height(ns int64) float64 {
	return max(heightOf(float64(ns), s.bottom, s.top, s.log), 0) * plotUnits
}

var kindNames = map[string]string{"warm": "warm-up", "left": "left out"}

// windowKind is the class of a window that is in no distribution.
func windowKind(x result.WindowSample) string {
	switch {
	case x.Warmup:
		return "warm"
	case x.Excluded:
		return "left"
	}
	return ""
}

// windowEnds is where each window's share of the time axis ends: at the next of its arm, since arms take turns, and where that is far,
// as after a pause, at the usual distance.
func windowEnds(list []result.WindowSample, windowNS int64) []int64 {
	usual := windowNS
	if len(list) > 1 {
		gaps := make([]int64, len(list)-1)
		for i := range gaps {
			gaps[i] = list[i+1].AtNS - list[i].AtNS
		}
		slices.Sort(gaps)
		usual = max(usual, gaps[len(gaps)/2])
	}
	ends := make([]int64, len(list))
	for i, x := range list {
		ends[i] = x.AtNS + usual
		if i+1 < len(list) {
			ends[i] = min(list[i+1].AtNS, x.AtNS+2*usual)
		}
	}
	return ends
}

// timeTicks are round times from the start of the bench.
func timeTicks(s *timeScale) []tick {
	span := float64(s.to-s.from) / 1e9
	step := math.Pow(10, math.Floor(math.Log10(span/5)))
	for _, nice := range []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200} {
		if step = nice; span/nice <= 6 {
			break
		}
	}
	var out []tick
	for k := math.Ceil(float64(s.from) / 1e9 / step); k*step*1e9 <= float64(s.to); k++ {
		at := k * step
		label := significant(at) + " s"
		if step >= 30 {
			label = fmt.Sprintf("%d:%02d min", int(at)/60, int(at)%60)
		}
		out = append(out, tick{At: percent(s.x(int64(at * 1e9))), Label: label, Minor: len(out)%2 == 1})
	}
	return out
}

// foldSeries joins neighbours of one kind until the arm has no more than limit windows: counts are sums, p50 is the mean by requests,
// p99, maximum and drain are the largest. The arm is a copy; its lists are made anew.
func foldSeries(a *result.Arm, limit int) {
	for len(a.Series) > limit {
		var list []result.WindowSample
		var rows [][][2]int
		heat := a.Heat != nil && len(a.Heat.Rows) == len(a.Series)
		for i := 0; i < len(a.Series); i++ {
			x := a.Series[i]
			var row [][2]int
			if heat {
				row = a.Heat.Rows[i]
			}
			if i+1 < len(a.Series) && windowKind(x) == windowKind(a.Series[i+1]) {
				y := a.Series[i+1]
				if n := x.Requests + y.Requests; n > 0 {
					x.P50NS = int64((float64(x.P50NS)*float64(x.Requests) + float64(y.P50NS)*float64(y.Requests)) / float64(n))
				}
				x.Requests, x.Errors, x.Bytes = x.Requests+y.Requests, x.Errors+y.Errors, x.Bytes+y.Bytes
				x.P99NS, x.MaxNS, x.DrainNS = max(x.P99NS, y.P99NS), max(x.MaxNS, y.MaxNS), max(x.DrainNS, y.DrainNS)
				if heat {
					row = append(slices.Clone(row), a.Heat.Rows[i+1]...)
				}
				i++
			}
			list, rows = append(list, x), append(rows, row)
		}
		if len(list) == len(a.Series) {
			return // kinds alternate
		}
		a.Series = list
		if heat {
			a.Heat = &result.Heat{BoundsNS: a.Heat.BoundsNS, Rows: rows}
		}
	}
}
