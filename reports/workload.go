package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// connectPhases are the parts of a connection's start, in their order.
var connectPhases = []string{result.PhaseDNS, result.PhaseTCP, result.PhaseOuterTLS, result.PhaseUpgrade, result.PhaseInnerTLS, result.PhaseFirstByte}

// waterfall is the medians of the phases of a new tunnel, one stacked bar an arm, and the same as a table.
type waterfall struct {
	ID, Title, Desc string
	Bars            []waterfallBar
	Rows            []waterfallRow
	OnlyInner       []string // the paths whose only TLS handshake is called the inner one
}

type waterfallBar struct {
	Path, Upgrade, Total string
	Parts                []waterfallPart
	// Whole is the median of the whole connect, where it was measured: medians of parts do not add up to it exactly.
	Whole string
}

// waterfallPart has the number of its row under it, where there is room: colour is not the only sign.
type waterfallPart struct {
	Index           int
	X, Width, Label string
	Middle, Number  string
}

type waterfallRow struct {
	Name  string
	Index int
	Cells []string
}

func newWaterfall(id string, w result.Workload) *waterfall {
	wf := &waterfall{ID: id, Title: "Start of a new tunnel, median by phase"}
	sum := func(a result.Arm) (ns int64) {
		for _, ph := range connectPhases {
			ns += a.Phases[ph].P50NS
		}
		return ns
	}
	var widest int64
	for _, a := range w.Arms {
		widest = max(widest, sum(a))
	}
	if widest <= 0 {
		return nil
	}
	var desc []string
	for _, a := range w.Arms {
		bar := waterfallBar{Path: a.Path, Upgrade: a.Upgrade, Total: duration(sum(a))}
		if p, ok := a.Phases[result.PhaseConnect]; ok && p.Count > 0 {
			bar.Whole = percentileText(p, "p50")
		}
		var at int64
		var said []string
		for i, ph := range connectPhases {
			p, ok := a.Phases[ph]
			if !ok || p.P50NS <= 0 {
				continue
			}
			label := phaseName(ph) + " " + duration(p.P50NS)
			share := float64(p.P50NS) / float64(widest)
			part := waterfallPart{Index: i, X: percent(float64(at) / float64(widest)), Width: percent(share), Label: a.Path + ": " + label}
			if share > 0.035 {
				part.Middle, part.Number = percent(float64(at)/float64(widest)+share/2), strconv.Itoa(i+1)
			}
			bar.Parts = append(bar.Parts, part)
			said = append(said, label)
			at += p.P50NS
		}
		wf.Bars = append(wf.Bars, bar)
		if a.Phases[result.PhaseInnerTLS].Count > 0 && a.Phases[result.PhaseOuterTLS].Count == 0 {
			wf.OnlyInner = append(wf.OnlyInner, a.Path)
		}
		desc = append(desc, a.Path+": "+strings.Join(said, ", "))
	}
	wf.Desc = strings.Join(desc, ". ") + "."
	for i, ph := range append(append([]string{}, connectPhases...), result.PhaseConnect) {
		row, any := waterfallRow{Name: phaseName(ph), Index: i}, false
		for _, a := range w.Arms {
			_, ok := a.Phases[ph]
			any = any || ok
			row.Cells = append(row.Cells, phaseText(a, ph, "p50"))
		}
		if any {
			wf.Rows = append(wf.Rows, row)
		}
	}
	return wf
}

// forest is the ratios of one workload with their intervals on one logarithmic axis: twice as slow is as far from 1 as
// twice as fast.
type forest struct {
	Axis []tick
	One  string
	Rows []forestRow
	Note string // why some are inconclusive although their interval excludes 1
}

type forestRow struct {
	result.Comparison
	At, From, To, Width, Desc string
	Index                     int
}

func newForest(w result.Workload) *forest {
	if len(w.Comparisons) == 0 {
		return nil
	}
	var values []float64
	for _, c := range w.Comparisons {
		values = append(values, c.Ratio, c.CI95[0], c.CI95[1])
	}
	axis := newRatioAxis(values)
	at := axis.at
	f := &forest{Axis: axis.ticks, One: percent(at(1))}
	index := map[string]int{}
	for i, a := range w.Arms {
		index[a.Path] = seriesLook(i)
	}
	for _, c := range w.Comparisons {
		if onlyByNumber(c) {
			f.Note = fmt.Sprintf("Inconclusive although the interval excludes 1: not significant among the %s of this workload.", plural(len(w.Comparisons), "comparison"))
		}
		if c.NeedsPairs > 0 && c.Verdict == "inconclusive" && f.Note == "" {
			f.Note = upperFirst(verdictWords(c, len(w.Comparisons))) + "."
		}
		a, b := at(c.CI95[0]), at(c.CI95[1])
		f.Rows = append(f.Rows, forestRow{
			Comparison: c, At: percent(at(c.Ratio)), From: percent(a), To: percent(b), Width: percent(max(b-a, 0)), Index: index[c.Candidate],
			Desc: fmt.Sprintf("%s, %s against %s: %s, 95 %% interval %s to %s%s", metricName(c.Metric), c.Candidate, c.Baseline, ratio(c.Ratio), ratio(c.CI95[0]), ratio(c.CI95[1]), adjusted(c)),
		})
	}
	return f
}

// ratioAxis is a logarithmic axis of ratios that has 1 on it.
type ratioAxis struct {
	lo, hi float64
	ticks  []tick
}

func newRatioAxis(values []float64) ratioAxis {
	lo, hi := 1.0, 1.0
	for _, v := range values {
		if v > 0 && !math.IsInf(v, 0) && !math.IsNaN(v) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	a := ratioAxis{lo: max(lo, hi/1e4) / 1.08, hi: hi * 1.08}
	last, major := math.Inf(-1), math.Inf(-1)
	for _, t := range []float64{0.01, 0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000} {
		// Labels that would touch are left out, but 1 always stays.
		p := a.at(t)
		if t < a.lo || t > a.hi || t != 1 && (p-last < 0.14 || math.Abs(p-a.at(1)) < 0.14) {
			continue
		}
		minor := t != 1 && (p-major < 0.34 || math.Abs(p-a.at(1)) < 0.34 || p < 0.08 || p > 0.92)
		if !minor {
			major = p
		}
		a.ticks = append(a.ticks, tick{percent(p), strconv.FormatFloat(t, 'f', -1, 64) + "×", minor})
		last = p
	}
	return a
}

// at is the place of a ratio, from 0 to 1.
func (a ratioAxis) at(v float64) float64 {
	if !(v > 0) {
		return 0
	}
	return min(max((math.Log(v)-math.Log(a.lo))/(math.Log(a.hi)-math.Log(a.lo)), 0), 1)
}

// adjusted names the p-value that stands behind a verdict; reports of before there was one have none.
func adjusted(c result.Comparison) string {
	if c.PAdjusted <= 0 {
		return ""
	}
	return fmt.Sprintf(", p %s, adjusted for all comparisons", significant(c.PAdjusted))
}

// workloadView is one workload as the page shows it.
type workloadView struct {
	result.Workload
	ID        string
	Schedule  string
	Notes     []string // without the errors, which are shown whole
	Load      *loadView
	Tails     []tailTable
	Placing   *placing
	Curves    [][]*curveChart // a row of charts each
	Waterfall *waterfall
	Forest    *forest
	Time      *timeView
}

func newWorkloadView(i int, w result.Workload, faults []result.Fault) workloadView {
	v := workloadView{Workload: w, ID: fmt.Sprintf("w%d", i)}
	for j, phase := range []string{result.PhaseSteady, result.PhaseConnect} {
		charts := newCurveCharts(fmt.Sprintf("%s-curve%d", v.ID, j), w, phase)
		if n := len(v.Curves); n > 0 && len(charts) == 1 && len(v.Curves[n-1]) == 1 {
			v.Curves[n-1] = append(v.Curves[n-1], charts...) // side by side
		} else if len(charts) > 0 {
			v.Curves = append(v.Curves, charts)
		}
	}
	v.Waterfall = newWaterfall(v.ID+"-waterfall", w)
	v.Forest = newForest(w)
	v.Load = newLoadView(v.ID, w)
	v.Tails = newTailTables(w)
	v.Placing = newPlacing(w)
	v.Time = newTimeView(v.ID+"-time", w, faults)
	var parts []string
	if w.RatePerS > 0 {
		parts = append(parts, rateText(w.RatePerS)+" requests/s")
	}
	if w.ConnectRatePerS > 0 {
		parts = append(parts, rateText(w.ConnectRatePerS)+" new tunnels/s")
	}
	if w.Arrival != "" {
		parts = append(parts, w.Arrival+" arrivals")
	}
	if w.Windows > 0 {
		parts = append(parts, fmt.Sprintf("%d windows of %s on each path", w.Windows, duration(w.WindowNS)))
	}
	parts = append(parts, loadParts(w)...)
	v.Schedule = strings.Join(parts, ", ")
	for _, r := range remarks(w) {
		if !r.Errors {
			v.Notes = append(v.Notes, r.String())
		}
	}
	return v
}

// MainPhase is what the workload is about, and Main its distribution on an arm.
func (v workloadView) MainPhase() string              { return mainPhaseOf(v.Workload) }
func (v workloadView) Main(a result.Arm) result.Phase { return a.Phases[v.MainPhase()] }
