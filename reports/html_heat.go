package reports

import (
	"fmt"
	"math"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// heatLevel is a step of the ramp: of a window's requests, this share lies in the cell. The steps are the same in every map.
type heatLevel struct {
	Class, Label string
	from         float64
}

var heatLevels = []heatLevel{{"h1", "under 1 %", 0}, {"h2", "1 to 3 %", 0.01}, {"h3", "3 to 10 %", 0.03}, {"h4", "10 to 30 %", 0.1}, {"h5", "30 % and more", 0.3}}

// heatMap is the latencies of one arm by window and size. Cells of one level are one path, in a space of heatWidth × Rows: a page of
// thousands of cells must open at once.
type heatMap struct {
	ID, Title, Desc string
	Rows            int
	Y               []tick
	Levels          []heatPath
}

type heatPath struct{ Class, D string }

const heatWidth = 2000

// heatScale is the rows of all maps of a workload: from the first bucket in use on any arm to the last.
type heatScale struct {
	bounds []int64
	lo, hi int
	ticks  []tick
}

func newHeatScale(arms []result.Arm) *heatScale {
	s := &heatScale{lo: math.MaxInt, hi: -1}
	for _, a := range arms {
		if a.Heat == nil || len(a.Heat.BoundsNS) == 0 || len(a.Heat.Rows) != len(a.Series) {
			continue
		}
		if s.bounds == nil {
			s.bounds = a.Heat.BoundsNS
		}
		for _, row := range a.Heat.Rows {
			for _, c := range row {
				if c[1] > 0 && c[0] >= 0 && c[0] < len(s.bounds) {
					s.lo, s.hi = min(s.lo, c[0]), max(s.hi, c[0])
				}
			}
		}
	}
	if s.hi < 0 {
		return nil
	}
	last := math.Inf(1)
	for _, t := range roundTimes {
		if p := s.at(t); p > 0.02 && p < 0.98 && last-p > 0.24 {
			s.ticks = append(s.ticks, tick{At: percent(p), Label: milliseconds(t)})
			last = p
		}
	}
	return s
}

// roundTimes are the labels that an axis of buckets may have, in nanoseconds.
var roundTimes = func() (out []float64) {
	for decade := 1e3; decade < 1e11; decade *= 10 {
		out = append(out, decade, 2*decade, 5*decade)
	}
	return out
}()

// at is the place of a latency, from 0 at the top: within a bucket by its logarithm.
func (s *heatScale) at(ns float64) float64 {
	n := float64(s.hi - s.lo + 1)
	below := s.floor(s.lo)
	for k := s.lo; k <= s.hi; k++ {
		if bound := float64(s.bounds[k]); ns <= bound && bound > below && below > 0 {
			return 1 - (float64(k-s.lo)+math.Log(max(ns, below)/below)/math.Log(bound/below))/n
		}
		below = float64(s.bounds[k])
	}
	return -1
}

// floor is the lower bound of a bucket; the first has the width, as a factor, of the one after it.
func (s *heatScale) floor(k int) float64 {
	switch {
	case k > 0:
		return float64(s.bounds[k-1])
	case len(s.bounds) > 1 && s.bounds[1] > 0:
		return float64(s.bounds[0]) * float64(s.bounds[0]) / float64(s.bounds[1])
	}
	return float64(s.bounds[0]) / 2
}

func newHeatMap(id string, a result.Arm, s *heatScale, axis *timeScale, windowNS int64) *heatMap {
	if s == nil || a.Heat == nil || len(a.Heat.Rows) != len(a.Series) {
		return nil
	}
	m := &heatMap{ID: id, Title: a.Path + ", latencies by window", Rows: s.hi - s.lo + 1, Y: s.ticks}
	paths := make([]strings.Builder, len(heatLevels))
	ends := windowEnds(a.Series, windowNS)
	total := make([]int, m.Rows)
	for i, row := range a.Heat.Rows {
		counts, sum := make([]int, m.Rows), 0
		for _, c := range row {
			if k := c[0] - s.lo; k >= 0 && k < m.Rows && c[1] > 0 {
				counts[k] += c[1]
				total[k] += c[1]
				sum += c[1]
			}
		}
		from := int(math.Round(axis.x(a.Series[i].AtNS) * heatWidth))
		width := max(int(math.Round(axis.x(ends[i])*heatWidth))-from, 1)
		for k := 0; k < m.Rows; {
			level := levelOf(counts[k], sum)
			n := 1
			for k+n < m.Rows && levelOf(counts[k+n], sum) == level {
				n++
			}
			if level >= 0 {
				fmt.Fprintf(&paths[level], "M%d %dh%dv%dh-%dz", from, m.Rows-k-n, width, n, width)
			}
			k += n
		}
	}
	for i := range paths {
		if paths[i].Len() > 0 {
			m.Levels = append(m.Levels, heatPath{heatLevels[i].Class, paths[i].String()})
		}
	}
	m.Desc = s.sentence(total)
	return m
}

func levelOf(n, sum int) int {
	if n == 0 {
		return -1
	}
	level := 0
	for i, l := range heatLevels {
		if float64(n) >= l.from*float64(sum) {
			level = i
		}
	}
	return level
}

// sentence says where nine in ten of the latencies lie, and where the slowest.
func (s *heatScale) sentence(total []int) string {
	sum := 0
	for _, n := range total {
		sum += n
	}
	if sum == 0 {
		return "No latencies."
	}
	lo, hi, last, seen := -1, -1, 0, 0
	for k, n := range total {
		seen += n
		if lo < 0 && float64(seen) >= 0.05*float64(sum) {
			lo = k
		}
		if hi < 0 && float64(seen) >= 0.95*float64(sum) {
			hi = k
		}
		if n > 0 {
			last = k
		}
	}
	bound := func(k int) string { return duration(s.bounds[s.lo+k]) }
	return fmt.Sprintf("Nine in ten took from %s to %s, the slowest up to %s.", duration(int64(s.floor(s.lo+lo))), bound(hi), bound(last))
}
