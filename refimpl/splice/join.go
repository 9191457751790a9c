package splice

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// end is one of the two connections.
type end struct {
	name string       // "a" or "b", for Report.End
	conn net.Conn     // as it was given
	rest net.Conn     // conn without the layers that only held bytes
	held []byte       // what these held
	tcp  *net.TCPConn // the lowest layer, nil when that is something else

	writing sync.Mutex // held while conn is written to; guards refused
	refused bool       // a write met a reset that no FIN had preceded
}

func newEnd(name string, conn net.Conn) *end {
	e := &end{name: name, conn: conn}
	e.rest, e.held = peel(conn)
	e.tcp, _ = lowest(e.rest).(*net.TCPConn)
	return e
}

// direction copies from src to dst. One goroutine runs it.
type direction struct {
	src, dst *end
	moved    atomic.Int64 // bytes written to dst
	spliced  atomic.Int64
	telling  atomic.Bool   // src has ended cleanly; dst has been told or is about to be
	active   *atomic.Int64 // join.active
	since    time.Time
}

// add counts bytes that were written to dst.
func (d *direction) add(n int) {
	d.moved.Add(int64(n))
	d.active.Store(int64(time.Since(d.since)))
}

// event is what a direction tells its join.
type event struct {
	from *direction
	bad  *end  // the connection that failed; nil = src ended cleanly and dst was told
	read bool  // bad failed on reading
	err  error // of bad
	late bool  // bad failed after its own clean end
	full bool  // dst cannot be half-closed: its end is the end of all
}

type join struct {
	a, b   *end
	ab, ba *direction
	since  time.Time
	active atomic.Int64 // nanoseconds between since and the last byte written
	events chan event
	copies sync.WaitGroup
	over   map[*direction]bool // directions that copy no more
	clean  map[*direction]bool // of these, those that ended cleanly, and whose destination was told
}

func newJoin(a, b net.Conn) *join {
	j := &join{a: newEnd("a", a), b: newEnd("b", b), since: time.Now(), over: make(map[*direction]bool), clean: make(map[*direction]bool)}
	// A direction sends at most two events, and must never wait to do so.
	j.events = make(chan event, 4)
	j.ab = &direction{src: j.a, dst: j.b, active: &j.active, since: j.since}
	j.ba = &direction{src: j.b, dst: j.a, active: &j.active, since: j.since}
	return j
}

// start runs both directions. The two functions have names so that stacks read well.
func (j *join) start() {
	j.copies.Go(j.copyAToB)
	j.copies.Go(j.copyBToA)
}

func (j *join) copyAToB() { j.run(j.ab) }
func (j *join) copyBToA() { j.run(j.ba) }

func (j *join) run(d *direction) {
	ev := d.copy()
	j.events <- ev
	if ev.bad != nil || ev.full {
		return
	}
	// A side that has ended cleanly may still be reset while the other direction goes on, and nobody reads it any more.
	if err := awaitReset(d.src.tcp); err != nil {
		j.events <- event{from: d, bad: d.src, read: true, late: true, err: err}
	}
}

// verdict is how a tunnel ended.
type verdict struct {
	end string
	err error
	ev  event // what decided it, when an event did
}

// supervise waits for the end of both directions or for the first failure.
func (j *join) supervise(ctx context.Context, idle time.Duration) verdict {
	var timer *time.Timer
	var expired <-chan time.Time
	if idle > 0 {
		timer = time.NewTimer(idle)
		defer timer.Stop()
		expired = timer.C
	}
	for {
		select {
		case ev := <-j.events:
			if ev.late && j.reverse(ev.from).telling.Load() {
				continue // both sides have ended cleanly: a peer that closed for good answers our end with a reset
			}
			j.note(ev)
			switch {
			case ev.bad != nil:
				return verdict{end: word(ev), err: ev.err, ev: ev}
			case ev.full, j.over[j.ab] && j.over[j.ba]:
				return verdict{end: EndEOF, ev: ev}
			}
		case <-expired:
			if left := idle - (time.Since(j.since) - time.Duration(j.active.Load())); left > 0 {
				timer.Reset(left)
				continue
			}
			return verdict{end: EndIdle, err: errIdle}
		case <-ctx.Done():
			return verdict{end: EndCancelled, err: context.Cause(ctx)}
		}
	}
}

func (j *join) reverse(d *direction) *direction {
	if d == j.ab {
		return j.ba
	}
	return j.ab
}

func (j *join) note(ev event) {
	j.over[ev.from] = true
	if ev.bad == nil {
		j.clean[ev.from] = true
	}
}

var errIdle = errors.New("no byte in either direction for the idle time")

// finish closes both connections in the manner of the verdict and waits for the goroutines.
func (j *join) finish(ctx context.Context, v verdict) {
	switch {
	case v.ev.full: // the other direction is cut off in the middle: nothing is left to say
		j.a.drain(ctx, nil)
		j.b.drain(ctx, nil)
		j.a.conn.Close()
		j.b.conn.Close()
	case v.end == EndEOF:
		j.a.unwatch()
		j.b.unwatch()
		j.copies.Wait()
		j.copies.Go(func() { j.b.farewell(ctx) })
		j.a.farewell(ctx)
	case v.ev.bad != nil:
		bad, good, back := j.a, j.b, j.ab
		if v.ev.bad == j.b {
			bad, good, back = j.b, j.a, j.ba
		}
		if !v.ev.read && !j.over[back] {
			// Writing to bad failed, but what it sent before is perhaps still to be read.
			j.await(ctx, back)
		}
		if v.ev.read {
			Abort(bad.conn)
		}
		drained := good.drain(ctx, nil)
		if j.clean[back] && !drained && ctx.Err() == nil {
			// All that bad had to say, its end included, is on its way to a peer that takes its time. The kernel goes on to deliver
			// it after Close, and answers with a reset what that peer still sends.
			discard(good.tcp)
			good.conn.Close()
		}
		Abort(good.conn)
		Abort(bad.conn)
	default:
		Abort(j.a.conn)
		Abort(j.b.conn)
	}
	j.copies.Wait()
}

// await gives one direction time to come to its end as long as it moves bytes.
func (j *join) await(ctx context.Context, d *direction) {
	begun := time.Now()
	progress := func() [2]int64 { // what a write in progress has got rid of shows in the queue only
		p := [2]int64{0: d.moved.Load()}
		if d.dst.tcp != nil {
			p[1] = int64(unsent(d.dst.tcp))
		}
		return p
	}
	for time.Since(begun) < drainMost {
		before := progress()
		timer := time.NewTimer(drainStall)
		select {
		case ev := <-j.events:
			timer.Stop()
			j.note(ev)
			if j.over[d] {
				return
			}
		case <-timer.C:
			if progress() == before {
				return
			}
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// word puts a failure into one word.
func word(ev event) string {
	side := "-" + ev.bad.name
	err := ev.err
	for _, gone := range []error{syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, syscall.ETIMEDOUT, syscall.ENOTCONN} {
		if errors.Is(err, gone) {
			return "reset" + side
		}
	}
	if ev.read && errors.Is(err, io.ErrUnexpectedEOF) {
		return "truncated" + side
	}
	return "error" + side
}
