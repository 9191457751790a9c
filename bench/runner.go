package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync"
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
	for _, a := range r.arms {
		err := a.prime(ctx)
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
	runtime.GC() // between windows, so that all begin with the same heap
	start, _, err := r.meet(ctx, fmt.Sprintf("%s %d", a.Path, pair))
	if err != nil {
		return nil, err
	}
	w := r.runWindow(ctx, a, pair, start)
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
		switch {
		case !good:
			stats = nil
		case w.tally.moved.transfers > 0:
			stats[metricBytes] = w.tally.moved.stat()
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

func (a *armState) open(ctx context.Context, route int, observe func(string, time.Duration), ready func()) (*tunnel, error) {
	return a.openOver(ctx, a.dials[route], route, observe, ready)
}

// openParting opens a tunnel whose end is seen.
func (a *armState) openParting(ctx context.Context, route int, observe func(string, time.Duration), ready func()) (*tunnel, error) {
	return a.openOver(ctx, partingDial(a.dials[route]), route, observe, ready)
}

func (a *armState) openOver(ctx context.Context, dial Dial, route int, observe func(string, time.Duration), ready func()) (*tunnel, error) {
	return openTunnel(ctx, dial, a.workload, a.shares[route].Access, observe, func(conn net.Conn) error {
		ready()
		if p, ok := conn.(*parting); ok {
			conn = p.Conn
		}
		return a.tls[route].see(conn)
	})
}

// prime opens one tunnel on each route where sessions are to be resumed, for the ticket, and closes it.
func (a *armState) prime(ctx context.Context) error {
	for route, n := range a.tls {
		if !n.want.Resume {
			continue
		}
		octx, cancel := context.WithTimeout(ctx, openTimeout)
		t, err := a.openVerified(octx, route)
		cancel()
		if err != nil {
			return fmt.Errorf("fetch a session ticket: %w", err)
		}
		t.close()
		n.prime()
	}
	return nil
}

// ensure opens the lasting tunnels that are not open, and lets each verify itself. When all are through, the first error
// is returned, and counted unless ctx ended.
func (a *armState) ensure(ctx context.Context, timeout time.Duration, progress func(open, total int)) error {
	var wg sync.WaitGroup
	errs := make([]error, len(a.tunnels))
	atOnce := make(chan struct{}, openAtOnce)
	var broken []int
	for i := range a.tunnels {
		if a.tunnels[i].tunnel != nil {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if broken = append(broken, i); i%100 == 0 {
			progress(i, len(a.tunnels))
		}
		atOnce <- struct{}{}
		wg.Go(func() {
			defer func() { <-atOnce }()
			octx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			a.tunnels[i].tunnel, errs[i] = a.openVerified(octx, a.tunnels[i].route)
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var first error
	for _, i := range broken {
		switch {
		case errs[i] == nil && a.measured > 0:
			a.total.reopened++
		case errs[i] != nil:
			a.total.planned++
			a.total.achieved++ // the generator did its part
			a.total.errors++
			a.total.sample(errs[i])
			first = cmp.Or(first, errs[i])
		}
	}
	return first
}

// openVerified opens a tunnel, lets the session check itself where it can, and makes a first request.
func (a *armState) openVerified(ctx context.Context, route int) (*tunnel, error) {
	t, err := a.open(ctx, route, func(string, time.Duration) {}, func() {})
	if err != nil {
		return nil, err
	}
	stop := unblock(ctx, t.conn)
	if v, ok := t.sess.(verifier); ok {
		err = v.Verify(ctx)
	}
	if err == nil {
		err = t.sess.Do(ctx)
	}
	if stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		t.abort()
		return nil, err
	}
	return t, nil
}

func (r *run) closeTunnels() {
	var wg sync.WaitGroup
	for _, a := range r.arms {
		for i := range a.tunnels {
			if t := a.tunnels[i].tunnel; t != nil {
				wg.Go(t.close)
				a.tunnels[i].tunnel = nil
			}
		}
	}
	wg.Wait()
}

// result is what the report keeps of the workload.
func (r *run) result() result.Workload {
	out := result.Workload{
		Name: r.w.Name, Backend: r.w.Backend, Arms: []result.Arm{}, Comparisons: r.compare(), Steps: r.steps(),
		Windows: r.windows, WindowNS: int64(r.plan.Window),
		RatePerS: r.w.Rate, ConnectRatePerS: r.w.ConnectRate, Arrival: r.w.Arrival, Log: r.logName,
		Load: r.load, WarmupWindows: r.warmupWindows, WarmupSteady: r.warmupSteady, StoppedBy: r.stoppedBy,
		Shape: r.w.shape(),
	}
	if r.w.requests() {
		out.Tunnels, out.Active = r.w.Tunnels, r.w.active()
	}
	for _, a := range r.arms {
		arm := result.Arm{
			Path: a.Path, Peer: a.Peer, Requests: a.total.planned, Errors: a.total.errors, Phases: a.rec.totals(), ErrorSamples: a.total.samples,
			Late: a.total.planned - a.total.achieved, Dropped: a.total.dropped, Censored: a.total.censored, Notes: a.notes,
		}
		if r.w.Mode == ModeClosed {
			arm.Notes = append(arm.Notes, "closed loop: nothing waits for its turn, so steady_rtt is the time of service alone")
		}
		if s := float64(a.measured) * r.plan.Window.Seconds(); s > 0 {
			arm.ThroughputPerS = float64(a.total.done) / s
		}
		if a.Upgrade != nil {
			arm.Upgrade = a.Upgrade()
		}
		arm.Bytes, arm.BytesPerS, arm.TLS = a.total.moved.bytes, a.total.moved.perSecond(), tlsWords(a.tls)
		if a.idle != "" {
			arm.Notes = append(arm.Notes, a.idle)
		}
		if n := a.total.reopened; n > 0 {
			arm.Notes = append(arm.Notes, plural(n, "tunnel that broke was opened again", "tunnels that broke were opened again"))
		}
		if r.excluded > 0 {
			arm.Notes = append(arm.Notes, fmt.Sprintf(
				"%d of %d windows "+excludedNote+": the load generator was late (no error of the target)", r.excluded, r.windows))
		}
		out.Arms = append(out.Arms, arm)
	}
	r.series(out.Arms)
	return out
}

// excludedNote is in the note of windows that are left out.
const excludedNote = "are left out of the distributions, on every arm"

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
