package upgrade

import (
	"net"
	"net/http"
	"sync"
)

func init() { register(30, alpnType{}) }

// alpnType is the raw type: behind the 101 the connection is the tunnel. Nothing can be pinged.
type alpnType struct{}

func (alpnType) Name() string          { return "alpn" }
func (alpnType) NeedsConnection() bool { return false }

func (alpnType) Answer(*http.Request) (http.Header, *RefusedError) { return nil, nil }

func (t alpnType) Offer(ClientOptions) (http.Header, func(http.Header) error) {
	return http.Header{compatField: {t.Name()}}, func(http.Header) error { return nil }
}

func (alpnType) Server(conn net.Conn, first []byte, _ ServerOptions) net.Conn {
	return &rawConn{Conn: conn, first: first}
}

func (alpnType) Client(conn net.Conn, first []byte, _ ClientOptions) net.Conn {
	return &rawConn{Conn: conn, first: first}
}

// rawConn is a connection with bytes to be read before its own.
type rawConn struct {
	net.Conn
	mu    sync.Mutex // guards first
	first []byte
}

func (c *rawConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if len(c.first) > 0 {
		n := copy(p, c.first)
		if c.first = c.first[n:]; len(c.first) == 0 {
			c.first = nil
		}
		c.mu.Unlock()
		return n, nil
	}
	c.mu.Unlock()
	return c.Conn.Read(p)
}

// Buffered takes the bytes that a Read would return before those of the connection below. A caller that forwards them first may
// then go on with Unwrap's connection.
func (c *rawConn) Buffered() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.first
	c.first = nil
	return first
}

func (c *rawConn) Unwrap() net.Conn  { return c.Conn }
func (c *rawConn) CloseWrite() error { return closeWrite(c.Conn) }

// closeWrite half-closes the first connection below conn that can be.
func closeWrite(conn net.Conn) error {
	for conn != nil {
		if c, ok := conn.(interface{ CloseWrite() error }); ok {
			return c.CloseWrite()
		}
		u, ok := conn.(interface{ Unwrap() net.Conn })
		if !ok {
			break
		}
		conn = u.Unwrap()
	}
	return nil
}
