package albsim

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// group is a target group at work.
type group struct {
	name    string
	secure  bool
	set     groupSettings
	carrier carrier
	check   *healthCheck // nil: every target counts as healthy
	used    bool         // a listener leads to it
	s       *Server      // set by New
	count   groupCounters

	mu       sync.Mutex // guards what follows, and what is guarded in its targets
	targets  []*target  // registered and draining ones, in order of registration
	routable []*target  // those that requests may go to
	failOpen bool       // too few are healthy: routable has the others as well
	turn     uint64     // counts choices
	assessed time.Time  // when the accounts were

	targetType string
	network    *networkGroup // nil for an application load balancer's
}

// target is one member of a group.
type target struct {
	address     string
	id          targetID
	outstanding atomic.Int64 // requests and tunnels that hold a lease

	life context.Context //nolint:containedctx // it is the target's own, not a call's: what holds a lease ends with it
	end  context.CancelCauseFunc
	work cutSet  // requests that it is at work on
	fit  fitness // guarded by the group's mu

	// Guarded by the group's mu.
	state     healthState
	reason    string             // AWS's code, empty when healthy
	streak    int                // checks in a row that spoke against the state
	unchecked context.CancelFunc // ends its checks; nil when there are none
	founder   bool               // of the document: it has no slow start the first time
	warmFrom  time.Time          // when its slow start began; zero for none
	credit    float64            // of its turn; see inTurn
	drain     *time.Timer        // runs while it drains, deregistered or unhealthy
	requests  int64              // that it was chosen for
	account   account
}

func newTarget(address string) *target {
	t := &target{address: address, id: newTargetID(address), state: initial, reason: reasonRegistering, fit: newFitness()}
	t.life, t.end = context.WithCancelCause(context.Background())
	context.AfterFunc(t.life, t.work.end)
	return t
}

// ctx ends when the target may no longer be used, not even by what it is at work on. context.Cause tells why.
func (t *target) ctx() context.Context { return t.life }

// pickRequest is what a choice of target may depend on.
type pickRequest struct {
	client netip.AddrPort
	http   *request // nil for a connection that carries none
	flow   uint64   // the hash of such a connection, which then decides
}

// lease is the right of one request, or tunnel, to a target.
type lease struct {
	group  *group
	target *target
	fit    context.Context //nolint:containedctx // the target's, as it was when it was chosen
}

// pick chooses a target: the one that the client's cookie names, else by the group's algorithm; a flow's by its hash. It is
// false for a group without targets. Whoever gets a lease releases it once.
func (g *group) pick(q pickRequest) (*lease, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.routable) == 0 {
		return nil, false
	}
	now := time.Now()
	g.assess(now)
	var t *target
	if g.network != nil {
		t = g.routable[q.flow%uint64(len(g.routable))]
	} else if t = g.stuck(q); t == nil {
		t = g.choose(now)
	}
	g.count.requests.Add(1)
	if g.failOpen {
		g.count.openly.Add(1)
	}
	t.requests++
	t.outstanding.Add(1)
	return &lease{group: g, target: t, fit: t.fit.ctx}, true
}

func (l *lease) release() {
	if l.target.outstanding.Add(-1) == 0 {
		l.group.rested(l.target)
	}
}

// within is ctx, ended by the target's too.
func (l *lease) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.target.ctx(), func() { cancel(context.Cause(l.target.ctx())) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// settle works out who may be sent requests after a change of states; mu is held. Fewer healthy targets than the group's
// attributes ask for open it to all that are registered (ALB-HC-03): the default asks for one.
func (g *group) settle() {
	var registered, fit []*target
	for _, t := range g.targets {
		if t.state == draining {
			continue
		}
		registered = append(registered, t)
		if t.inService() {
			fit = append(fit, t)
		}
	}
	g.routable, g.failOpen = fit, g.set.routing.below(len(fit), len(registered))
	if g.failOpen {
		g.routable = registered
	}
}

// begin makes a group of the document one of a server's.
func (g *group) begin(s *Server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.s = s
	for _, t := range g.targets {
		t.founder = true
		g.enter(t)
	}
}

// find is the target of that address, draining or not; mu is held.
func (g *group) find(address string) *target {
	if i := slices.IndexFunc(g.targets, func(t *target) bool { return t.address == address }); i >= 0 {
		return g.targets[i]
	}
	return nil
}
