package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// The sizes are those of facts/performance.md section 2.3, and the least n with q^n within 2.5 per cent.
func TestSamplesFor(t *testing.T) {
	for q, want := range map[float64]int64{0.5: 6, 0.9: 36, 0.99: 368, 0.999: 3688, 0.9999: 36887} {
		if got := samplesFor(q); got != want {
			t.Errorf("%v needs %d, want %d", q, got, want)
		}
		if _, _, ok := orderRanks(want-1, q); ok {
			t.Errorf("%d samples have an interval of %v", want-1, q)
		}
		if _, hi, ok := orderRanks(want, q); !ok || q > 0.5 && hi != want {
			t.Errorf("%d samples: the upper rank of %v is %d, %v, want the maximum", want, q, hi, ok)
		}
	}
}

// For medians: the table of W. J. Conover, Practical Nonparametric Statistics (3rd edition, 1999), from the binomial at one half.
func TestOrderRanksOfMedians(t *testing.T) {
	for n, want := range map[int64][2]int64{6: {1, 6}, 8: {1, 8}, 9: {2, 8}, 10: {2, 9}, 12: {3, 10}, 15: {4, 12}, 20: {6, 15}, 25: {8, 18}} {
		if lo, hi, ok := orderRanks(n, 0.5); !ok || lo != want[0] || hi != want[1] {
			t.Errorf("of %d samples: ranks %d and %d, want %v", n, lo, hi, want)
		}
	}
}

// The definition, summed up another way: the probability that the interval misses is at most 2.5 per cent on either side, and one
// rank closer would be more.
func TestOrderRanksKeepTheirLevel(t *testing.T) {
	atMost := func(n, k int64, q float64) float64 { // P(B <= k)
		var p float64
		for i := int64(0); i <= k; i++ {
			a, _ := math.Lgamma(float64(n + 1))
			b, _ := math.Lgamma(float64(i + 1))
			c, _ := math.Lgamma(float64(n - i + 1))
			p += math.Exp(a - b - c + float64(i)*math.Log(q) + float64(n-i)*math.Log1p(-q))
		}
		return p
	}
	for _, c := range []struct {
		n int64
		q float64
	}{{500, 0.99}, {5000, 0.99}, {9999, 0.99}, {12_000, 0.99}, {100, 0.9}, {199, 0.5}, {5000, 0.999}, {400, 0.01}} {
		lo, hi, ok := orderRanks(c.n, c.q)
		if !ok {
			t.Fatalf("%+v: none", c)
		}
		below, above := atMost(c.n, lo-1, c.q), 1-atMost(c.n, hi-1, c.q)
		if slack := 0.002; below > outside+slack || above > outside+slack {
			t.Errorf("%+v: ranks %d and %d miss by %.4f and %.4f", c, lo, hi, below, above)
		}
		if float64(c.n)*min(c.q, 1-c.q) <= exactTail && (atMost(c.n, lo, c.q) <= outside || 1-atMost(c.n, hi-2, c.q) <= outside) {
			t.Errorf("%+v: ranks %d and %d are wider than they need be", c, lo, hi)
		}
	}
}

func TestIntervalOfATailCoversTheTruth(t *testing.T) {
	t.Parallel()
	const runs, windows, n = 40, 20, 400
	rng := rand.New(rand.NewPCG(8, 8))
	covered := map[string]int{}
	for range runs {
		total, blocks := newHistogram(), []block(nil)
		for range windows {
			w := newHistogram()
			for range n {
				_ = w.RecordValue(int64(1e6 * rng.ExpFloat64()))
			}
			total.Merge(w)
			blocks = addBlock(blocks, w)
		}
		p := summary(total, blocks)
		for _, q := range pooled {
			ci, ok := p.CI95NS[q.name]
			if (p.Needs[q.name] > 0) == ok {
				t.Fatalf("%s is in both or neither: %+v", q.name, p)
			}
			truth := int64(-1e6 * math.Log(1-q.q))
			if ok && ci[0] <= truth+truth/500 && truth-truth/500 <= ci[1] {
				covered[q.name]++
			}
		}
		if p.P9999NS != 0 || p.Needs["p9999"] != 36887-windows*n {
			t.Fatalf("p99.99 of %d samples: %d, needs %d more", windows*n, p.P9999NS, p.Needs["p9999"])
		}
	}
	for _, name := range []string{"p50", "p90", "p99", "p999"} {
		if covered[name] < runs*88/100 {
			t.Errorf("%s is covered in %d of %d", name, covered[name], runs)
		}
	}
}

// A stall of one window in twenty makes its samples anything but independent: the binomial believes in thirty witnesses of it.
func TestStallInOneWindowWidensTheIntervalOfTheFarTail(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 1))
	total, blocks := newHistogram(), []block(nil)
	for i := range 20 {
		w := newHistogram()
		for k := range 1000 {
			v := int64(1e6 * (1 + rng.Float64()))
			if i == 7 && k < 30 {
				v = int64(1e9 + 1e6*float64(k))
			}
			_ = w.RecordValue(v)
		}
		total.Merge(w)
		blocks = addBlock(blocks, w)
	}
	p := summary(total, blocks)
	lo, hi, _ := orderRanks(total.TotalCount(), 0.999)
	s := newSample(total)
	if alone := s.at(lo); alone < 1e9 {
		t.Fatalf("the binomial interval is [%d, %d]: it has doubts of its own, and this proves nothing", alone, s.at(hi))
	}
	if ci := p.CI95NS["p999"]; ci[0] > 3e6 || ci[1] < 1e9 {
		t.Errorf("p99.9 %d in %v: a third of the resamples have no stall at all", p.P999NS, ci)
	}
}

func TestBlocksStayFewAndKeepTheTop(t *testing.T) {
	var blocks []block
	rng := rand.New(rand.NewPCG(2, 1))
	var all []int64
	for range 5 * maxBlocks {
		w := newHistogram()
		for range 50 {
			v := 1 + rng.Int64N(2000) // exact in the histogram
			all = append(all, v)
			_ = w.RecordValue(v)
		}
		if blocks = addBlock(blocks, w); len(blocks) >= 2*maxBlocks {
			t.Fatalf("%d blocks", len(blocks))
		}
	}
	var n int64
	var top []int64
	for _, b := range blocks {
		n += b.n
		if !slices.IsSortedFunc(b.top, func(a, b bar) int { return int(a.value - b.value) }) {
			t.Fatal("a block is not sorted")
		}
		for _, v := range b.top {
			for range v.count {
				top = append(top, v.value)
			}
		}
	}
	slices.Sort(all)
	slices.Sort(top)
	if n != int64(len(all)) || !slices.Equal(top[len(top)-20:], all[len(all)-20:]) {
		t.Errorf("%d samples of %d; the top is %v, want %v", n, len(all), top[len(top)-20:], all[len(all)-20:])
	}
}

func TestCurveHasItsInterval(t *testing.T) {
	h := newHistogram()
	for i := range int64(2000) {
		_ = h.RecordValue(i + 1)
	}
	with := 0
	for _, p := range curve(h, newSample(h)) {
		if p.HiNS == 0 {
			continue
		}
		with++
		if p.LoNS > p.NS || p.NS > p.HiNS {
			t.Errorf("%+v", p)
		}
	}
	if with < curvePoints/2 {
		t.Errorf("%d of %d points have an interval", with, curvePoints)
	}
}

func BenchmarkSummary(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	total, blocks := newHistogram(), []block(nil)
	for range 24 {
		w := hdr.New(histMin, histMax, histDigits)
		for range 5000 {
			_ = w.RecordValue(int64(1e6 * rng.ExpFloat64()))
		}
		total.Merge(w)
		blocks = addBlock(blocks, w)
	}
	for b.Loop() {
		summary(total, blocks)
	}
}
