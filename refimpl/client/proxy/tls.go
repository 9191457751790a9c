package proxy

import (
	"crypto/tls"
	"io"
	"net"

	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

// startTLS is the server's side of TLS on the local port, with a client that may offer alpn and nothing else.
func (s *Server) startTLS(conn net.Conn, alpn ...string) *tls.Conn {
	config := s.LocalTLS.Clone()
	config.NextProtos = alpn
	config.SessionTicketsDisabled = true // the keys are the copy's, which no other connection has
	return tls.Server(splice.WatchEOF(conn), config)
}

// reread is a connection of which something was read too early: unread begins with it.
type reread struct {
	net.Conn
	unread io.Reader
}

func (r *reread) Read(p []byte) (int, error) { return r.unread.Read(p) }

// Unwrap shows the layer below.
func (r *reread) Unwrap() net.Conn { return r.Conn }
