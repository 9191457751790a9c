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

// farewell closes a side that has ended cleanly. Plain TCP has been read to its FIN: the kernel delivers what is queued after Close.
// A layer over TCP stops at its own end, and the peer may have more to say below it: a pong, the answer to a closing frame, the
// close_notify of the hop. Bytes that come to a closed socket reset the connection, and the reset takes with it what a load balancer
// in between has not passed on yet. So every layer says its end, and what still comes is thrown away until the peer's FIN, as a web
// server lingers (RFC 9112 section 9.6).
func (e *end) farewell(ctx context.Context) {
	if e.tcp != nil && e.rest != net.Conn(e.tcp) && e.drain(ctx, discard) {
		e.sayGoodbye()
		e.linger(ctx)
	}
	e.conn.Close()
}

// unwatch ends awaitReset, which would keep others from reading.
func (e *end) unwatch() {
	if e.tcp != nil {
		e.tcp.SetReadDeadline(time.Unix(1, 0))
	}
}

// sayGoodbye ends the sending side of each layer, from the top down.
func (e *end) sayGoodbye() {
	for c := e.conn; c != nil; c = below(c) {
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			// Set anew for each: crypto/tls puts one in the past behind its close_notify.
			e.tcp.SetWriteDeadline(time.Now().Add(goodbyeMost))
			_ = half.CloseWrite() // a peer that has left needs none
		}
	}
}

func (e *end) linger(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { e.tcp.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for until := time.Now().Add(drainMost); ctx.Err() == nil && time.Now().Before(until); {
		e.tcp.SetReadDeadline(time.Now().Add(lingerQuiet))
		if ctx.Err() != nil {
			return // it came before the deadline was set
		}
		if _, err := e.tcp.Read(buf[:]); err != nil {
			return
		}
	}
}
