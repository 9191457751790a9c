package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

const (
	// openTimeout bounds the opening of one lasting tunnel, its check included, before the measurement. Between windows it
	// is the drain time: a target that hangs must not cost more than it would inside the schedule.
	openTimeout = 15 * time.Second
	// openAtOnce bounds how many of them are opened at the same time.
	openAtOnce = 16
	// stretch bounds how many pairs are tried, in multiples of the plan, to make up for those that had to be left out.
	stretch = 2
	// silentWindows is after how many windows in a row without one right answer an arm is given up: each costs the drain time.
	silentWindows = 2
)

// run is one workload under way.
type run struct {
	plan    *Plan
	w       *WorkloadPlan
	label   string // names the schedule's seed, the log and the reasons
	opt     Options
	mix     mix
	arms    []*armState
	logName string
	windows int // whole pairs
	began   time.Time
	shown   time.Time // when Partial was last called
	// place is where in the steps of the workload the pair under way is (profile.go).
	place         int
	load          *result.Load
	unsearched    bool // the search for its rate failed: there is nothing to measure
	warmupWindows int
	warmupSteady  bool
	stoppedBy     string
	nextLook      int // at how many good pairs precision is looked at (precision.go)
	// excluded counts the pairs that were left out; worstLag is the lateness of the latest of their windows, by late.
	excluded               int
	spoiled                int // of them, by this process
	worstLag, worstAllowed time.Duration
	reasons                []string // that make the measurement invalid, besides the gates
	machine                machine
}

// armState is one path under measurement.
type armState struct {
	Arm
	shares   []Share // the routes, of which there is one without a mix
	dials    []Dial  // of each
	workload workload
	tls      []*negotiated // of each
	idle     string        // what became of the idle tunnels
	rec      *armRecorder
	tunnels  []slot
	total    tally
	gauges   []*gauge
	pairs    []map[string]windowStat // by pair index; nil when the pair was left out
	rows     []windowRow
	notes    []string
	measured int // windows
	silent   int // windows in a row without an answer
}

func newRun(plan *Plan, index int, label string, opt Options) *run {
	return newRunOf(plan, &plan.Workloads[index], label, opt)
}

func newRunOf(plan *Plan, w *WorkloadPlan, label string, opt Options) *run {
	k, _ := lookup(w.Name) // prepare has looked already
	r := &run{plan: plan, w: w, label: label, opt: opt, began: time.Now(), mix: newMix(plan.Seed, label, w.Mix)}
	if w.Mode == ModeClosed || len(w.Steps) > 0 {
		r.load = &result.Load{Model: w.Mode}
		for _, s := range w.Steps {
			r.load.Steps = append(r.load.Steps, result.RateStep{FromPerS: s.From, ToPerS: s.To, NS: int64(s.For)})
		}
	}
	for _, a := range w.Arms {
		st := &armState{
			Arm: a, shares: []Share{{Weight: 1, Access: w.Access}}, dials: []Dial{a.Dial}, workload: k.make(w.Shape),
			rec: newArmRecorder(), gauges: newGauges(a.Components),
		}
		if len(w.Mix) > 0 {
			st.shares, st.dials = w.Mix, a.Mix
		}
		if d, ok := st.workload.(drawer); ok {
			st.workload = d.drawing(r.draws())
		}
		for range st.dials {
			st.tls = append(st.tls, &negotiated{want: w.Shape.TLS})
		}
		if w.requests() {
			st.tunnels = make([]slot, w.Tunnels)
			for i := range st.tunnels {
				st.tunnels[i].route = r.mix.route(lasting, i)
			}
		}
		r.arms = append(r.arms, st)
	}
	return r
}

// measure opens the lasting tunnels of every arm, runs all windows and closes the tunnels. Its error is ctx's or the log's.
func (r *run) measure(ctx context.Context) (err error) {
	if r.unsearched {
		return nil
	}
	var log *intervalLog
	if r.opt.Log != nil {
		name := r.label + ".hlog"
		log, err = openLog(r.opt.Log, name,
			fmt.Sprintf("tlsroute-bench workload=%s backend=%s seed=%d arrival=%s", r.w.Name, r.w.Backend, r.plan.Seed, r.w.Arrival),
			tagLegend)
		if err != nil {
			return err
		}
		r.logName = name
		defer func() { err = errors.Join(err, log.close()) }()
	}
	defer r.closeTunnels()
	if ok, err := r.openAll(ctx); !ok {
		return err
	}
	if err := r.warm(ctx, log); err != nil || len(r.reasons) > 0 {
		return err
	}
	defer r.holdAtLast() // while the tunnels are open
	defer r.machine.watch()()
	if err := r.blocks(ctx, log); err != nil {
		return err
	}
	return r.askIdle(ctx)
}

// openAll opens the lasting tunnels of every arm; what cannot be opened, here or in another process, is a reason.
func (r *run) openAll(ctx context.Context) (bool, error) {
	prepared := r.prepareBackend(ctx)
	for _, a := range r.arms {
		err := prepared
		if err == nil {
			err = a.prime(ctx)
		}
		if err == nil {
			err = r.metered(ctx, a, func() error {
				return a.ensure(ctx, openTimeout, func(open, total int) {
					if r.opt.Opening != nil {
						r.opt.Opening(r.label, a.Path, open, total)
					}
				})
			})
		}
		if err != nil {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			r.reasons = append(r.reasons, fmt.Sprintf("%s: nothing was measured: arm %s: %v", r.label, a.Path, err))
			break
		}
	}
	ok, err := r.all(ctx, "tunnels", len(r.reasons) == 0)
	if !ok && err == nil && len(r.reasons) == 0 {
		r.reasons = append(r.reasons, elsewhere(r.label, "could not open its tunnels: nothing was measured"))
	}
	return ok, err
}

// blocks runs the windows: arms in turns, each pair index once per arm. A pair that had to be left out is made up for by
// another at the end, for what disturbed the generator says nothing about the target; the number of tries is bounded.
func (r *run) blocks(ctx context.Context, log *intervalLog) error {
	rng := stream(r.plan.Seed, "%s/order", r.label)
	began, done := time.Now(), 0
	var order, places []int
	for pair := 0; ; pair++ {
		var err error
		if r.stoppedBy, err = r.stop(ctx, len(order) == 0, time.Since(began)); err != nil || r.stoppedBy != "" {
			return err
		}
		if len(order) == 0 {
			order = blockOrder(len(r.arms), rng)
		}
		if len(places) == 0 {
			for i := range r.w.places(r.plan.Window) {
				places = append(places, i)
			}
		}
		r.place, places = places[0], places[1:]
		windows := make([]*window, len(r.arms))
		for _, i := range order[:len(r.arms)] {
			if windows[i], err = r.one(ctx, r.arms[i], pair); err != nil {
				return err
			}
			done++
			r.progress(done)
		}
		order = order[len(r.arms):]
		good, err := r.all(ctx, fmt.Sprintf("keeps pair %d", pair), r.good(windows))
		if err != nil {
			return err
		}
		r.keep(pair, windows, good, log)
		if !good {
			places = append(places, r.place)
		}
		r.partial()
		if over, err := r.gaveUp(ctx); over || err != nil {
			return err
		}
	}
}

func (r *run) progress(done int) {
	if r.opt.Progress != nil {
		r.opt.Progress(r.label, done, max(done, r.pairsWanted()*len(r.arms)))
	}
}

// gaveUp says, and gives as a reason, that an arm does not answer at all.
func (r *run) gaveUp(ctx context.Context) (bool, error) {
	i := slices.IndexFunc(r.arms, func(a *armState) bool { return a.silent >= silentWindows })
	ok, err := r.all(ctx, "goes on", i < 0)
	if ok || err != nil {
		return false, err
	}
	if i < 0 {
		r.reasons = append(r.reasons, elsewhere(r.label, "had no answer: given up"))
		return true, nil
	}
	r.reasons = append(r.reasons, fmt.Sprintf("%s: given up after %d of %d pairs: arm %s gave no right answer in %d windows in a row",
		r.label, r.windows, r.pairsWanted(), r.arms[i].Path, r.arms[i].silent))
	return true, nil
}

// listen counts the windows in a row without an answer.
func (r *run) listen(a *armState, w *window) {
	if w.tally.planned > 0 && w.tally.done == 0 {
		a.silent++
	} else {
		a.silent = 0
	}
}

// one runs a window of one arm. When ctx ended within it, that is the error, and what the pair had is forgotten.
func (r *run) one(ctx context.Context, a *armState, pair int) (*window, error) {
	// What broke in the window before is mended outside of the measurement; what cannot be is tried again by the arrivals.
	if err := a.ensure(ctx, r.plan.Drain, func(int, int) {}); err != nil && ctx.Err() == nil {
		r.opt.Logger.Warn("tunnel not opened again", slog.String("workload", r.label), slog.String("path", a.Path), slog.Any("err", err))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a.beforeWindow()
	loops := r.newLoops(a) // before there is a start: with thousands of tunnels it takes longer than startDelay
	defer endLoops(loops, a.tunnels)
	runtime.GC() // between windows, so that all begin with the same heap
	start, _, err := r.meet(ctx, fmt.Sprintf("%s %d", a.Path, pair))
	if err != nil {
		return nil, err
	}
	w := r.runWindow(ctx, a, pair, start, loops)
	r.opt.Logger.Debug("window", slog.String("workload", r.label), slog.String("path", a.Path), slog.Int("pair", pair),
		slog.Int64("requests", w.tally.planned), slog.Int64("errors", w.tally.errors))
	return w, ctx.Err()
}

// good says whether the windows of a pair are worth keeping: the generator was late in none, and dropped no arrival.
func (r *run) good(windows []*window) bool {
	good := true
	for _, w := range windows {
		late, lag, allowed := w.late()
		if late && lag-allowed > r.worstLag-r.worstAllowed {
			r.worstLag, r.worstAllowed = lag, allowed
		}
		good = good && !late && w.tally.dropped == 0
	}
	if !good {
		r.spoiled++
	}
	return good
}

// keep takes the windows of a pair, one an arm, into the totals. When it is not good, in this process or another, the whole pair is
// left out of the distributions and comparisons, on every arm, so that they stay of equal load; its requests and errors count, and the
// log has it under tags of its own.
func (r *run) keep(pair int, windows []*window, good bool, log *intervalLog) {
	log.pair(pair)
	// The log is read in order of time, and the arms take turns at going first.
	for _, w := range slices.SortedFunc(slices.Values(windows), func(a, b *window) int { return a.start.Compare(b.start) }) {
		a := w.arm
		prefix := excludedTag
		if good {
			prefix = ""
		}
		r.observe(w, pair, false, !good)
		stats, overflow := a.rec.endWindow(a.Path, w.wallStart(), w.wallEnd(), prefix, log)
		w.tally.overflow = overflow
		a.total.add(&w.tally)
		w.spend()
		a.measured++
		if !good {
			stats = nil
		} else {
			w.rates(stats)
		}
		a.pairs = append(a.pairs, stats)
		r.listen(a, w)
	}
	r.windows++
	if !good {
		r.excluded++
		r.opt.Logger.Warn("pair of windows left out", slog.String("workload", r.label), slog.Int("pair", pair))
	}
}
