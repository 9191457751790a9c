package upgrade

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// ErrNoPong ends the reads of a WebSocket tunnel whose peer is taken for dead: see [ServerOptions].PongTimeout.
var ErrNoPong = errors.New("websocket: no ping was answered in time")

// secondLook comes this long behind the first one that finds a peer dead, or a pong timeout if that is shorter: a reader that has
// only just come back finds what waited in the kernel.
const secondLook = time.Second

// pulse pings, and waits for signs of life where pings have answers.
//
// The clock starts when a ping has left and stops at any byte that comes, a pong's or another's, and at any data written, which the peer
// may be slow to take. It does not run while a write waits for the peer, since no ping gets past that, nor while the owner does
// not read, since nobody would see a pong. A connection that holds a write up for good is TCP's to end.
type pulse struct {
	every   time.Duration
	ping    []byte
	timeout time.Duration // for the answer; 0 waits for none
	next    time.Time     // when to ping again
	doubted int64         // the clock at the first look that found the peer dead

	asked   atomic.Int64 // the clock: when the oldest ping without an answer left; 0 = it stands
	reading atomic.Bool  // the owner waits for bytes
}

const leaving = -1 // of pulse.asked: a ping is being written

var epoch = time.Now() // of pulse.asked

// interval is drawn from [0.8, 1.0] of the one asked for: tunnels that were opened together do not go on pinging together, and none
// pings later than its operator said.
func (p *pulse) interval() time.Duration { return p.every - rand.N(p.every/5+1) }

// life is a sign of it.
func (p *pulse) life() {
	if p.asked.Load() != 0 {
		p.asked.Store(0)
	}
}

// look tells whether the peer is dead, and when to look again, 0 if not before the next ping.
func (p *pulse) look(now time.Time) (dead bool, again time.Duration) {
	if p.timeout == 0 {
		return false, 0
	}
	asked := p.asked.Load()
	if asked == 0 {
		return false, 0
	}
	left := p.timeout
	if asked != leaving {
		left -= now.Sub(epoch) - time.Duration(asked)
	}
	switch {
	case left > 0:
		return false, left
	case !p.reading.Load():
		p.asked.CompareAndSwap(asked, int64(now.Sub(epoch)))
		return false, p.timeout
	case p.doubted != asked:
		p.doubted = asked
		return false, min(p.timeout, secondLook)
	}
	return true, 0
}

// keepAlive pings until close; timeout is that of the answer, 0 if there is none.
func (o *outbox) keepAlive(every, timeout time.Duration, ping []byte) {
	if every <= 0 {
		return
	}
	o.qmu.Lock()
	defer o.qmu.Unlock()
	o.pulse.every, o.pulse.timeout, o.pulse.ping = every, max(timeout, 0), ping
	first := o.pulse.interval()
	o.pulse.next = time.Now().Add(first)
	o.arm(first, o.tick)
}

// arm sets the timer, which runs f, the same one each time, and accounts for it. qmu is held.
func (o *outbox) arm(after time.Duration, f func()) {
	if o.closed {
		return
	}
	o.wg.Add(1)
	if o.timer == nil {
		o.timer = time.AfterFunc(after, f)
		return
	}
	o.timer.Reset(after)
}

func (o *outbox) tick() {
	defer o.wg.Done()
	o.qmu.Lock()
	defer o.qmu.Unlock()
	if o.closed {
		return
	}
	now := time.Now()
	dead, again := o.pulse.look(now)
	if dead {
		o.giveUp()
		return
	}
	if !now.Before(o.pulse.next) {
		o.postLocked(control{frame: o.pulse.ping, ping: true})
		o.pulse.next = now.Add(o.pulse.interval())
		if again == 0 {
			again = o.pulse.timeout // the ping has not left yet, but will have by then
		}
	}
	wake := o.pulse.next.Sub(now)
	if again > 0 {
		wake = min(wake, again)
	}
	o.arm(wake, o.tick)
}

// giveUp tells the peer, should it be there after all, and wakes the owner's Read. qmu is held.
func (o *outbox) giveUp() {
	o.dead.Store(true)
	code := binary.BigEndian.AppendUint16(nil, uint16(ws.StatusInternalServerError))
	o.postLocked(control{frame: append([]byte{0x80 | byte(opClose), byte(len(code))}, code...), final: true})
	o.conn.SetReadDeadline(time.Unix(1, 0))
}

// setReadDeadline is the owner's; the one of a dead peer stays.
func (o *outbox) setReadDeadline(t time.Time) error {
	o.qmu.Lock()
	defer o.qmu.Unlock()
	if o.dead.Load() {
		return nil
	}
	return o.conn.SetReadDeadline(t)
}
