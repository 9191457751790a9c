// Package proxy serves local ports for clients that cannot speak TLS routing: psql, mysql, ssh, kubectl, curl. Such a client
// speaks its plain protocol to the port, and every connection is carried to one route by a [client.Dialer].
//
//	db          PostgreSQL and MySQL, in plaintext, or with a local certificate under TLS that ends here: asked for by an SSLRequest
//	            of either protocol, or begun at once (PostgreSQL). A MySQL server that offers TLS by itself does that with its
//	            client. A CancelRequest goes the way its connection went. A dial that fails is told in the protocol's words.
//	ssh         the bytes as they are; also on standard input and output, for OpenSSH's ProxyCommand.
//	http, kube  HTTP/1.1 and h2c on the port, and what the route's ALPN names behind it. An Upgrade turns the connection into a
//	            tunnel, so that exec and attach of kubectl (WebSocket, SPDY) keep their half-closes and resets.
//
// Whoever reaches the port acts with the Dialer's client certificate: listen on loopback.
//
// A login that is bound to the server's TLS (SCRAM-SHA-256-PLUS of PostgreSQL, offered where the server sees TLS too) cannot succeed for
// a client whose own TLS ends here, which is what such a binding is for: connect with channel_binding=disable, and with TLS, since
// libpq does not take that offer without. [Server.Environment] says so.
//
// Sources: PostgreSQL "Message Flow" and "Message Formats" (SSLRequest, GSSENCRequest, CancelRequest, ErrorResponse), MySQL
// "Connection Phase", "SSLRequest" and "ERR_Packet", RFC 9110 section 7.8, RFC 9113 section 3.3.
package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/client"
	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

// Kind is what the clients of a local port speak.
type Kind string

// The kinds.
const (
	Database Kind = "db"
	SSH      Kind = "ssh"
	HTTP     Kind = "http"
	Kube     Kind = "kube" // as HTTP; Environment differs
)

const (
	defaultLimit  = 256
	openingTime   = 30 * time.Second // a client's opening message; PostgreSQL itself gives a login a minute
	answerTime    = time.Minute      // the service's first bytes, behind a dial that succeeded
	answerBytes   = 4096             // of these, as many at once
	whichProtocol = 2 * time.Second  // a client of unknown protocol that says nothing to a failed dial waits for the server
)

// Server carries the connections of one local port to one route. It must not be changed while it serves.
type Server struct {
	Kind   Kind
	Dialer *client.Dialer
	// LocalTLS is for database clients that want TLS on the local port, where it ends; nil tells them that there is none. Its
	// NextProtos do not matter.
	LocalTLS *tls.Config
	// Limit bounds the connections at a time; more of them wait in the kernel's queue. 0 means 256.
	Limit int
	// Say is told, one line each, why a connection failed; nil tells nobody. Several goroutines call it.
	Say func(line string)
}

// Serve accepts until ctx ends, which also cuts every connection and is no error. It closes listener, and everything it started
// is gone when it returns.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newListener(listener, s.Limit)
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // of a listener it can only be closed already
	defer stop()
	if s.Kind == HTTP || s.Kind == Kube {
		return s.serveHTTP(ctx, cancel, l)
	}
	var open sync.WaitGroup
	defer open.Wait()
	defer cancel() // before the wait
	defer func() { _ = l.Close() }()
	for {
		p, err := l.accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		open.Go(func() {
			defer func() { _ = p.Close() }() // splice has closed it, mostly
			if s.Kind == Database {
				s.database(ctx, p.Conn)
			} else {
				s.tunnel(ctx, p.Conn)
			}
		})
	}
}

// Stdio carries one connection, whose bytes come from in and go to out, as they are. Both are closed when they can be. It
// returns when the tunnel has ended; a read of in that cannot be interrupted is left behind, for the end of the process. An end
// that in, out or ctx brought about is no error.
func (s *Server) Stdio(ctx context.Context, in io.Reader, out io.Writer) error {
	remote, err := s.Dialer.Dial(ctx)
	if err != nil {
		return err
	}
	return remoteEnd(splice.Join(ctx, newStdio(in, out), remote, splice.Options{}))
}

// tunnel passes the bytes of conn as they are.
func (s *Server) tunnel(ctx context.Context, conn net.Conn) {
	remote, err := s.Dialer.Dial(ctx)
	if err != nil {
		s.failed(ctx, err)
		return
	}
	s.join(ctx, conn, remote)
}

// join carries both ways until the end of both, and tells of an end that was the route's fault.
func (s *Server) join(ctx context.Context, conn net.Conn, remote net.Conn) {
	if err := remoteEnd(splice.Join(ctx, conn, remote, splice.Options{})); err != nil {
		s.say(err)
	}
}

// remoteEnd is the failure of a tunnel's far end. How the local client leaves is its own business.
func remoteEnd(r splice.Report) error {
	switch r.End {
	case splice.EndResetB, splice.EndTruncatedB, splice.EndErrorB:
		return fmt.Errorf("the route cut the connection off (%s): %w", r.End, r.Err)
	}
	return nil
}

// failed tells of an error that ctx has not brought about.
func (s *Server) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		s.say(err)
	}
}

func (s *Server) say(err error) {
	if s.Say != nil {
		s.Say(err.Error())
	}
}

// firstAnswer reads the first bytes that the service sends. Under TLS 1.3 a router refuses a client certificate behind the
// handshake: the dial has succeeded by then, and this read says why there is nothing to come.
func firstAnswer(ctx context.Context, remote net.Conn) ([]byte, error) {
	release := bound(ctx, remote, answerTime)
	defer release()
	buf := make([]byte, answerBytes)
	n, err := remote.Read(buf)
	if n > 0 {
		return buf[:n], nil // an end that came along comes again
	}
	return nil, fmt.Errorf("no answer from the service: %w", err)
}

// bound puts a deadline on conn, which ctx brings forward. The function it returns takes it off.
func bound(ctx context.Context, conn net.Conn, limit time.Duration) (release func()) {
	conn.SetDeadline(time.Now().Add(limit))
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		conn.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-done
		}
		conn.SetDeadline(time.Time{})
	}
}
