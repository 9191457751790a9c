package albsim

import (
	"context"
	"sync"
	"time"
)

// healthState is a target's, in AWS's words: alb.md section 9 (HC).
type healthState string

const (
	initial   healthState = "initial"
	healthy   healthState = "healthy"
	unhealthy healthState = "unhealthy"
	// unhealthyDraining is a network load balancer's: what stands may go on for the draining interval.
	unhealthyDraining healthState = "unhealthy.draining"
	unused            healthState = "unused" // no listener leads to its group
	draining          healthState = "draining"
	unavailable       healthState = "unavailable" // not checked, and taken for healthy
)

// The reason codes that can come up here. Target.InvalidState and Target.IpUnusable are about instances and addresses that a
// cloud knows of, Elb.InternalError has no cause, and a target that is Target.NotRegistered is not listed.
const (
	reasonRegistering = "Elb.RegistrationInProgress"
	reasonChecking    = "Elb.InitialHealthChecking"
	reasonMismatch    = "Target.ResponseCodeMismatch"
	reasonTimeout     = "Target.Timeout"
	reasonFailed      = "Target.FailedHealthChecks"
	reasonNotInUse    = "Target.NotInUse"
	reasonDraining    = "Target.DeregistrationInProgress"
	reasonDisabled    = "Target.HealthCheckDisabled"
)

func (t *target) inService() bool { return t.state == healthy || t.state == unavailable }

func (t *target) sick() bool { return t.state == unhealthy || t.state == unhealthyDraining }

// TargetState is what AWS's DescribeTargetHealth tells of a target, and what it is at work on.
type TargetState struct {
	Group   string `json:"group"`
	Address string `json:"address"`
	// State is initial, healthy, unhealthy, unhealthy.draining, unused, draining or unavailable; Reason is AWS's code, empty when healthy.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Outstanding counts the requests and tunnels that it is at work on.
	Outstanding int64 `json:"outstanding"`
	// Anomalous is a target that fails more often than the others; Mitigated one that is sent less for it.
	Anomalous bool `json:"anomalous,omitempty"`
	Mitigated bool `json:"mitigated,omitempty"`
}

// Targets tells of every target, by the document's order of groups and in order of registration. One whose deregistration
// has come to its end is not there.
func (s *Server) Targets() []TargetState {
	var out []TargetState
	for _, g := range s.plan.order {
		g.mu.Lock()
		for _, t := range g.targets {
			out = append(out, TargetState{
				g.name, t.address, string(t.state), t.reason, t.outstanding.Load(), t.account.anomalous, t.account.cut > 0,
			})
		}
		g.mu.Unlock()
	}
	return out
}

// enter gives a target that has been registered its first state, and has it checked; mu is held.
func (g *group) enter(t *target) {
	switch {
	case !g.used:
		t.state, t.reason = unused, reasonNotInUse
	case g.check == nil:
		t.state, t.reason = unavailable, reasonDisabled
		g.warm(t, time.Now())
	default:
		t.state, t.reason, t.streak = initial, reasonRegistering, 0
		g.haveChecked(t)
	}
	g.settle()
}

// keepChecking checks a target until ctx ends. How long a check takes does not shift the next one.
func (g *group) keepChecking(ctx context.Context, t *target) {
	tick := time.NewTicker(g.s.scaled(g.check.interval))
	defer tick.Stop()
	g.mu.Lock()
	if ctx.Err() == nil {
		t.reason = reasonChecking
	}
	g.mu.Unlock()
	for {
		bounded, cancel := context.WithTimeout(ctx, g.s.scaled(g.check.timeout))
		reason := g.check.probe(bounded, g.s, t.address)
		cancel()
		g.judge(ctx, t, reason)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// judge takes the result of one check, "" for a success: the first makes a new target healthy, after that it takes as many
// in a row as the thresholds say (ALB-HC-02). ctx is that of the checks: a result that comes in behind its end is void.
func (g *group) judge(ctx context.Context, t *target, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	against := reason != ""
	if t.sick() {
		against = !against
	}
	switch {
	case t.state == initial && reason == "":
		t.state, t.reason = healthy, ""
	case !against:
		t.streak = 0
		return
	default:
		if t.streak++; t.sick() && t.streak >= g.check.healthyThreshold {
			t.undrain()
			t.state, t.reason = healthy, ""
		} else if !t.sick() && t.streak >= g.check.unhealthyThreshold {
			t.state, t.reason = unhealthy, reason
		} else {
			return
		}
	}
	t.streak, t.warmFrom = 0, time.Time{}
	if t.state == healthy {
		g.warm(t, time.Now())
	}
	g.settle()
	if t.state == unhealthy {
		g.sicken(t)
	}
	g.s.log.Info("target health", "group", g.name, "target", t.address, "state", t.state, "reason", t.reason)
}

// checks are the goroutines that check targets, from Serve to its end.
type checks struct {
	wg sync.WaitGroup

	mu   sync.Mutex      // guards what follows
	life context.Context //nolint:containedctx // of all of them; nil before Serve
	stop context.CancelFunc
}

// begin has the targets checked that are registered; those to come begin by themselves.
func (s *Server) beginChecks(ctx context.Context) {
	s.checks.mu.Lock()
	s.checks.life, s.checks.stop = context.WithCancel(ctx)
	s.checks.mu.Unlock()
	for _, g := range s.plan.order {
		g.mu.Lock()
		for _, t := range g.targets {
			if t.state == initial && t.unchecked == nil {
				g.haveChecked(t)
			}
		}
		g.mu.Unlock()
	}
}

// endChecks stops the checks, and waits for them; none begins behind it.
func (s *Server) endChecks() {
	s.checks.mu.Lock()
	if s.checks.life != nil {
		s.checks.stop()
	}
	s.checks.mu.Unlock()
	s.checks.wg.Wait()
}

// haveChecked starts the checks of a target, if it is the time for them; the group's mu is held.
func (g *group) haveChecked(t *target) {
	c := &g.s.checks
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life == nil || c.life.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(c.life)
	t.unchecked = cancel
	c.wg.Go(func() {
		defer cancel()
		g.keepChecking(ctx, t)
	})
}
