package bench

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// The search for an arm's capacity is a closed loop with the workload's own number of tunnels: every one sends as soon as it has
// its answer, or as many clients open new tunnels one after the other. More tunnels would get more out of the same path; that is
// the capacity meant here, not the most that the path can bear.
//
// Rounds of one window an arm go on until the last searchMin rates of every arm are within searchSpread of each other, at most
// searchMax of them; the capacity is the median of those last. Where a workload has both kinds of arrivals, the capacity is that of
// its mix: each kind takes its share of the machine, so that 1/capacity is the weighted sum of the kinds' 1/capacity.
const (
	searchMin    = 3
	searchMax    = 10
	searchSpread = 0.10
	// busyShare of all processors is where the generator's process, and what runs inside it, is itself the limit.
	busyShare = 0.70
)

func (p *Plan) prepareLevels() error {
	for i, l := range p.Levels {
		if l < 1 || l > 99 || slices.Contains(p.Levels[:i], l) {
			return fmt.Errorf("levels[%d]: %d must be from 1 to 99 per cent and given once: latency at 100 per cent is that of a queue without end", i, l)
		}
	}
	return nil
}

// leveled says whether the workload's rate comes from the search.
func (p *Plan) leveled(w *WorkloadPlan) bool {
	return len(p.Levels) > 0 && w.Mode == ModeOpen && len(w.Steps) == 0
}

// found is what a search says of one arm.
type found struct {
	requests, connects float64 // a second; 0 where not asked for
	capacity           float64 // of the mix
	failed             tally
	notes              []string
}

// search finds every arm's capacity and makes a run of each level. Without capacity there are no levels: the one run that is
// returned then has measured nothing, and reasons say why.
func (p *Plan) search(ctx context.Context, w *WorkloadPlan, label string, opt Options) (runs []*run, reasons []string) {
	arms := make([]found, len(w.Arms))
	mix := func(kind float64) float64 { // shares of the kinds
		if w.Rate+w.ConnectRate == 0 {
			return 1
		}
		return kind / (w.Rate + w.ConnectRate)
	}
	requests := w.Rate > 0 || w.ConnectRate == 0
	for _, connects := range []bool{false, true} {
		if connects && w.ConnectRate == 0 || !connects && !requests {
			continue
		}
		closed := *w
		closed.Mode, closed.Rate, closed.ConnectRate, closed.closedConnects = ModeClosed, 0, 0, connects
		r := newRunOf(p, &closed, label+"/search", opt)
		reasons = append(reasons, r.saturate(ctx, arms)...)
	}
	slowest := 0
	capacity := map[string]float64{}
	for i := range arms {
		a := &arms[i]
		cost := 0.0
		if requests {
			cost += mix(w.Rate) / a.requests
		}
		if w.ConnectRate > 0 {
			cost += mix(w.ConnectRate) / a.connects
		}
		a.capacity = 1 / cost
		capacity[w.Arms[i].Path] = a.capacity
		if a.capacity < arms[slowest].capacity {
			slowest = i
		}
	}
	if len(reasons) > 0 || ctx.Err() != nil {
		r := newRunOf(p, w, label, opt)
		r.unsearched = true
		r.inherit(arms)
		return []*run{r}, reasons
	}
	for i, level := range p.Levels {
		at := *w
		rate := roundDown(arms[slowest].capacity*float64(level)/100) / float64(max(1, p.Shards))
		at.Rate, at.ConnectRate = 0, rate*mix(w.ConnectRate)
		if w.ConnectRate == 0 {
			at.ConnectRate = 0
		}
		if requests {
			at.Rate = rate * mix(w.Rate)
		}
		r := newRunOf(p, &at, fmt.Sprintf("%s-at-%d", label, level), opt)
		r.load = &result.Load{Model: ModeOpen, Fraction: float64(level) / 100, CapacityPerS: capacity, SlowestArm: w.Arms[slowest].Path}
		if i == 0 {
			r.inherit(arms)
		} else {
			r.inheritNotes(arms)
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// inherit takes what went wrong in the search as errors of this run: a failure is never hidden.
func (r *run) inherit(arms []found) {
	r.inheritNotes(arms)
	for i, a := range r.arms {
		a.total.failures(&arms[i].failed)
	}
}

func (r *run) inheritNotes(arms []found) {
	for i, a := range r.arms {
		a.notes = append(a.notes, arms[i].notes...)
	}
}

// failures takes the errors of windows that are not measured, each as a request. What the generator dropped there is not the target's
// doing and spoils nothing that is measured.
func (t *tally) failures(o *tally) {
	n := o.errors - o.dropped
	out := &tally{planned: n, achieved: n, errors: n, censored: o.censored, reopened: o.reopened}
	for _, s := range o.samples {
		if s != errDropped.Error() {
			out.samples = append(out.samples, s)
		}
	}
	t.add(out)
}

// roundDown leaves three digits, which is more than the search knows.
func roundDown(rate float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(rate))-2)
	return math.Floor(rate/unit) * unit
}

// saturate finds the capacities of one kind. What it returns makes levels impossible.
func (r *run) saturate(ctx context.Context, arms []found) (reasons []string) {
	defer r.closeTunnels()
	kind := "requests"
	if r.w.closedConnects {
		kind = "new tunnels"
	}
	rates := make([][]float64, len(r.arms))
	cpu, wall := make([]time.Duration, len(r.arms)), make([]time.Duration, len(r.arms))
	prepared := r.prepareBackend(ctx)
	for i, a := range r.arms {
		err := prepared
		if err == nil {
			err = a.ensure(ctx, openTimeout, func(int, int) {})
		}
		if err != nil && ctx.Err() == nil {
			reasons = append(reasons, fmt.Sprintf("%s: nothing was measured: arm %s: %v", r.label, a.Path, err))
		}
		arms[i].failed.add(&a.total)
	}
	ok, err := r.all(ctx, "tunnels", len(reasons) == 0)
	if !ok && err == nil && len(reasons) == 0 {
		reasons = append(reasons, elsewhere(r.label, "could not open its tunnels: nothing was measured"))
	}
	if !ok && err == nil {
		return reasons
	}
	for round := 0; ok && err == nil && round < searchMax; round++ {
		if round >= searchMin {
			if done, failed := r.all(ctx, "is settled", settled(rates)); done || failed != nil {
				err = failed
				break
			}
		}
		for i, a := range r.arms {
			before, began := processCPU(), time.Now()
			w, failed := r.one(ctx, a, -1-round)
			if failed != nil {
				return failure(ctx, r.label, failed)
			}
			cpu[i], wall[i] = cpu[i]+processCPU()-before, wall[i]+time.Since(began)
			a.rec.endWindow(a.Path, w.wallStart(), w.wallEnd(), searchTag, nil)
			arms[i].failed.failures(&w.tally)
			rates[i] = append(rates[i], float64(w.turned.Load())/r.plan.Window.Seconds())
		}
		r.progress(0)
	}
	if err != nil {
		return failure(ctx, r.label, err)
	}
	for i, a := range r.arms {
		rate := 0.0
		if n := len(rates[i]); n > 0 {
			rate = median(slices.Clone(rates[i][n-min(n, searchMin):]))
		}
		if _, sums, err := r.meet(ctx, "capacity of "+a.Path, rate); err != nil {
			return failure(ctx, r.label, err)
		} else {
			rate = sums[0]
		}
		if rate == 0 && len(reasons) == 0 {
			reasons = append(reasons, fmt.Sprintf("%s: nothing was measured: arm %s gave no right answer in the search for its capacity %q",
				r.label, a.Path, arms[i].failed.samples))
		}
		if r.w.closedConnects {
			arms[i].connects = rate
		} else {
			arms[i].requests = rate
		}
		if wall[i] > 0 {
			arms[i].notes = append(arms[i].notes, searchNote(rate, kind, max(r.w.tunnels, r.w.Tunnels), float64(cpu[i])/float64(wall[i])/float64(runtime.GOMAXPROCS(0))))
		}
	}
	return reasons
}

// failure is the reason of a search that could not go on; there is none when ctx ended, for the whole run has that one.
func failure(ctx context.Context, label string, err error) []string {
	if ctx.Err() != nil {
		return nil
	}
	return []string{fmt.Sprintf("%s: nothing was measured: %v", label, err)}
}

// searchNote says what was found, and when the search met the generator's own limit instead of the path's.
func searchNote(rate float64, kind string, tunnels int, busy float64) string {
	s := fmt.Sprintf("capacity: %.0f %s a second by a closed loop of %d", rate, kind, tunnels)
	if busy >= busyShare {
		s += fmt.Sprintf("; the search was limited by the processors of the load generator and what runs in its process (%.0f %% busy), not by the path alone", 100*busy)
	}
	return s
}

// settled says whether the last rates of every arm agree.
func settled(rates [][]float64) bool {
	for _, r := range rates {
		last := r[len(r)-searchMin:]
		if lo, hi := slices.Min(last), slices.Max(last); hi-lo > searchSpread*hi {
			return false
		}
	}
	return true
}
