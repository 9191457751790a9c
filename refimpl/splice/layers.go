package splice

import (
	"crypto/tls"
	"errors"
	"net"
)

var errNoHalfClose = errors.New("half-close: the connection has no CloseWrite")

// below returns the layer under conn, nil when there is none to be seen.
func below(conn net.Conn) net.Conn {
	switch c := conn.(type) {
	case interface{ NetConn() net.Conn }: // tls.Conn
		return c.NetConn()
	case interface{ Unwrap() net.Conn }:
		return c.Unwrap()
	}
	return nil
}

func lowest(conn net.Conn) net.Conn {
	for {
		next := below(conn)
		if next == nil {
			return conn
		}
		conn = next
	}
}

// holder is a layer that only holds bytes which were read too early.
type holder interface {
	Buffered() []byte // takes them
	Unwrap() net.Conn
}

// A Framer is a layer with bytes of its own among those of the tunnel. A [Loop] carries a stack with one when [Prepare] has been under it.
type Framer interface {
	Unwrap() net.Conn
	// Resumes promises that a Read goes on where it was when the layer below had nothing, which is a net.Error with Temporary and
	// Timeout, and that nobody but the owner reads.
	Resumes() bool
	// Waits tells whether the owner waits for bytes from now on. A Read is a wait as well, while it lasts.
	Waits(yes bool)
}

// lowestWatched is the lowest WatchEOF of a stack, nil when it has none.
func lowestWatched(conn net.Conn) (lowest *Watched) {
	for c := conn; c != nil; c = below(c) {
		if w, ok := c.(*Watched); ok {
			lowest = w
		}
	}
	return lowest
}

// peel takes the bytes held by the top layers and returns the first layer that does more than hold.
func peel(conn net.Conn) (rest net.Conn, held []byte) {
	for {
		h, ok := conn.(holder)
		if !ok {
			return conn, held
		}
		held = append(held, h.Buffered()...)
		conn = h.Unwrap()
	}
}

// CloseWrite ends the sending side of conn: by its own CloseWrite (FIN, close_notify, a closing frame), else by that of the layers
// that Unwrap shows below it.
func CloseWrite(conn net.Conn) error {
	for {
		switch c := conn.(type) {
		case interface{ CloseWrite() error }:
			return c.CloseWrite()
		case interface{ Unwrap() net.Conn }:
			conn = c.Unwrap()
		default:
			return errNoHalfClose
		}
	}
}

// Abort closes conn so that the peer cannot take it for a clean end: the lowest TCP connection is reset, and no layer gets to
// write a close_notify or a closing frame. Reads and writes in progress fail.
func Abort(conn net.Conn) {
	low := lowest(conn)
	if tcp, ok := low.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // an error means that it is closed
	}
	low.Close()
	conn.Close() // lets the upper layers go; what they write meets a closed connection
}

func hasTLS(conn net.Conn) bool {
	for c := conn; c != nil; c = below(c) {
		if _, ok := c.(*tls.Conn); ok {
			return true
		}
	}
	return false
}

// truncated tells whether the io.EOF read from conn came without the close_notify of its topmost TLS layer.
func truncated(conn net.Conn) bool {
	for c := conn; c != nil; c = below(c) {
		if t, ok := c.(*tls.Conn); ok {
			w, ok := t.NetConn().(interface{ SawEOF() bool })
			return ok && w.SawEOF()
		}
	}
	return false
}
