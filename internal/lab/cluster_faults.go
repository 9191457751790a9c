package lab

import (
	"errors"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

// injected is a fault that every node has, those to come too.
type injected struct {
	albsim.Injection
	at time.Time
}

// inject puts a fault into every node that has connections.
func (c *cluster) inject(i albsim.Injection) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, injected{i, time.Now()})
	all := slices.Concat(c.nodes, c.old)
	if c.leaving != nil {
		all = append(all, c.leaving)
	}
	var errs []error
	for _, n := range all {
		errs = append(errs, n.Inject(i))
	}
	return errors.Join(errs...)
}

// meet puts into a new node what is still at work. c.mu is held.
func (c *cluster) meet(fresh *albsim.Server) error {
	for _, f := range c.faults {
		i := f.Injection
		switch {
		case i.For > 0:
			if i.For -= albsim.Duration(time.Since(f.at)); i.For <= 0 {
				continue
			}
		case i.Ends(): // what stood then
			continue
		}
		if err := fresh.Inject(i); err != nil {
			return err
		}
	}
	return nil
}

// observer is told of what happens at the nodes; nil when nobody asks.
func (c *cluster) observer() func(albsim.Event) {
	l := c.lab
	if len(l.scenario.Topology.Faults) == 0 && l.tape == nil {
		return nil
	}
	return func(e albsim.Event) {
		if l.tape != nil {
			l.tape.observe(way{c.place.path, c.hopOf(e)}, e)
		}
		if p := l.playing.Load(); p != nil && e.Kind == albsim.EventFault {
			p.struck(c.place.path, e)
		}
	}
}

// hopOf is the hop of a connection that an event tells of.
func (c *cluster) hopOf(e albsim.Event) string {
	if e.Hop == "client" {
		return c.place.hop
	}
	for _, app := range c.place.leg.Apps {
		if e.Remote == c.lab.backend(app.Backend).Address {
			return c.place.leg.Key + "->" + app.Backend
		}
	}
	return c.place.nextHop
}
