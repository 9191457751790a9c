package splice

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Loop moves the bytes of many tunnels without a goroutine for any of them: an idle tunnel between two TCP sockets is two
// descriptors and a few hundred bytes, and with layers at an end what these need besides. What it means for a tunnel to end is what it
// means to [Join], which takes over when one ends in any other way than cleanly.
//
// The zero value is ready; its goroutines start with the first tunnel.
type Loop struct {
	mu      sync.Mutex // guards what follows
	pollers []*poller
	next    int
	closed  bool

	spliced atomic.Int64

	ctx    context.Context //nolint:containedctx // the life of the tunnels, which no call bounds; it ends in Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Taken is a tunnel that a loop has taken over and does not serve yet.
type Taken struct {
	poller *poller
	pair   *pair
}

// Take takes two connections over if each is TCP, or layers on TCP, and if the system has a way. The layers may be a tls.Conn on WatchEOF, a
// [Framer] that was put on what [Prepare] returned, and those that only hold bytes, in any order; otherwise it returns nil, and nothing has changed. What it has taken is nobody else's to read, write or close any more, and
// does nothing before [Taken.Start].
func (l *Loop) Take(a, b net.Conn) *Taken { return l.take(a, b) }

// Dial says where a second end is.
type Dial struct {
	To      netip.AddrPort
	Timeout time.Duration
	// Before is sent ahead of what the first end says; nil is nothing.
	Before []byte
	// Control may set options of the socket before it connects; nil sets none.
	Control func(fd int) error
	// Connected is told when the second end is there. It holds the loop up.
	Connected func()
	// Refused is called instead of done when no connection comes about, by a goroutine of the loop's. It owns the first end again, with all
	// that was read of it; client is nil when there was no descriptor left to give it back on, and the peer has been reset.
	Refused func(client net.Conn, err error)
}

// Dial is Take for a second end that is still to be connected, which costs no goroutine and no second registration with the kernel. It
// returns nil, and nothing has changed, if client is none that Take takes, if the connection could not even begin, or if the system has
// no way.
func (l *Loop) Dial(client net.Conn, d Dial) *Taken { return l.dial(client, d) }

// Start serves the tunnel. done is called once, by a goroutine of the loop's and after both sockets are closed.
func (t *Taken) Start(done func(Report)) {
	t.pair.done = done
	t.poller.add(t.pair)
}

// Spliced is how many bytes the kernel has moved for the loop's tunnels so far, those that are open included.
func (l *Loop) Spliced() int64 { return l.spliced.Load() }

// Close resets every tunnel and returns when each done has returned. It may be called more than once.
func (l *Loop) Close() {
	l.mu.Lock()
	if !l.closed && l.pollers != nil {
		l.cancel()
		for _, p := range l.pollers {
			p.stop()
		}
	}
	l.closed = true
	l.mu.Unlock()
	l.wg.Wait()
}

// bottom is the TCP connection under layers that only hold bytes, which stay where they are; nil when there is something else.
func bottom(conn net.Conn) *net.TCPConn {
	for {
		h, ok := conn.(holder)
		if !ok {
			tcp, _ := conn.(*net.TCPConn)
			return tcp
		}
		conn = h.Unwrap()
	}
}
