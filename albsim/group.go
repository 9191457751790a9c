package albsim

import (
	"context"
	"net/netip"
	"sync/atomic"
)

// group is a target group at work.
type group struct {
	name    string
	secure  bool
	set     groupSettings
	carrier carrier
	targets []*target
	next    atomic.Uint64

	targetType string
	network    *networkGroup // nil for an application load balancer's
}

// target is one member of a group.
type target struct {
	address     string
	outstanding atomic.Int64 // requests and tunnels that hold a lease

	life context.Context //nolint:containedctx // it is the target's own, not a call's: what holds a lease ends with it
	end  context.CancelCauseFunc
}

func newTarget(address string) *target {
	t := &target{address: address}
	t.life, t.end = context.WithCancelCause(context.Background())
	return t
}

// ctx ends when the target may no longer be used, not even by what it is at work on. context.Cause tells why.
func (t *target) ctx() context.Context { return t.life }

// pickRequest is what a choice of target may depend on.
type pickRequest struct {
	client netip.AddrPort
	http   *request // nil for a connection that carries none
	flow   uint64   // the hash of such a connection
}

// lease is the right of one request, or tunnel, to a target.
type lease struct {
	group  *group
	target *target
}

// pick hands the targets out in turn: round_robin, AWS's default; to a flow by its hash. It is false for a group without targets. Whoever gets a
// lease releases it once.
func (g *group) pick(q pickRequest) (*lease, bool) {
	if len(g.targets) == 0 {
		return nil, false
	}
	turn := q.flow
	if q.http != nil {
		turn = g.next.Add(1) - 1
	}
	t := g.targets[turn%uint64(len(g.targets))]
	t.outstanding.Add(1)
	return &lease{group: g, target: t}, true
}

func (l *lease) release() { l.target.outstanding.Add(-1) }

// within is ctx, ended by the target's too.
func (l *lease) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.target.ctx(), func() { cancel(context.Cause(l.target.ctx())) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}
