package router

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// failedFor is how long an address that failed is tried last.
const failedFor = 10 * time.Second

// address is one address of a backend and what is known about it. A reload forgets that.
type address struct {
	hostport string
	ip       netip.AddrPort            // the same, where it is no name
	failed   atomic.Pointer[time.Time] // when a connection failed last, nil = never
	down     atomic.Bool               // what the active check found last
}

func (a *address) fail() {
	now := time.Now()
	a.failed.Store(&now)
}

func (a *address) suspect() bool {
	failed := a.failed.Load()
	return a.down.Load() || failed != nil && time.Since(*failed) < failedFor
}

// order is the order of the document, the suspect ones last: none is left out, since all of them may be.
func (u *upstream) order() []*address {
	if len(u.addresses) == 1 {
		return u.addresses
	}
	var good, bad []*address
	for _, a := range u.addresses {
		if a.suspect() {
			bad = append(bad, a)
		} else {
			good = append(good, a)
		}
	}
	return slices.Concat(good, bad)
}

// checks are the active checks of the document in force. The zero value runs none.
type checks struct {
	mu   sync.Mutex // guards what follows
	end  context.CancelFunc
	runs sync.WaitGroup
}

// checkBackends starts the checks of the document in force in place of those that run.
func (s *Server) checkBackends() {
	s.checks.mu.Lock()
	defer s.checks.mu.Unlock()
	s.checks.stopLocked()
	s.mu.Lock()
	serving := s.serving
	s.mu.Unlock()
	if !serving || s.cutCtx.Err() != nil {
		return
	}
	ctx, end := context.WithCancel(s.cutCtx)
	s.checks.end = end
	for route, u := range s.policy.Load().upstreams {
		if u.Health.Interval == 0 {
			continue
		}
		for _, a := range u.addresses {
			s.checks.runs.Go(func() { a.watch(ctx, u, s.log.With(keyRoute, route, keyBackend, a.hostport)) })
		}
	}
}

// stop ends the checks and waits for them.
func (k *checks) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopLocked()
}

func (k *checks) stopLocked() {
	if k.end != nil {
		k.end()
		k.runs.Wait()
		k.end = nil
	}
}

// watch connects to the address at once and then every interval, until ctx ends.
func (a *address) watch(ctx context.Context, u *upstream, log *slog.Logger) {
	dialer := net.Dialer{Timeout: time.Duration(min(u.Health.Interval, u.DialTimeout))}
	ticker := time.NewTicker(time.Duration(u.Health.Interval))
	defer ticker.Stop()
	for {
		conn, err := dialer.DialContext(ctx, "tcp", a.hostport)
		if err == nil {
			conn.Close()
		}
		if ctx.Err() != nil {
			return
		}
		if down := err != nil; a.down.Swap(down) != down {
			if down {
				log.Warn("backend address is down: tried last", keyErr, err)
			} else {
				log.Info("backend address is up again")
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
