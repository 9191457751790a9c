package albsim

import (
	"crypto/tls"
	"net"
	"time"
)

// plainConn lies above TLS: faults of layer plaintext get at what goes through it.
type plainConn struct {
	*tls.Conn
	wire *wire
}

// overTLS is for a TLS connection whose handshake is over. Until then nothing of layer plaintext happens but an end by the clock,
// which comes with the first byte.
func (c *rawConn) overTLS(conn *tls.Conn) *plainConn {
	c.wire.tls.Store(conn)
	return &plainConn{conn, c.wire}
}

func (c *plainConn) Read(p []byte) (int, error)  { return c.wire.plainIn.pass(p) }
func (c *plainConn) Write(p []byte) (int, error) { return c.wire.plainOut.send(p) }

// NetConn is TLS, and not what is below it.
func (c *plainConn) NetConn() net.Conn { return c.Conn }

func (c *plainConn) SetDeadline(t time.Time) error {
	c.wire.plainIn.setDeadline(t)
	c.wire.plainOut.setDeadline(t)
	return c.Conn.SetDeadline(t)
}

func (c *plainConn) SetReadDeadline(t time.Time) error {
	c.wire.plainIn.setDeadline(t)
	return c.Conn.SetReadDeadline(t)
}

func (c *plainConn) SetWriteDeadline(t time.Time) error {
	c.wire.plainOut.setDeadline(t)
	return c.Conn.SetWriteDeadline(t)
}
