package bench

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

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
