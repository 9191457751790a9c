package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
)

// active is how many of the lasting tunnels carry requests: the first ones. At least one does.
func (w *WorkloadPlan) active() int {
	if w.Shape.Active == 0 {
		return w.Tunnels
	}
	return min(w.Tunnels, max(1, int(math.Round(float64(w.Tunnels)*w.Shape.Active/100))))
}

// active are the lasting tunnels of an arm that carry requests.
func (r *run) active(a *armState) []slot { return a.tunnels[:min(r.w.active(), len(a.tunnels))] }

// askIdle makes one request on each tunnel that carried none, at the end. One that does not answer is an error of its arm.
func (r *run) askIdle(ctx context.Context) error {
	for _, a := range r.arms {
		idle := a.tunnels[len(r.active(a)):]
		if len(idle) == 0 {
			continue
		}
		var alive atomic.Int64
		errs := make([]error, len(idle))
		var wg sync.WaitGroup
		atOnce := make(chan struct{}, openAtOnce)
		for i := range idle {
			if idle[i].tunnel == nil {
				errs[i] = errNotOpen
				continue
			}
			atOnce <- struct{}{}
			wg.Go(func() {
				defer func() { <-atOnce }()
				tctx, cancel := context.WithTimeout(ctx, openTimeout)
				defer cancel()
				stop := unblock(tctx, idle[i].tunnel.conn)
				errs[i] = idle[i].tunnel.sess.Do(tctx)
				stop()
				if errs[i] == nil {
					alive.Add(1)
				}
			})
		}
		wg.Wait()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for i, err := range errs {
			a.total.planned++
			a.total.achieved++
			if err == nil {
				continue // and not done: that is a rate of the windows
			}
			a.total.errors++
			a.total.sample(fmt.Errorf("an idle tunnel does not answer at the end: %w", err))
			if idle[i].tunnel != nil {
				idle[i].tunnel.abort()
				idle[i].tunnel = nil
			}
		}
		a.idle = fmt.Sprintf("%d of %d idle tunnels answered at the end", alive.Load(), len(idle))
	}
	return nil
}

var errNotOpen = errors.New("it was not open")
