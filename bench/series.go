package bench

import (
	"math"
	"slices"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Each window leaves a line in its arm's series and a row in its heat map. Rows are counted in fine buckets, four an octave from a
// microsecond, and at the end put together so that maxHeat bounds cover all that any arm of the workload had: the maps of one
// workload have the same bounds. Of more than maxSeries windows neighbours of one kind are put together: the counts are then sums, p50
// is the mean by requests, p99, max and drain are the largest.
const (
	heatFrom      = 1000.0 // ns
	heatPerOctave = 4
	maxHeat       = 40
	maxSeries     = 240
)

// windowRow is a window in the series, its heat by fine bucket.
type windowRow struct {
	result.WindowSample
	n    int64 // samples of the phase
	heat map[int]int
}

// mainPhase is the one that the series, the warm-up and the precision look at.
func (r *run) mainPhase() string {
	if r.w.requests() {
		return result.PhaseSteady
	}
	return result.PhaseConnect
}

// observe takes a window into the series before its histograms are emptied.
func (r *run) observe(w *window, pair int, warmup, excluded bool) {
	phase := r.mainPhase()
	p := w.arm.rec.phase(phase)
	p.mu.Lock()
	defer p.mu.Unlock()
	w.arm.rows = append(w.arm.rows, newRow(result.WindowSample{
		Pair: pair, AtNS: int64(w.wallStart().Sub(r.began)), Phase: phase, Requests: w.tally.planned, Errors: w.tally.errors,
		DrainNS: int64(w.drained), Warmup: warmup, Excluded: excluded,
	}, p.window))
}

// newRow adds to a sample what the histogram of its main phase says.
func newRow(sample result.WindowSample, h *hdr.Histogram) windowRow {
	row := windowRow{n: h.TotalCount(), heat: map[int]int{}, WindowSample: sample}
	if row.n > 0 {
		row.P50NS, row.P99NS, row.MaxNS = h.ValueAtQuantile(50), h.ValueAtQuantile(99), h.Max()
		for _, bar := range h.Distribution() {
			if bar.Count > 0 {
				row.heat[heatBucket(bar.To)] += int(bar.Count)
			}
		}
	}
	return row
}

// heatBucket is the fine bucket of a latency: 0 up to heatFrom, and bucket i up to heatBound(i).
func heatBucket(ns int64) int {
	return max(0, int(math.Ceil(heatPerOctave*math.Log2(float64(ns)/heatFrom))))
}

func heatBound(bucket int) int64 {
	return int64(math.Round(heatFrom * math.Exp2(float64(bucket)/heatPerOctave)))
}

// fit folds neighbours until no more than limit rows are left.
func fit(rows []windowRow, limit int) []windowRow {
	for len(rows) > limit {
		var out []windowRow
		for i := 0; i < len(rows); i++ {
			if i+1 < len(rows) && rows[i].Warmup == rows[i+1].Warmup && rows[i].Excluded == rows[i+1].Excluded {
				out = append(out, join(rows[i], rows[i+1]))
				i++
				continue
			}
			out = append(out, rows[i])
		}
		if len(out) == len(rows) { // kinds alternate: some must go, evenly
			out = slices.DeleteFunc(out, func(r windowRow) bool { return r.Excluded })
		}
		if len(out) == len(rows) {
			return out
		}
		rows = out
	}
	return rows
}

func join(a, b windowRow) windowRow {
	if n := a.n + b.n; n > 0 {
		a.P50NS = (a.P50NS*a.n + b.P50NS*b.n) / n
	}
	a.n += b.n
	a.P99NS, a.MaxNS, a.DrainNS = max(a.P99NS, b.P99NS), max(a.MaxNS, b.MaxNS), max(a.DrainNS, b.DrainNS)
	a.Requests, a.Errors, a.Bytes = a.Requests+b.Requests, a.Errors+b.Errors, a.Bytes+b.Bytes
	heat := map[int]int{}
	for _, h := range []map[int]int{a.heat, b.heat} {
		for k, n := range h {
			heat[k] += n
		}
	}
	a.heat = heat
	return a
}

// series fills every arm's series and heat.
func (r *run) series(out []result.Arm) {
	lo, hi := math.MaxInt, -1
	for _, a := range r.arms {
		for _, row := range a.rows {
			for k := range row.heat {
				lo, hi = min(lo, k), max(hi, k)
			}
		}
	}
	var bounds []int64
	group := 1
	if hi >= 0 {
		group = (hi - lo + maxHeat) / maxHeat
		for k := lo; k <= hi; k += group {
			bounds = append(bounds, heatBound(k+group-1))
		}
	}
	for i, a := range r.arms {
		heat := &result.Heat{BoundsNS: bounds, Rows: [][][2]int{}}
		for _, row := range fit(a.rows, maxSeries) {
			out[i].Series = append(out[i].Series, row.WindowSample)
			counts := make([]int, len(bounds))
			for k, n := range row.heat {
				counts[(k-lo)/group] += n
			}
			cells := [][2]int{}
			for k, n := range counts {
				if n > 0 {
					cells = append(cells, [2]int{k, n})
				}
			}
			heat.Rows = append(heat.Rows, cells)
		}
		if len(bounds) > 0 {
			out[i].Heat = heat
		}
	}
}
