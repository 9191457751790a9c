package bench

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// The percentiles of a phase over all windows, each with an interval of 95 per cent that assumes nothing of the distribution: two
// elements of the sample, between which the true percentile lies. Where the sample has no such two, the percentile means nothing yet,
// and the report says how many samples are lacking.
//
// These intervals take the samples for independent, and latencies of one window are not: a stall hits a hundred of them at once. In
// the far tail, which is a few stalls, the windows are therefore resampled too, and the wider of the two intervals is reported.
// The comparison of arms is not made from these but from pairs of windows (compare.go).
//
// Source: facts/performance.md sections 2.2 item 8 and 2.3.

// pooled are the percentiles of a phase. Those that are far need the bootstrap over windows.
var pooled = []struct {
	name string
	q    float64
	far  bool
}{{"p50", 0.5, false}, {"p90", 0.9, false}, {"p99", 0.99, false}, {"p999", 0.999, true}, {"p9999", 0.9999, true}}

// exactTail is up to how many samples beyond a quantile the binomial distribution is summed up; with more, the normal one is as good.
const exactTail = 100

// outside is what an interval leaves out at either end.
const outside = 0.025

// samplesFor is how many samples the two-sided interval of a quantile needs: 6, 36, 368, 3,688 and 36,887 from p50 to p99.99.
func samplesFor(q float64) int64 { return int64(math.Ceil(math.Log(outside) / math.Log(max(q, 1-q)))) }

// orderRanks are the ranks, from 1, of the two elements of a sample of n that the quantile lies between; false if there are none.
func orderRanks(n int64, q float64) (lo, hi int64, ok bool) {
	if n < samplesFor(q) {
		return 0, 0, false
	}
	// Of n samples as many as B ~ binomial(n, q) are below the quantile, so the element of rank k is not beyond it in P(B >= k).
	if float64(n)*min(q, 1-q) > exactTail {
		mean, half := float64(n)*q, 1.959963984540054*math.Sqrt(float64(n)*q*(1-q))
		return max(1, int64(math.Floor(mean-half))), min(n, int64(math.Ceil(mean+half))+1), true
	}
	if q >= 0.5 { // the samples beyond are few
		below, above := binomialRanks(n, 1-q)
		return n + 1 - above, n + 1 - below, true
	}
	lo, hi = binomialRanks(n, q)
	return lo, hi, true
}

// binomialRanks are orderRanks for a small mean n·p. The lower is the largest k with P(B <= k-1) within outside, the upper the
// smallest with P(B <= k-1) at least 1 - outside.
func binomialRanks(n int64, p float64) (lo, hi int64) {
	lo = 1 // a rank of 0 would be an interval without an end; samplesFor has made sure of 1
	term := math.Exp(float64(n) * math.Log1p(-p))
	sum := term // P(B <= 0)
	for k := int64(1); ; k++ {
		if sum <= outside {
			lo = k
		}
		if sum >= 1-outside || k == n {
			return lo, k
		}
		term *= float64(n-k+1) / float64(k) * p / (1 - p)
		sum += term
	}
}

// bar is a value and how many samples had it.
type bar struct{ value, count int64 }

// bars are a sample, ascending.
func barsOf(h *hdr.Histogram) []bar {
	var out []bar
	for _, b := range h.Distribution() {
		if b.Count > 0 {
			out = append(out, bar{b.To, b.Count})
		}
	}
	return out
}

// sample answers for its elements by rank.
type sample struct {
	bars []bar
	upto []int64 // the rank of the last element of each bar
}

func newSample(h *hdr.Histogram) *sample {
	s := &sample{bars: barsOf(h)}
	var n int64
	for _, b := range s.bars {
		n += b.count
		s.upto = append(s.upto, n)
	}
	return s
}

func (s *sample) at(rank int64) int64 {
	i := sort.Search(len(s.upto), func(i int) bool { return s.upto[i] >= rank })
	return s.bars[min(i, len(s.bars)-1)].value
}

// block is what the bootstrap needs of a window, or of neighbours put together: how many samples it had, and the top of them.
type block struct {
	n   int64
	top []bar // ascending
}

// topShare is the part of a block that is kept. The samples beyond a far percentile are at most one in a thousand of all, so one of
// 2·maxBlocks blocks of equal size could hold all of them within a seventh of itself.
const topShare = 0.2

// addBlock takes a window in. There are never more than 2·maxBlocks blocks: then neighbours are put together, which keeps what they
// have in common inside a block.
func addBlock(blocks []block, window *hdr.Histogram) []block {
	all, n := barsOf(window), window.TotalCount()
	keep := int64(math.Ceil(topShare * float64(n)))
	i := len(all)
	for kept := int64(0); i > 0 && kept < keep; i-- {
		kept += all[i-1].count
	}
	blocks = append(blocks, block{n, slices.Clone(all[i:])})
	if len(blocks) < 2*maxBlocks {
		return blocks
	}
	for i := range maxBlocks {
		a, b := blocks[2*i], blocks[2*i+1]
		top := slices.Concat(a.top, b.top)
		slices.SortFunc(top, func(a, b bar) int { return cmp.Compare(a.value, b.value) })
		blocks[i] = block{a.n + b.n, top}
	}
	clear(blocks[maxBlocks:])
	return blocks[:maxBlocks]
}

// blockInterval is the interval of a far quantile over resamples of the blocks; false when there are too few of them.
func blockInterval(blocks []block, q float64, b int, rng *rand.Rand) (lo, hi int64, ok bool) {
	if len(blocks) < minPairs {
		return 0, 0, false
	}
	type piece struct {
		bar
		block int
	}
	var top []piece
	for i, bl := range blocks {
		for _, v := range bl.top {
			top = append(top, piece{v, i})
		}
	}
	slices.SortFunc(top, func(a, b piece) int { return cmp.Compare(b.value, a.value) }) // the largest first
	weight, found := make([]int64, len(blocks)), make([]int64, b)
	for k := range found {
		clear(weight)
		var n int64
		for range blocks {
			i := rng.IntN(len(blocks))
			weight[i]++
			n += blocks[i].n
		}
		beyond := n - int64(q*float64(n)+0.5)
		for _, p := range top {
			if beyond -= weight[p.block] * p.count; beyond < 0 {
				found[k] = p.value
				break
			}
		}
	}
	slices.Sort(found)
	return found[int(outside*float64(b))], found[int((1-outside)*float64(b))], true
}

// summary is what a report has of a phase.
func summary(h *hdr.Histogram, blocks []block) result.Phase {
	n, s := h.TotalCount(), newSample(h)
	out := result.Phase{
		Count: n, P50NS: h.ValueAtQuantile(50), P90NS: h.ValueAtQuantile(90), P99NS: h.ValueAtQuantile(99), P999NS: h.ValueAtQuantile(99.9),
		MaxNS: h.Max(), Curve: curve(h, s), CI95NS: map[string][2]int64{}, Needs: map[string]int64{},
	}
	rng := rand.New(rand.NewPCG(uint64(n), 0)) // the same sample has the same interval
	for _, p := range pooled {
		from, to, ok := orderRanks(n, p.q)
		if !ok {
			out.Needs[p.name] = samplesFor(p.q) - n
			continue
		}
		ci := [2]int64{s.at(from), s.at(to)}
		if p.far {
			if lo, hi, ok := blockInterval(blocks, p.q, minResamples, rng); ok && hi-lo > ci[1]-ci[0] {
				ci = [2]int64{lo, hi}
			}
		}
		out.CI95NS[p.name] = ci
	}
	if _, ok := out.CI95NS["p9999"]; ok {
		out.P9999NS = h.ValueAtQuantile(99.99)
	}
	return out
}

// curvePoints are evenly spread on log(1/(1-q)), the axis of a percentile plot, from 0 to the last quantile that the
// sample has an element for: 1-1/n. There is no point at 1, which that axis does not have.
const curvePoints = 60

func curve(h *hdr.Histogram, s *sample) []result.Point {
	n := h.TotalCount()
	if n == 0 {
		return nil
	}
	end := math.Log(float64(n))
	out := make([]result.Point, 0, curvePoints)
	for i := range curvePoints {
		q := 1 - math.Exp(-end*float64(i)/(curvePoints-1))
		if len(out) > 0 && q <= out[len(out)-1].Quantile {
			continue // a single sample
		}
		p := result.Point{Quantile: q, NS: h.ValueAtQuantile(q * 100)}
		if lo, hi, ok := orderRanks(n, q); ok && q > 0 {
			p.LoNS, p.HiNS = s.at(lo), s.at(hi)
		}
		out = append(out, p)
	}
	return out
}
