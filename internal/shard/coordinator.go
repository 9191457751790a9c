package shard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// minLead is between the meeting at a point and the instant that all are told; each agent's round trip is added.
const minLead = 10 * time.Millisecond

// strangersAtOnce bounds the connections that have not said who they are.
const strangersAtOnce = 64

// Coordinator brings the agents of one plan together.
type Coordinator struct {
	Of       int           // agents
	Patience time.Duration // DefaultPatience when 0
	// Joined is told of each agent; nil is silent.
	Joined func(Hello)
}

// Delivery is an agent's part.
type Delivery struct {
	Hello Hello
	Part  Part
}

// event is what a connection has brought.
type event struct {
	l   *line
	m   message
	err error
}

// coordination is one under way. All of it belongs to the goroutine of Serve, but events and the waiting.
type coordination struct {
	Coordinator
	clock   clock
	events  chan event
	over    chan struct{} // nobody takes events any more
	talking sync.WaitGroup
	agents  map[*line]*Hello
	lead    time.Duration
}

// Serve takes agents from the listener and from own connections of this process, until all parts are there, and returns them by index. The
// listener is closed in any case, and so are the connections.
func (c Coordinator) Serve(ctx context.Context, listener net.Listener, own ...net.Conn) (_ []Delivery, err error) {
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	s := &coordination{Coordinator: c, clock: newClock(), events: make(chan event), over: make(chan struct{}), agents: map[*line]*Hello{}}
	conns := &connections{open: map[net.Conn]bool{}}
	take := func(conn net.Conn) {
		l := newLine(conn)
		if conns.add(conn) {
			s.talking.Go(func() { s.talk(l); conns.remove(conn) })
		}
	}
	for _, conn := range own {
		take(conn)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed below
			}
			take(conn)
		}
	})
	defer func() {
		if err != nil {
			_ = s.tell(message{Error: err.Error()}) // as far as they are there
		}
		close(s.over)
		_ = listener.Close()
		accepting.Wait()
		conns.close()
		s.talking.Wait()
	}()
	if err := s.join(ctx); err != nil {
		return nil, err
	}
	return s.meet(ctx)
}

// connections are those that are open, strangers among them.
type connections struct {
	mu     sync.Mutex // guards all below
	open   map[net.Conn]bool
	closed bool
}

func (c *connections) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.open) >= MaxShards+strangersAtOnce {
		_ = conn.Close()
		return false
	}
	c.open[conn] = true
	return true
}

func (c *connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
	_ = conn.Close()
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.open {
		_ = conn.Close()
	}
}

// talk reads what a connection brings. Clocks are answered here, at once.
func (s *coordination) talk(l *line) {
	known := false
	for {
		limit := maxLine
		if known {
			limit = maxPart
		}
		m, err := l.receive(limit, 2*s.Patience) // who waits for others is patient with them
		if err == nil && m.Clock != 0 && !known {
			if err = l.send(message{Clock: s.clock.now()}, s.Patience); err == nil {
				continue
			}
		}
		if err != nil && !known {
			return // somebody who was never an agent
		}
		known = true
		select {
		case s.events <- event{l, m, err}:
		case <-s.over:
			return
		}
		if err != nil {
			return
		}
	}
}

// next is the next event, or what ends the waiting.
func (s *coordination) next(ctx context.Context, patience <-chan time.Time, missing func() string) (event, error) {
	select {
	case e := <-s.events:
		if h := s.agents[e.l]; e.err != nil && h != nil {
			return e, fmt.Errorf("shard %d on %s is gone: %w", h.Index, h.Host, e.err)
		}
		if h := s.agents[e.l]; h != nil && e.m.Error != "" {
			return e, fmt.Errorf("shard %d on %s: %s", h.Index, h.Host, e.m.Error)
		}
		return e, nil
	case <-patience:
		return event{}, fmt.Errorf("%s: not there within %v", missing(), s.Patience)
	case <-ctx.Done():
		return event{}, fmt.Errorf("the coordinator was stopped: %w", context.Cause(ctx))
	}
}

// absent names the agents that are not in a list.
func (s *coordination) absent(there func(index int) bool) string {
	var names []string
	for i := range s.Of {
		if !there(i) {
			names = append(names, fmt.Sprint(i))
		}
	}
	return "shard " + strings.Join(names, ", ")
}

// join waits for all agents, and lets them begin.
func (s *coordination) join(ctx context.Context) error {
	patience := time.NewTimer(s.Patience)
	defer patience.Stop()
	there := func(index int) bool {
		for _, h := range s.agents {
			if h.Index == index {
				return true
			}
		}
		return false
	}
	var first *Hello
	for len(s.agents) < s.Of {
		e, err := s.next(ctx, patience.C, func() string { return s.absent(there) })
		if err != nil {
			return err
		}
		h := e.m.Hello
		if e.err != nil {
			continue // gone before it was one of us
		}
		if h == nil || s.agents[e.l] != nil {
			return errors.New("an agent did not say who it is, or did twice")
		}
		err = s.fits(first, h, there(h.Index))
		s.agents[e.l] = h // it is told, too
		if err != nil {
			return err
		}
		if first == nil {
			first = h
		}
		s.lead = max(s.lead, minLead+time.Duration(min(h.RoundTripNS, int64(time.Second))))
		if s.Joined != nil {
			s.Joined(*h)
		}
	}
	return s.tell(message{})
}

// fits says what is wrong with an agent beside the first.
func (s *coordination) fits(first, h *Hello, twice bool) error {
	who := fmt.Sprintf("shard %d on %s (process %d)", h.Index, h.Host, h.PID)
	switch {
	case h.Index < 0 || h.Index >= s.Of || h.Of != s.Of:
		return fmt.Errorf("%s is of %d, and this plan has the shards 0 to %d", who, h.Of, s.Of-1)
	case twice:
		return fmt.Errorf("%s is there twice", who)
	case first == nil:
		return nil
	case h.PlanSHA256 != first.PlanSHA256:
		return fmt.Errorf("%s has another plan than shard %d (%.12s, %.12s): scenario, --set, --seed and number of shards must be the same", who, first.Index, h.PlanSHA256, first.PlanSHA256)
	case h.BinarySHA256 != first.BinarySHA256:
		return fmt.Errorf("%s is another build than shard %d (%.12s, %.12s)", who, first.Index, h.BinarySHA256, first.BinarySHA256)
	}
	return nil
}

// meet brings the agents from point to point until all have delivered.
func (s *coordination) meet(ctx context.Context) ([]Delivery, error) {
	for {
		at := map[*line]message{}
		there := func(index int) bool {
			for l := range at {
				if s.agents[l].Index == index {
					return true
				}
			}
			return false
		}
		var patience *time.Timer
		var expired <-chan time.Time
		var first *message
		for len(at) < s.Of {
			e, err := s.next(ctx, expired, func() string { return s.absent(there) + " at " + first.Point })
			if err != nil {
				return nil, err
			}
			h := s.agents[e.l]
			_, twice := at[e.l]
			switch {
			case h == nil:
				if e.m.Hello != nil { // such as one that was started again
					_ = e.l.send(message{Error: fmt.Sprintf("shard %d: the measurement has begun without you", e.m.Hello.Index)}, time.Second)
				}
				continue
			case twice || e.m.Point == "" && e.m.Part == nil:
				return nil, fmt.Errorf("shard %d does not keep to the protocol", h.Index)
			case first == nil:
				first = &e.m
				patience = time.NewTimer(s.Patience)
				expired = patience.C
			case e.m.Point != first.Point || len(e.m.Values) != len(first.Values) || (e.m.Part == nil) != (first.Part == nil):
				return nil, fmt.Errorf("shard %d is at %q, another at %q: they do not send one plan", h.Index, e.m.Point, first.Point)
			}
			at[e.l] = e.m
		}
		patience.Stop()
		if first.Part != nil {
			var all []Delivery
			for l, m := range at {
				all = append(all, Delivery{*s.agents[l], *m.Part})
			}
			slices.SortFunc(all, func(a, b Delivery) int { return a.Hello.Index - b.Hello.Index })
			return all, s.tell(message{})
		}
		answer := message{Values: make([]float64, len(first.Values))}
		for _, m := range at {
			for i, v := range m.Values {
				answer.Values[i] += v
			}
		}
		answer.StartNS = s.clock.now() + int64(s.lead)
		if err := s.tell(answer); err != nil {
			return nil, err
		}
	}
}

// tell sends the same to all agents.
func (s *coordination) tell(m message) error {
	var errs []error
	for l, h := range s.agents {
		if err := l.send(m, 10*time.Second); err != nil {
			errs = append(errs, fmt.Errorf("shard %d on %s is gone: %w", h.Index, h.Host, err))
		}
	}
	return errors.Join(errs...)
}
