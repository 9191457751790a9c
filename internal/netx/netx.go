// Package netx has the few things about connections that several rooms need and net does not offer: half-close and reset
// through any number of wrappers, and an address that refuses.
package netx

import (
	"errors"
	"net"
)

// unwrapper is a connection built on another one: tls.Conn has NetConn, ours have Unwrap.
type (
	unwrapper interface{ Unwrap() net.Conn }
	netConner interface{ NetConn() net.Conn }
)

// TCP returns the TCP connection under any number of wrappers, or nil.
func TCP(c net.Conn) *net.TCPConn {
	for c != nil {
		switch v := c.(type) {
		case *net.TCPConn:
			return v
		case netConner:
			c = v.NetConn()
		case unwrapper:
			c = v.Unwrap()
		default:
			return nil
		}
	}
	return nil
}

// ErrNoHalfClose is returned for a connection that cannot end one direction only.
var ErrNoHalfClose = errors.New("the connection cannot be half-closed")

// CloseWrite ends the outgoing direction: close_notify on TLS, FIN on TCP.
func CloseWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return ErrNoHalfClose
}

// Reset closes the TCP connection under c with a RST instead of a FIN, and c with it.
func Reset(c net.Conn) error {
	tcp := TCP(c)
	if tcp == nil {
		return c.Close()
	}
	return errors.Join(tcp.SetLinger(0), tcp.Close())
}
