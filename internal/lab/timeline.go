package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// RunFaults does what the scenario's timeline says, counted from now, until all is done or ctx ends. It returns what happened and
// when; what ctx's end cut off is not in it. An error is a fault that could not be done, which ends the timeline.
func (l *Lab) RunFaults(ctx context.Context, seed int64) ([]result.Fault, error) {
	begin := time.Now()
	var done []result.Fault
	timeline := slices.Clone(l.scenario.Topology.Faults)
	slices.SortStableFunc(timeline, func(a, b scenario.Fault) int { return int(a.At - b.At) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for _, f := range timeline {
		timer.Reset(time.Until(begin.Add(time.Duration(f.At))))
		select {
		case <-ctx.Done():
			return done, nil
		case <-timer.C:
		}
		at := time.Since(begin)
		if err := l.inject(ctx, f, seed); err != nil {
			if ctx.Err() != nil {
				return done, nil
			}
			return done, fmt.Errorf("fault %s of %s at %v: %w", f.Kind, f.LoadBalancer, time.Duration(f.At), err)
		}
		done = append(done, result.Fault{AtNS: int64(at), LoadBalancer: f.LoadBalancer, Kind: f.Kind, Hop: f.Hop, Direction: f.Direction, ForNS: int64(f.For)})
	}
	return done, nil
}

// inject does a fault on every path that the load balancer is on.
func (l *Lab) inject(ctx context.Context, f scenario.Fault, seed int64) error {
	var errs []error
	for _, c := range l.chains {
		for _, n := range c.nodes {
			switch {
			case n.Key != f.LoadBalancer || n.alb == nil:
			case f.Kind == scenario.NodeRotation:
				errs = append(errs, n.alb.rotate(ctx))
			default:
				errs = append(errs, n.alb.inject(injection(f, n.alb.place.next.Address, seed)))
			}
		}
	}
	return errors.Join(errs...)
}

// injection is the fault in the simulator's words; a death is that of the load balancer's one target.
func injection(f scenario.Fault, target string, seed int64) albsim.Injection {
	if f.Kind != "target-death" {
		target = ""
	}
	return albsim.Injection{
		Clock: "server", Kind: f.Kind, Hop: f.Hop, Direction: f.Direction, For: albsim.Duration(f.For), Delay: albsim.Duration(f.Delay), Jitter: albsim.Duration(f.Jitter),
		Bytes: f.Bytes, BytesPerSecond: f.BytesPerSecond, Target: target, Seed: uint64(seed),
	}
}

// inject puts a fault into every node that there is now; one that comes later does not have it.
func (c *cluster) inject(i albsim.Injection) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, n := range c.all {
		errs = append(errs, n.Inject(i))
	}
	return errors.Join(errs...)
}

// checkFaults asks a simulator about each fault of the timeline.
func checkFaults(sc *scenario.Scenario) []scenario.Problem {
	var problems []scenario.Problem
	for i, f := range sc.Topology.Faults {
		if f.Kind == scenario.NodeRotation || f.Kind == "" {
			continue
		}
		s, err := albsim.New(albsim.Config{
			Listeners:    []albsim.Listener{{Listen: "127.0.0.1:0", Protocol: scenario.HTTP, Default: albsim.Default{Forward: "router"}}},
			TargetGroups: []albsim.TargetGroup{{Name: "router", Protocol: scenario.HTTP, Targets: []string{"127.0.0.1:1"}}},
		}, albsim.Options{})
		if err == nil {
			err = s.Inject(injection(f, "127.0.0.1:1", 1))
		}
		for _, one := range unfault(err) {
			problems = append(problems, scenario.Problem{At: []string{"topology", "faults", fmt.Sprint(i)}, Message: one})
		}
	}
	return problems
}

// unfault are the messages of a simulator's faults.
func unfault(err error) []string {
	faults, ok := errors.AsType[albsim.Faults](err)
	if err != nil && !ok {
		return []string{err.Error()}
	}
	var list []string
	for _, f := range faults {
		list = append(list, f.Path+": "+f.Message)
	}
	return list
}
