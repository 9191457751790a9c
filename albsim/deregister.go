package albsim

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// errDeregistered is why a target may not be used any longer, not even for what it is at work on.
var errDeregistered = errors.New("the target's deregistration delay is over")

// NotThereError is a target group that the document does not have, or a target that its group does not.
type NotThereError struct {
	Group, Address string // Address is empty when the group is not there
}

func (e *NotThereError) Error() string {
	if e.Address == "" {
		return fmt.Sprintf("there is no target group %q", e.Group)
	}
	return fmt.Sprintf("%s is not registered with target group %s", e.Address, e.Group)
}

func (s *Server) group(name string) (*group, error) {
	if g := s.plan.groups[name]; g != nil {
		return g, nil
	}
	return nil, &NotThereError{Group: name}
}

// Register adds a target, host:port, to a target group while the simulator runs. One that is draining is taken back, with
// what it is at work on; one that is there stays as it is. The error is a *NotThereError, or about the address.
func (s *Server) Register(group, address string) error {
	g, err := s.group(group)
	if err != nil {
		return err
	}
	if _, function := g.carrier.(overLambda); function {
		return fmt.Errorf("register %q: the function of target group %s cannot be changed", address, group)
	}
	if msg := checkAddress(address, false); msg != "" {
		return fmt.Errorf("register %q: %s", address, msg)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.find(address)
	switch {
	case t == nil && len(g.targets) >= maxTargets:
		return fmt.Errorf("register %q: target group %s has %d targets already", address, group, maxTargets)
	case t == nil:
		t = newTarget(address)
		g.targets = append(g.targets, t)
	case t.state != draining:
		return nil
	default:
		t.drain.Stop()
		t.drain = nil
	}
	g.enter(t)
	return nil
}

// Deregister takes a target out of its group: it gets no more requests, and what it is at work on has the group's
// deregistration delay to end (ALB-DRN-01). Until that is over the target is draining, whether it still has work or not, as
// AWS shows it. Doing it again changes nothing. The error is a *NotThereError.
func (s *Server) Deregister(group, address string) error {
	g, err := s.group(group)
	if err != nil {
		return err
	}
	g.mu.Lock()
	t := g.find(address)
	if t == nil {
		g.mu.Unlock()
		return &NotThereError{group, address}
	}
	if t.state != draining {
		g.leave(t)
	}
	g.mu.Unlock()
	g.rested(t)
	return nil
}

// leave begins a target's deregistration; mu is held.
func (g *group) leave(t *target) {
	if t.unchecked != nil {
		t.unchecked()
		t.unchecked = nil
	}
	t.undrain()
	t.state, t.reason, t.warmFrom = draining, reasonDraining, time.Time{}
	var timer *time.Timer
	timer = time.AfterFunc(g.s.scaled(g.set.deregistration), func() {
		g.mu.Lock()
		over := t.drain == timer // else it was taken back
		if over {
			g.targets = slices.DeleteFunc(g.targets, func(other *target) bool { return other == t })
			t.drain = nil
		}
		g.mu.Unlock()
		if over {
			t.end(errDeregistered)
			g.s.forget(t.address)
		}
	})
	t.drain = timer
	g.settle()
}

// rested is called when a target has no work left: a draining one needs no connections any more.
func (g *group) rested(t *target) {
	g.mu.Lock()
	over := t.outstanding.Load() == 0 && t.state == draining
	g.mu.Unlock()
	if over {
		g.s.forget(t.address)
	}
}

// forget closes the idle connections to a target; net/http, which has those of h2, knows no better than to close all idle ones.
func (s *Server) forget(address string) {
	s.pool.drop(address)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.listening {
		return
	}
	for _, l := range s.listeners {
		l.overH2.CloseIdleConnections()
	}
}

// endGroups ends the checks, and the timers of deregistrations under way: nothing is left to cut.
func (s *Server) endGroups() {
	s.endChecks()
	for _, g := range s.plan.order {
		g.mu.Lock()
		for _, t := range g.targets {
			if t.drain != nil {
				t.drain.Stop()
			}
		}
		g.mu.Unlock()
	}
}
