package albsim

import (
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// lane is one direction of a wire, and what its faults make of the bytes that pass.
type lane struct {
	w         *wire
	direction string
	plain     bool                          // of what TLS carries
	deadline  atomic.Int64                  // in nanoseconds since epoch; 0 for none
	wake      atomic.Pointer[chan struct{}] // for whoever pauses; nil while nobody has
	end       atomic.Pointer[error]         // nothing passes any more
	more      atomic.Pointer[[]*standing]   // faults that have not been taken in

	mu      sync.Mutex // one Read, or Write, at a time; guards what follows
	strands []*strand
	at      int64     // bytes that have passed
	held    []byte    // read, and not yet due
	due     time.Time // of it
	moved   time.Time // when the last bytes passed

	last atomic.Int64 // moved, in nanoseconds since epoch, for the other direction
}

// strand is one fault at work on a lane.
type strand struct {
	*standing
	rng   *rand.Rand
	base  int64     // bytes that had passed when it came, which AtByte counts from
	cut   int64     // where split cuts next
	begun time.Time // when the place of AtByte was come to
	over  bool      // an end that has struck
}

// add lets a fault work on the lane, if it is for its direction. The board is locked, so adds come one after the other.
func (l *lane) add(f *standing) {
	if f.Direction != "" && f.Direction != l.direction {
		return
	}
	for {
		old := l.more.Load()
		var all []*standing
		if old != nil {
			all = append(all, *old...)
		}
		all = append(all, f)
		if l.more.CompareAndSwap(old, &all) {
			return
		}
	}
}

// take takes in what was added.
func (l *lane) take() {
	more := l.more.Swap(nil)
	if more == nil {
		return
	}
	for _, f := range *more {
		side := l.w.number << 1
		if l.direction == "down" {
			side++
		}
		s := &strand{standing: f, rng: rand.New(rand.NewPCG(f.Seed, side))} //nolint:gosec // it is to be the same each time
		s.base, s.cut = l.at, l.at
		l.strands = append(l.strands, s)
	}
}

// began is when it begins on a connection; false while the place of AtByte has not been come to.
func (s *strand) began(w *wire) (time.Time, bool) {
	if s.AtByte > 0 {
		return s.begun, !s.begun.IsZero()
	}
	return s.from(w), true
}

// active tells whether a fault is at work now.
func (s *strand) active(w *wire, now time.Time) bool {
	from, ok := s.began(w)
	return ok && !now.Before(from) && now.Before(s.until(from))
}

// next is how many of n bytes may pass in one piece. What has its place here happens.
func (l *lane) next(n int64) int64 {
	l.take()
	now := time.Now()
	for _, s := range l.strands {
		if s.AtByte > 0 && s.begun.IsZero() {
			if rest := s.base + s.AtByte - l.at; rest > 0 {
				n = min(n, rest)
				continue
			}
			s.begun = now
			if s.Ends() && !s.over {
				s.over = true
				l.w.strike(s.standing, l)
			}
		}
		if !s.active(l.w, now) {
			continue
		}
		switch s.Kind {
		case "split":
			for s.cut <= l.at {
				s.cut += 1 + s.rng.Int64N(s.Bytes)
			}
			n = min(n, s.cut-l.at)
		case "drip":
			n = min(n, s.Bytes)
		case "bandwidth":
			n = min(n, max(1, s.BytesPerSecond/20)) // of which twenty pass in a second
		}
	}
	return n
}

// burst is the silence behind which bytes count as a new burst, which latency is for. What comes while a burst is held back
// follows it at once: it has been on its way as long. Where the other direction has moved in between, bytes may answer that, and
// reply is enough: no answer comes sooner, on a machine of any speed, while what is there already takes less to be read.
const (
	burst = time.Millisecond
	reply = 30 * time.Microsecond
)

// fresh says whether bytes that came after such a silence begin a burst.
func (l *lane) fresh(silence time.Duration) bool {
	return silence > burst || l.at == 0 || silence > reply && l.other().last.Load() > l.last.Load()
}

// other is the other direction of the same bytes.
func (l *lane) other() *lane {
	switch l {
	case &l.w.in:
		return &l.w.out
	case &l.w.out:
		return &l.w.in
	case &l.w.plainIn:
		return &l.w.plainOut
	}
	return &l.w.plainIn
}

// passed notes that bytes have.
func (l *lane) passed(n int) {
	l.at += int64(n)
	l.moved = time.Now()
	l.last.Store(int64(l.moved.Sub(epoch)))
}

// when is the time at which n bytes may pass.
func (l *lane) when(n int, fresh bool) time.Time {
	now := time.Now()
	due := now
	later := func(t time.Time) {
		if t.After(due) {
			due = t
		}
	}
	for _, s := range l.strands {
		if !s.active(l.w, now) {
			continue
		}
		switch s.Kind {
		case "latency", "jitter":
			if fresh {
				wait := time.Duration(s.Delay)
				if s.Jitter > 0 {
					wait += time.Duration(s.rng.Int64N(int64(s.Jitter)))
				}
				later(now.Add(wait))
			}
		case "bandwidth":
			from := l.moved
			if fresh {
				from = now
			}
			later(from.Add(time.Duration(int64(n) * int64(time.Second) / s.BytesPerSecond)))
		case "drip":
			later(l.moved.Add(time.Duration(s.Delay)))
		case "stall":
			from, _ := s.began(l.w)
			later(s.until(from))
		}
	}
	return due
}

// conn is what the lane's bytes go through; nil for TLS that is not there yet.
func (l *lane) conn() net.Conn {
	if !l.plain {
		return l.w.conn
	}
	if t := l.w.tls.Load(); t != nil {
		return t
	}
	return nil
}

// pass is read, and send is write, for a lane that may have no faults.
func (l *lane) pass(p []byte) (int, error) {
	if l.w.b.on.Load() {
		return l.read(p)
	}
	n, err := l.conn().Read(p)
	if n == 0 || !l.w.b.on.Load() {
		return n, l.why(err)
	}
	l.mu.Lock() // the first fault came while this waited
	defer l.mu.Unlock()
	l.hold(p[:n], 2*burst)
	return l.deliver(p)
}

func (l *lane) send(p []byte) (int, error) {
	if !l.w.b.on.Load() {
		n, err := l.conn().Write(p)
		return n, l.why(err)
	}
	return l.write(p)
}

func (l *lane) read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.held) == 0 {
		limit := l.next(int64(len(p)))
		if end := l.end.Load(); end != nil {
			return 0, *end
		}
		begun := time.Now()
		n, err := l.conn().Read(p[:limit])
		if n == 0 {
			return 0, l.why(err)
		}
		l.hold(p[:n], time.Since(begun))
	}
	return l.deliver(p)
}

// hold keeps what was read until it is due. Faults that were added while it was waited for have not been asked before.
func (l *lane) hold(p []byte, silence time.Duration) {
	l.next(int64(len(p)))
	l.held = append(l.held[:0], p...)
	l.due = l.when(len(p), l.fresh(silence))
}

// deliver hands out as much of what is held as may pass in one piece.
func (l *lane) deliver(p []byte) (int, error) {
	if err := l.pause(l.due); err != nil {
		return 0, err
	}
	n := int(l.next(int64(min(len(p), len(l.held)))))
	if end := l.end.Load(); end != nil {
		return 0, *end
	}
	copy(p, l.held[:n])
	l.held = l.held[n:]
	l.passed(n)
	if len(l.held) > 0 {
		rest := l.next(int64(len(l.held))) // what has its place here happens
		l.due = l.when(int(rest), false)
	}
	return n, nil
}

func (l *lane) write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := l.fresh(time.Since(l.moved))
	for done := 0; ; {
		limit := int(l.next(int64(max(1, len(p)-done)))) // an end that has its place behind the last byte is not put off
		if end := l.end.Load(); end != nil && done < len(p) {
			return done, *end
		}
		if done == len(p) {
			return done, nil
		}
		if err := l.pause(l.when(limit, fresh)); err != nil {
			return done, err
		}
		n, err := l.conn().Write(p[done : done+limit])
		done += n
		l.passed(n)
		fresh = false
		if err != nil {
			return done, l.why(err)
		}
	}
}

// pause waits for due, for the deadline, or for the end of the lane.
func (l *lane) pause(due time.Time) error {
	for {
		if l.wake.Load() == nil {
			wake := make(chan struct{}, 1)
			l.wake.CompareAndSwap(nil, &wake)
		}
		if end := l.end.Load(); end != nil {
			return *end
		}
		wait := time.Until(due)
		if wait <= 0 {
			return nil
		}
		if d := l.deadline.Load(); d != 0 {
			rest := time.Duration(d) - time.Since(epoch)
			if rest <= 0 {
				return os.ErrDeadlineExceeded
			}
			wait = min(wait, rest)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-*l.wake.Load():
		}
		timer.Stop()
	}
}

func (l *lane) stir() {
	if wake := l.wake.Load(); wake != nil {
		select {
		case *wake <- struct{}{}:
		default:
		}
	}
}

// finish ends the lane, for the first reason that is given.
func (l *lane) finish(why error) {
	l.end.CompareAndSwap(nil, &why)
	l.stir()
}

// why is an error of the connection, or what made us cause it.
func (l *lane) why(err error) error {
	if err == nil {
		return nil
	}
	if end := l.end.Load(); end != nil {
		return *end
	}
	return err
}

func (l *lane) setDeadline(t time.Time) {
	d := int64(0)
	if !t.IsZero() {
		d = max(1, int64(t.Sub(epoch)))
	}
	l.deadline.Store(d)
	l.stir()
}

// deadlines are those of the connection below, which pauses keep too.
func (w *wire) deadlines(read, write bool, t time.Time) {
	if read {
		w.in.setDeadline(t)
	}
	if write {
		w.out.setDeadline(t)
	}
}
