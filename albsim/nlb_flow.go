package albsim

import (
	"context"
	"sync"
	"time"
)

// relay passes bytes both ways until the flow ends, and ends both connections.
func (f *flow) relay(ctx context.Context) {
	j := &join{p: &f.s.plan.profile, client: f.client, target: f.target}
	dog := &watchdog{timeout: f.idle()}
	f.s.watch(dog, f.client)
	f.client.dog.Store(dog)
	f.target.dog.Store(dog)
	dog.arm(func() { j.stop(endIdle) })
	alive := f.watchKeepAlives(dog)
	cut := context.AfterFunc(ctx, func() { j.stop(endCut) })
	n := f.lease.group.network
	lost := stopWhen(f.lease.target.ctx(), n.endDeregistered, j)
	unfit := stopWhen(f.lease.fit, n.endUnhealthy || n.unfit > 0, j)
	j.both(j.client, j.target)
	cut()
	lost()
	unfit()
	alive.stop()
	dog.disarm()
	f.finish(ctx, tunnelEnd(j.cause.Load()))
}

// stopWhen has the flow end with ctx, if that is so set.
func stopWhen(ctx context.Context, set bool, j *join) (stop func() bool) {
	if !set {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() { j.stop(endDeregistered) })
}

func (f *flow) finish(ctx context.Context, cause tunnelEnd) {
	count := &f.s.count.flows
	clientRST, targetRST := false, false
	switch cause {
	case endClientReset:
		count.clientResets.Add(1)
		targetRST = true
	case endTargetReset:
		count.targetResets.Add(1)
		clientRST = true
	case endDeregistered: // unhealthy, or deregistered with connection termination: NLB-TCP-05
		count.elbResets.Add(2)
		clientRST, targetRST = true, true
	case endIdle:
		switch f.s.plan.profile.IdleExpiry {
		case "silent":
			f.forget(ctx)
			return
		case "rst":
			count.elbResets.Add(2)
			clientRST, targetRST = true, true
		}
	default:
	}
	closeLeg(f.client, clientRST)
	closeLeg(f.target, targetRST)
}

// forget is the silence behind the idle timeout (NLB-TCP-03): nothing is sent until an end says something, and that end gets
// a RST. A real balancer stays silent for ever. Here both sockets come back after two timeouts more, and there may be only
// so many that wait: a quarter of all connections.
func (f *flow) forget(ctx context.Context) {
	waiting := &f.s.count.flows.forgotten
	defer waiting.Add(-1)
	legs := []*meteredConn{f.client, f.target}
	until := time.Now().Add(2 * f.idle())
	if waiting.Add(1) > int64(max(1, f.s.opt.MaxConnections/4)) || !f.s.setGoAway(f.c, func() { wake(legs) }) {
		until = longAgo
	}
	for _, c := range legs {
		c.SetDeadline(until)
	}
	defer context.AfterFunc(ctx, func() { wake(legs) })()
	var wg sync.WaitGroup
	for _, c := range legs {
		wg.Go(func() {
			low, ok := below[*rawConn](c)
			if !ok {
				return
			}
			var b [1]byte
			_, _ = low.Read(b[:]) // whatever it says, or that time is over: the answer is the same
			f.s.count.flows.elbResets.Add(1)
			reset(c)
		})
	}
	wg.Wait()
}

func wake(legs []*meteredConn) {
	for _, c := range legs {
		c.SetDeadline(longAgo)
	}
}
