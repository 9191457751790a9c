package clienthello

import (
	"errors"
	"net"
	"slices"
	"sync"
)

// Conn gives back bytes that were read too early, once and unmodified, and then reads from the connection below.
//
// Read, Buffered and Unwrap are for one goroutine at a time, Write and the rest are as safe as those of the connection below.
type Conn struct {
	net.Conn // the connection below

	mu     sync.Mutex // guards prefix: splice may take it while another goroutine still asks for Close
	prefix []byte
}

// NewConn returns a Conn that gives back prefix before it reads from conn. It keeps prefix, which the caller must not change.
// A *Conn is not stacked on another *Conn: the bytes are joined.
func NewConn(conn net.Conn, prefix []byte) *Conn {
	if below, ok := conn.(*Conn); ok {
		rest := below.Buffered()
		if len(rest) > 0 {
			prefix = append(slices.Clip(prefix), rest...)
		}
		conn = below.Conn
	}
	return &Conn{Conn: conn, prefix: prefix}
}

// Read returns the bytes held first; it never mixes them with fresh ones.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if len(c.prefix) > 0 && len(p) > 0 {
		n := copy(p, c.prefix)
		c.prefix = c.prefix[n:]
		if len(c.prefix) == 0 {
			c.prefix = nil // lets the buffer go: a tunnel may idle for days
		}
		c.mu.Unlock()
		return n, nil
	}
	c.mu.Unlock()
	return c.Conn.Read(p)
}

// Buffered takes the bytes not read yet: a second call returns nil. After it the connection that Unwrap returns may be used
// directly and nothing is lost.
func (c *Conn) Buffered() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.prefix
	c.prefix = nil
	return p
}

// Unwrap returns the connection below, which knows nothing of the bytes still held: take them with Buffered first.
func (c *Conn) Unwrap() net.Conn { return c.Conn }

// CloseWrite shuts down the sending side of the connection below.
func (c *Conn) CloseWrite() error {
	for conn := c.Conn; ; {
		if cw, ok := conn.(interface{ CloseWrite() error }); ok {
			return cw.CloseWrite()
		}
		u, ok := conn.(interface{ Unwrap() net.Conn })
		if !ok {
			return errNoCloseWrite
		}
		conn = u.Unwrap()
	}
}

var errNoCloseWrite = errors.New("half-close: the connection below has no CloseWrite")
