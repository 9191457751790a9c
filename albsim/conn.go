package albsim

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// rawConn lies under every front and target connection. It notes the hello of a TLS server, and the end of the stream
// below TLS: crypto/tls reports an end without close_notify as a clean one when it falls on a record boundary. Faults get at
// its bytes through wire.
type rawConn struct {
	net.Conn
	wire   *wire
	hello  *tls.ClientHelloInfo
	chosen *tls.Certificate // what a TLS server answered that with
	eof    atomic.Bool
	muted  atomic.Bool // what is written is dropped: crypto/tls cannot fail a handshake without an alert
	closed func()      // called once, by the first Close; nil for nothing
	once   sync.Once
}

func (c *rawConn) Close() error {
	c.once.Do(func() {
		c.wire.gone()
		if c.closed != nil {
			c.closed()
		}
	})
	return c.Conn.Close()
}

func (c *rawConn) Read(p []byte) (int, error) {
	n, err := c.wire.read(p)
	if errors.Is(err, io.EOF) {
		c.eof.Store(true)
	}
	return n, err
}

func (c *rawConn) Write(p []byte) (int, error) {
	if c.muted.Load() {
		return len(p), nil
	}
	return c.wire.write(p)
}

func (c *rawConn) SetDeadline(t time.Time) error {
	c.wire.deadlines(true, true, t)
	return c.Conn.SetDeadline(t)
}

func (c *rawConn) SetReadDeadline(t time.Time) error {
	c.wire.deadlines(true, false, t)
	return c.Conn.SetReadDeadline(t)
}

func (c *rawConn) SetWriteDeadline(t time.Time) error {
	c.wire.deadlines(false, true, t)
	return c.Conn.SetWriteDeadline(t)
}

func (c *rawConn) NetConn() net.Conn { return c.Conn }

// truncated tells whether a TLS connection that just gave EOF ended without close_notify.
func truncated(c net.Conn) bool {
	if _, ok := below[*tls.Conn](c); !ok {
		return false
	}
	raw, ok := below[*rawConn](c)
	return ok && raw.eof.Load()
}

// meteredConn counts plaintext bytes and touches the watchdog of the moment. It stands above TLS, so that records
// without content, and below them TCP keep-alive, do not count as activity.
type meteredConn struct {
	net.Conn
	dog     atomic.Pointer[watchdog]
	in, out atomic.Int64
}

func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.in.Add(int64(n))
		c.dog.Load().touch()
	}
	return n, err
}

func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.out.Add(int64(n))
		c.dog.Load().touch()
	}
	return n, err
}

// NetConn is what the bytes go through below.
func (c *meteredConn) NetConn() net.Conn { return c.Conn }

// longAgo as a deadline wakes whoever waits.
var longAgo = time.Unix(1, 0)

// below goes down through wrappers until one has the ability T.
func below[T any](c net.Conn) (T, bool) {
	for c != nil {
		if t, ok := c.(T); ok {
			return t, true
		}
		switch w := c.(type) {
		case interface{ NetConn() net.Conn }:
			c = w.NetConn()
		case interface{ Unwrap() net.Conn }:
			c = w.Unwrap()
		default:
			c = nil
		}
	}
	var none T
	return none, false
}

// closeWrite ends our direction: close_notify on a TLS connection, FIN on a plain one.
func closeWrite(c net.Conn) error {
	if w, ok := below[interface{ CloseWrite() error }](c); ok {
		return w.CloseWrite()
	}
	return c.Close()
}

// reset closes with RST. The lowest connection is closed first: closing a TLS connection would write close_notify.
func reset(c net.Conn) {
	if tcp, ok := below[interface{ SetLinger(int) error }](c); ok {
		_ = tcp.SetLinger(0) // fails on a socket that is gone: nothing to reset then
		if low, ok := tcp.(net.Conn); ok {
			low.Close()
		}
	}
	if raw, ok := below[*rawConn](c); ok {
		_ = raw.Close() // nothing that a fault holds back is waited for
	}
	c.Close()
}

// closeGrace is how long a close_notify may wait for room on its way; crypto/tls itself would wait five seconds for a peer
// that reads nothing.
const closeGrace = 100 * time.Millisecond

// closeSoon closes cleanly if that can be done at once, and below TLS if not.
func closeSoon(c net.Conn) {
	if tlsConn, ok := below[*tls.Conn](c); ok {
		defer time.AfterFunc(closeGrace, func() { tlsConn.NetConn().Close() }).Stop()
	}
	c.Close()
}
