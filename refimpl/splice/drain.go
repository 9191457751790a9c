package splice

import (
	"context"
	"net"
	"time"
)

// drain waits until the peer has acknowledged all that was sent, as long as it takes something, and tells whether it has. step, if
// not nil, is done before each look.
func (e *end) drain(ctx context.Context, step func(*net.TCPConn)) bool {
	if e.tcp == nil {
		return true
	}
	begun := time.Now()
	last, best := begun, int(^uint(0)>>1)
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		if step != nil {
			step(e.tcp)
		}
		n, now := unsent(e.tcp), time.Now()
		if n < best {
			best, last = n, now
		}
		if n == 0 || now.Sub(last) > drainStall || now.Sub(begun) > drainMost {
			return n == 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// settle readies a side that has ended cleanly for Close. A layer over TCP may stop at its own end and leave bytes unread, a
// close_notify behind a closing frame for one; see discard.
func (e *end) settle(ctx context.Context) {
	if e.tcp == nil || e.rest == net.Conn(e.tcp) {
		return // plain TCP has been read to its FIN: the kernel delivers what is queued after Close
	}
	e.drain(ctx, discard)
}
