package bench

import (
	"context"
	"iter"
	"sync"
	"time"
)

// The models of load.
const (
	// ModeOpen sends by the schedule, whatever the target does.
	ModeOpen = "open"
	// ModeClosed lets each tunnel send its next request when it has its answer.
	ModeClosed = "closed"
)

// errorPause is how long a client of a closed loop waits after a failure: a target that refuses would be asked without end.
const errorPause = 10 * time.Millisecond

// runClosed sends without a schedule: every tunnel, or every client that opens new ones, takes the next turn when the one before is
// through. There is no intended time but the real one, so response and service time are the same.
func (w *window) runClosed() {
	var clients sync.WaitGroup
	for i := range w.run.w.Tunnels {
		if w.run.w.closedConnects {
			clients.Go(func() {
				ok := true
				for a := range w.turns(func() bool { return ok }) {
					a.connect = true
					ok = w.connect(a)
				}
			})
			continue
		}
		t := &w.arm.tunnels[i]
		clients.Go(func() {
			t.hold()
			w.serve(t, w.turns(func() bool { return t.tunnel != nil }))
			t.release()
			t.settle()
		})
	}
	clients.Wait()
}

// turns are the arrivals of one client, each as soon as it is asked for, until the window is over. ok tells whether the one before
// had its answer. Only what was answered within the measured part is counted in turned, so that the count over the window's
// length is a rate, however few requests that are.
func (w *window) turns(ok func() bool) iter.Seq[arrival] {
	return func(yield func(arrival) bool) {
		pause(w.ctx, -w.now())
		for seq := 0; ; seq++ {
			now := w.now()
			if seq > 0 {
				switch {
				case !ok():
					pause(w.ctx, errorPause)
					now = w.now()
				case now >= w.guard && now < w.length:
					w.turned.Add(1)
				}
			}
			if now >= w.length || w.ctx.Err() != nil {
				return
			}
			a := arrival{at: now, seq: seq}
			if w.measured(a) {
				w.count(func(t *tally) { t.planned++; t.achieved++ })
			}
			if !yield(a) {
				return
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
