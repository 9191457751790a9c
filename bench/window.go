package bench

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

const (
	// startDelay is between the making of a window and its first instant, for the workers to be there.
	startDelay = 2 * time.Millisecond
	// graceLate is how long after the end of the window an arrival may go off and still count as achieved.
	graceLate = 10 * time.Millisecond
	// queueDepth bounds the arrivals that wait for one tunnel, and maxConnects the new tunnels under way in one window.
	queueDepth  = 1024
	maxConnects = 512
	// maxSamples is how many different errors of an arm are kept for a person.
	maxSamples = 5
)

var errDropped = errors.New("dropped by the generator")

// tally counts what became of arrivals.
type tally struct {
	mu       sync.Mutex // guards all below while a window runs
	planned  int64      // arrivals of the measured part, and failures of the guard
	achieved int64      // of them, gone off in time
	done     int64      // of them, answered and right
	connects int64      // of those done, new tunnels
	errors   int64
	censored int64 // of the errors, not answered within the drain time
	dropped  int64 // of the errors, never sent by us
	reopened int64 // tunnels that had to be opened again
	overflow int64
	moved    moved
	samples  []string
}

func (t *tally) sample(err error) {
	s := err.Error()
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	if len(t.samples) < maxSamples && !slices.Contains(t.samples, s) {
		t.samples = append(t.samples, s)
	}
}

func (t *tally) add(o *tally) {
	t.planned += o.planned
	t.achieved += o.achieved
	t.done += o.done
	t.connects += o.connects
	t.errors += o.errors
	t.censored += o.censored
	t.dropped += o.dropped
	t.reopened += o.reopened
	t.overflow += o.overflow
	t.moved.add(o.moved)
	for _, s := range o.samples {
		t.sample(errors.New(s))
	}
}

// window is one slice of one arm, guard and drain included.
type window struct {
	arm     *armState
	run     *run
	index   int // of its pair
	start   time.Time
	ctx     context.Context //nolint:containedctx // a window is a scope, not an object that lives on: it ends with the drain time
	tally   tally
	guard   time.Duration
	length  time.Duration // guard and measured part
	service *phaseRecorder
	steady  *phaseRecorder
	lag     *phaseRecorder
	turned  atomic.Int64 // closed.go
	used    []use
	drained time.Duration // from the end of the window to that of what was in flight then
}

// runWindow sends the schedule of pair index to one arm from start on, drains, and returns the counts. Everything it started is over then.
func (r *run) runWindow(ctx context.Context, arm *armState, index int, start time.Time, loops []*loop) *window {
	length := r.plan.Guard + r.plan.Window
	w := &window{
		arm: arm, run: r, index: index, guard: r.plan.Guard, length: length, start: start,
		service: arm.rec.phase(result.PhaseService), steady: arm.rec.phase(result.PhaseSteady), lag: arm.rec.phase(result.PhaseLag),
	}
	wctx, cancel := context.WithDeadline(ctx, w.start.Add(length+r.plan.Drain))
	defer cancel()
	w.ctx = wctx
	defer w.meter(ctx)()
	defer watch(wctx, arm.tunnels)()
	defer func() { w.drained = max(0, w.now()-length) }()
	if r.w.Mode == ModeClosed {
		w.runClosed()
		return w
	}

	// Round robin is fixed by the schedule, so a tunnel that is stuck keeps its own arrivals waiting, as a client would.
	tunnels := r.active(arm)
	depth := min(queueDepth, ceilDiv(2*r.w.peak()*length.Seconds(), len(tunnels)+1)+16)
	workers := newCrew(func(t *slot) { w.serve(t, t.waiting()); t.settle() })
	var connects sync.WaitGroup
	slots := make(chan struct{}, maxConnects)
	fire := func(a arrival, now time.Duration, send func(*slot)) {
		w.wentOff(a, now)
		if a.connect {
			select {
			case slots <- struct{}{}:
				connects.Go(func() { w.connect(a); <-slots })
			default:
				w.drop(a)
			}
			return
		}
		t := &tunnels[a.seq%len(tunnels)]
		switch idle, full := t.push(a, depth); {
		case full:
			w.drop(a)
		case idle:
			send(t)
		}
	}
	arrivals := func() *schedule {
		return newScheduleAt(r.plan.Seed+int64(r.plan.Shard), r.label, r.w, index, r.w.profile(r.place, r.plan.Guard, r.plan.Window), length)
	}
	var paced sync.WaitGroup
	for i, l := range loops {
		l.w, l.workers = w, workers
		paced.Go(func() {
			paceBy(ctx, w.start, part{arrivals(), i, len(loops), len(tunnels)}, l.until, func(a arrival, now time.Duration) { fire(a, now, l.send) })
			l.drain(i, len(loops))
		})
	}
	if len(loops) == 0 {
		paced.Go(func() {
			pace(ctx, w.start, arrivals(), func(a arrival, now time.Duration) { fire(a, now, workers.send) })
		})
	}
	paced.Wait()
	workers.end()
	connects.Wait()
	return w
}

func (w *window) now() time.Duration                   { return time.Since(w.start) }
func (w *window) measured(a arrival) bool              { return a.at >= w.guard }
func (w *window) wallStart() time.Time                 { return w.start.Add(w.guard) }
func (w *window) wallEnd() time.Time                   { return w.start.Add(w.length) }
func (w *window) count(f func(t *tally))               { w.tally.mu.Lock(); f(&w.tally); w.tally.mu.Unlock() }
func (w *window) drop(a arrival)                       { w.failed(a, errDropped, false) }
func (w *window) observeNothing(string, time.Duration) {}

// late says whether the generator was too late in this window for what it measured to be the target's (validity.go): the
// lateness that all but the tolerated arrivals kept within, and how much is allowed.
func (w *window) late() (late bool, lag, allowed time.Duration) {
	main := w.arm.rec.windowQuantile(result.PhaseSteady, 0.5)
	if main == 0 {
		main = w.arm.rec.windowQuantile(result.PhaseConnect, 0.5)
	}
	allowed = max(w.run.plan.maxLag, time.Duration(w.run.plan.lagShare*float64(main)))
	n := w.arm.rec.windowCount(result.PhaseLag)
	if tolerated := max(1, int64(lateShare*float64(n))); n > tolerated {
		lag = w.arm.rec.windowQuantile(result.PhaseLag, float64(n-tolerated)/float64(n))
	}
	return lag > allowed, lag, allowed
}

// wentOff notes that the generator has reached an arrival.
func (w *window) wentOff(a arrival, now time.Duration) {
	if !w.measured(a) {
		return
	}
	w.lag.record(now - a.at)
	w.count(func(t *tally) {
		t.planned++
		if now <= w.length+graceLate {
			t.achieved++
		}
	})
}

// failed counts an error. In the guard it counts as a request too: see the package comment.
func (w *window) failed(a arrival, err error, censored bool) {
	w.count(func(t *tally) {
		t.errors++
		if !w.measured(a) {
			t.planned++
			t.achieved++
		}
		if censored {
			t.censored++
		}
		if errors.Is(err, errDropped) {
			t.dropped++
		}
		t.sample(err)
	})
}

// finish takes the outcome of an arrival that was sent, or not sent at all (sent < 0), and records it from its intended
// time under response and, where it was sent, from then under service.
func (w *window) finish(a arrival, sent time.Duration, err error, sess session, response, service *phaseRecorder) {
	now := w.now()
	censored := err != nil && w.ctx.Err() != nil
	if censored {
		err = fmt.Errorf("no answer %s after the end of the window, recorded as the time it had waited: %w", w.run.plan.Drain, err)
	}
	if err != nil {
		w.failed(a, err, censored)
		if !censored {
			return // a quick refusal is no latency
		}
	}
	if !w.measured(a) {
		return
	}
	response.record(now - a.at)
	if sent >= 0 {
		service.record(now - sent)
	}
	if err == nil {
		var m moved
		if s, ok := sess.(mover); ok && s.Moved() > 0 {
			m = moved{1, s.Moved(), now - sent}
		}
		w.count(func(t *tally) {
			t.done++
			if a.connect {
				t.connects++
			}
			t.moved.add(m)
		})
	}
}

// neverSent is the outcome of an arrival that waited behind others until the window was over.
func (w *window) neverSent(a arrival, err error) {
	w.finish(a, -1, fmt.Errorf("never sent, the tunnel was busy: %w", err), nil, w.steady, w.service)
}

// serve works off the arrivals of one tunnel in order.
func (w *window) serve(t *slot, queue iter.Seq[arrival]) {
	for a := range queue {
		if err := w.ctx.Err(); err != nil {
			w.neverSent(a, err)
			continue
		}
		if t.tunnel == nil {
			// In the schedule, so that the arrivals behind it bear the wait: a client would.
			fresh, err := w.arm.open(w.ctx, t.route, w.observeNothing, func() {})
			if err != nil {
				w.finish(a, -1, fmt.Errorf("open the tunnel again: %w", err), nil, w.steady, w.service)
				continue
			}
			w.count(func(t *tally) { t.reopened++ })
			t.put(w.ctx, fresh)
		}
		sent := w.now()
		err := t.tunnel.sess.Do(w.ctx)
		w.finish(a, sent, err, t.tunnel.sess, w.steady, w.service)
		if err != nil {
			t.abort()
		}
	}
}

// connect opens a new tunnel, logs in, makes one request and closes again. It says whether the answer was right.
func (w *window) connect(a arrival) bool {
	observe := w.observeNothing
	if w.measured(a) {
		observe = func(phase string, d time.Duration) { w.arm.rec.phase(phase).record(d) }
	}
	ready := time.Duration(-1)
	t, err := w.arm.openParting(w.ctx, w.run.mix.route(w.index, a.seq), observe, func() { ready = w.now() })
	var sess session
	if err == nil {
		sess = t.sess
		stop := unblock(w.ctx, t.conn)
		err = t.sess.Do(w.ctx)
		stop()
	}
	w.finish(a, ready, err, sess, w.arm.rec.phase(result.PhaseConnect), w.arm.rec.phase(result.PhaseFirstByte))
	switch {
	case t == nil:
	case err != nil:
		t.abort()
	default:
		if took, ok := t.part(w.ctx); ok {
			observe(result.PhaseClose, took)
		}
	}
	return err == nil
}
