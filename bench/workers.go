package bench

import (
	"context"
	"iter"
	"sync"
	"time"
)

// slot is the place of a lasting tunnel; the tunnel is nil while it is broken. While a window runs the arrivals of a tunnel wait here, and
// one worker at most is on it, which takes them in their order: an idle tunnel costs neither a goroutine nor a timer.
type slot struct {
	mu      sync.Mutex // guards what follows; tunnel may be read without by the worker, which alone changes it
	tunnel  *tunnel
	queue   []arrival // from next on
	next    int
	busy    bool // a worker is on it
	spoiled bool // by a deadline in the past
	route   int  // of the workload's mix
	// What the loop has sent there (loop_linux.go).
	inFlight bool
	flying   arrival
	sent     time.Duration
}

// push puts an arrival behind the others. idle says that a worker has to be sent, full that there are depth of them already.
func (s *slot) push(a arrival, depth int) (idle, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue)-s.next >= depth {
		return false, true
	}
	s.queue = append(s.queue, a)
	idle, s.busy = !s.busy, true
	return idle, false
}

// pop is the arrival that waits longest; when there is none the worker is off.
func (s *slot) pop() (arrival, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == len(s.queue) {
		s.queue, s.next, s.busy = s.queue[:0], 0, false
		return arrival{}, false
	}
	a := s.queue[s.next]
	s.next++
	return a, true
}

// waiting are the arrivals of the slot until there are none.
func (s *slot) waiting() iter.Seq[arrival] {
	return func(yield func(arrival) bool) {
		for a, ok := s.pop(); ok && yield(a); a, ok = s.pop() {
		}
	}
}

// hold makes the caller the slot's worker, until release.
func (s *slot) hold()    { s.mu.Lock(); s.busy = true; s.mu.Unlock() }
func (s *slot) release() { s.mu.Lock(); s.busy = false; s.mu.Unlock() }

// put takes a tunnel that was opened anew; when ctx has ended meanwhile, nobody else would wake its worker.
func (s *slot) put(ctx context.Context, t *tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tunnel, s.spoiled = t, false
	if ctx.Err() != nil {
		s.spoil()
	}
}

// wake unblocks the worker by a deadline in the past. A tunnel without one is left as it is.
func (s *slot) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy && s.tunnel != nil {
		s.spoil()
	}
}

// spoil is for those who hold mu.
func (s *slot) spoil() {
	_ = s.tunnel.conn.SetDeadline(past)
	s.spoiled = true
}

// abort closes the tunnel, where there is one.
func (s *slot) abort() {
	s.mu.Lock()
	t := s.tunnel
	s.tunnel, s.spoiled = nil, false
	s.mu.Unlock()
	if t != nil {
		t.abort()
	}
}

// settle closes a tunnel with a deadline in the past, even if the last request came through just before: its next window would begin
// with an error that is ours. The slot has no worker any more, so nobody sets another.
func (s *slot) settle() {
	s.mu.Lock()
	spoiled := s.spoiled
	s.mu.Unlock()
	if spoiled {
		s.abort()
	}
}

// watch wakes the workers of all slots when ctx ends, one watch for all. The function returned takes it off, and waits if it is at it.
func watch(ctx context.Context, slots []slot) (stop func()) {
	done := make(chan struct{})
	off := context.AfterFunc(ctx, func() {
		defer close(done)
		for i := range slots {
			slots[i].wake()
		}
	})
	return func() {
		if !off() {
			<-done
		}
	}
}

// crew are the workers of a window: as many as tunnels were at work at once, not as there are tunnels. One that is through waits for the
// next tunnel, since starting a goroutine anew would grow its stack each time.
type crew struct {
	work func(*slot)
	free chan *slot // without a buffer: only one that waits takes it
	wg   sync.WaitGroup
}

func newCrew(work func(*slot)) *crew { return &crew{work: work, free: make(chan *slot)} }

func (c *crew) send(s *slot) {
	select {
	case c.free <- s:
	default:
		c.wg.Go(func() {
			for ok := true; ok; s, ok = <-c.free {
				c.work(s)
			}
		})
	}
}

// end lets the workers end what they have.
func (c *crew) end() {
	close(c.free)
	c.wg.Wait()
}
