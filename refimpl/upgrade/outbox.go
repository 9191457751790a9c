package upgrade

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	closeGrace = 500 * time.Millisecond // what Close may spend on a peer that does not read
	maxQueue   = 16                     // control frames waiting for the connection; more drop the oldest
)

// errTorn is the state after a frame of which only a part left: whatever followed would be read as its rest.
var errTorn = errors.New("write: an earlier frame was cut short")

// joinBuffers join a header and its payload for one Write; shared, so that an idle tunnel holds none.
var joinBuffers = sync.Pool{New: func() any { return new([]byte) }}

// outbox is the writing half of a framed tunnel. Frames never interleave; control frames (pings, pongs, Close) have a queue of
// their own, so that neither a reader that owes a pong nor the keep-alive timer ever waits for a peer that does not read.
type outbox struct {
	conn net.Conn

	mu  sync.Mutex // serialises frames on conn; guards err, end
	err error      // torn, or the connection's own
	end bool       // the last frame was sent

	qmu     sync.Mutex // guards the queue and the timer; never held while writing
	queue   []control
	running bool // a goroutine is emptying the queue
	closed  bool
	timer   *time.Timer // when to ping or look at the peer; on a client, when to attend
	pulse   pulse
	dead    atomic.Bool // the peer is given up
	answer  *time.Timer // sends what postIdle was given
	wrote   bool        // a data frame left since answer was armed

	deadline writeDeadline // of the owner's frames

	wg sync.WaitGroup // the goroutine that empties the queue, armed timers
}

// A control frame; final ones end the writing half.
type control struct {
	frame []byte
	final bool
	ping  bool
}

// write sends p in as many frames as maxWriteFrame asks for.
func (o *outbox) write(p []byte, frame func(dst, chunk []byte) []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, o.err
	}
	if err := o.deadline.begin(o.conn); err != nil {
		return 0, err
	}
	defer o.deadline.end(o.conn)
	o.qmu.Lock()
	o.wrote = true
	o.qmu.Unlock()
	o.pulse.life()
	buf := joinBuffers.Get().(*[]byte)
	defer joinBuffers.Put(buf)
	sent := 0
	for len(p) > 0 {
		chunk := p[:min(len(p), maxWriteFrame)]
		*buf = frame((*buf)[:0], chunk)
		if err := o.emit(*buf); err != nil {
			return sent, err
		}
		sent += len(chunk)
		p = p[len(chunk):]
	}
	return sent, o.err
}

// emit writes one whole frame. mu is held.
func (o *outbox) emit(frame []byte) error {
	if o.err != nil {
		return o.err
	}
	n, err := o.conn.Write(frame)
	if err != nil && n > 0 {
		o.err = errTorn
	}
	return err
}

// shut sends a last frame, if any, and ends the writing half.
func (o *outbox) shut(last []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end {
		return nil
	}
	o.end = true
	if last == nil {
		return nil
	}
	return o.emit(last)
}

// post queues a control frame and sees that somebody writes it.
func (o *outbox) post(c control) {
	o.qmu.Lock()
	defer o.qmu.Unlock()
	o.postLocked(c)
}

func (o *outbox) postLocked(c control) {
	if o.closed {
		return
	}
	if c.ping { // one waiting ping is as good as two
		for _, q := range o.queue {
			if q.ping {
				return
			}
		}
	}
	if len(o.queue) == maxQueue {
		o.queue = o.queue[1:]
	}
	o.queue = append(o.queue, c)
	if !o.running {
		o.running = true
		o.wg.Go(o.drain)
	}
}

func (o *outbox) drain() {
	for {
		o.mu.Lock()
		o.qmu.Lock()
		queue := o.queue
		o.queue = nil
		if len(queue) == 0 {
			o.running = false
			o.qmu.Unlock()
			o.mu.Unlock()
			return
		}
		o.qmu.Unlock()
		o.flush(queue)
		o.mu.Unlock()
	}
}

// flush writes control frames up to the one that ends the writing half. mu is held.
func (o *outbox) flush(queue []control) {
	for _, c := range queue {
		if o.end {
			return
		}
		o.end = c.final
		asks := c.ping && o.pulse.asked.CompareAndSwap(0, leaving)
		if o.emit(c.frame) != nil {
			return
		}
		if asks { // unless the answer was faster
			o.pulse.asked.CompareAndSwap(leaving, int64(time.Since(epoch)))
		}
	}
}

// postIdle posts c once no data frame has left for the given time.
func (o *outbox) postIdle(c control, idle time.Duration) {
	o.qmu.Lock()
	defer o.qmu.Unlock()
	if o.closed || o.answer != nil {
		return
	}
	o.wrote = false
	o.wg.Add(1)
	o.answer = time.AfterFunc(idle, func() {
		defer o.wg.Done()
		o.qmu.Lock()
		defer o.qmu.Unlock()
		if o.closed {
			return
		}
		if o.wrote {
			o.wrote = false
			o.wg.Add(1)
			o.answer.Reset(idle)
			return
		}
		o.postLocked(c)
	})
}

// close sends what is queued and the last frame if there was none, for closeGrace at most, closes the connection and waits for every
// goroutine of the outbox.
func (o *outbox) close(last []byte) error {
	o.qmu.Lock()
	if o.closed {
		o.qmu.Unlock()
		return net.ErrClosed
	}
	o.closed = true
	queue := o.queue
	o.queue = nil
	for _, t := range []*time.Timer{o.timer, o.answer} {
		if t != nil && t.Stop() {
			o.wg.Done()
		}
	}
	o.qmu.Unlock()

	// Also frees a Write or a ping that a peer holds up: nothing here may wait for longer than the grace.
	o.deadline.last(o.conn, time.Now().Add(closeGrace))
	o.mu.Lock()
	o.flush(queue)
	if !o.end && last != nil {
		_ = o.emit(last) // a goodbye that a closed connection or the grace's end may swallow
	}
	o.end = true
	o.mu.Unlock()
	err := o.conn.Close()
	o.wg.Wait()
	return err
}
