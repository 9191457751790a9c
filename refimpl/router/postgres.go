package router

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/clienthello"
	"github.com/tlsroute/tlsroute-bench/refimpl/route"
	"github.com/tlsroute/tlsroute-bench/refimpl/sniff"
	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

// postgresALPN is what PostgreSQL clients offer since version 17 (IANA, "TLS ALPN Protocol IDs"); older ones offer nothing.
const postgresALPN = "postgresql"

// postgres answers the requests that a PostgreSQL client may send before its ClientHello ("SSL Session Encryption" and "GSSAPI Session
// Encryption" in the protocol's message flow): a GSSENCRequest first, an SSLRequest, each once, or a CancelRequest instead.
func (c *session) postgres(kind sniff.Kind, conn net.Conn, depth int, deadline time.Time) {
	var err error
	if kind == sniff.PostgresGSS {
		if kind, conn, err = c.answerPostgres(conn, 'N', deadline); err != nil {
			c.end(outcomeSilent, "behind a GSSENCRequest: "+err.Error())
			return
		}
	}
	if kind == sniff.PostgresCancel {
		c.cancel(conn, depth, deadline)
		return
	}
	if kind == sniff.PostgresSSL {
		if kind, conn, err = c.answerPostgres(conn, 'S', deadline); err != nil {
			c.end(outcomeSilent, "behind an SSLRequest: "+err.Error())
			return
		}
		// A client may send its ClientHello along with the request. Nothing else may be there: what came in the clear must not count
		// as said under TLS (CVE-2021-23214, CVE-2021-23222), and it cannot, since all of it goes through the TLS that begins here.
		if kind == sniff.TLS {
			c.starttls = true
			c.hello(conn, depth, max(time.Until(deadline), time.Millisecond))
			return
		}
	}
	c.end(outcomeUnknown, "PostgreSQL, then: "+kind.String())
	linger(conn)
}

// answerPostgres answers an 8-byte request that conn is about to give back, and finds out what comes next.
func (c *session) answerPostgres(conn net.Conn, answer byte, deadline time.Time) (sniff.Kind, net.Conn, error) {
	var request [8]byte
	if _, err := io.ReadFull(conn, request[:]); err != nil {
		return sniff.Unknown, conn, err
	}
	conn.SetWriteDeadline(deadline)
	defer conn.SetWriteDeadline(time.Time{})
	if _, err := conn.Write([]byte{answer}); err != nil {
		return sniff.Unknown, conn, err
	}
	return c.peek(conn, deadline)
}

// cancel passes a CancelRequest on, and the client learns from the end of its connection that it was taken. No byte behind the request
// crosses, since a route's TLS and its client certificates have not been asked for: the key in the request is all its authority, in
// PostgreSQL itself too.
func (c *session) cancel(conn net.Conn, depth int, deadline time.Time) {
	if depth == 0 && !c.countAs(c.source.Addr()) {
		return
	}
	r := c.policy.config.Routes[c.policy.openers.postgres]
	c.sni, c.alpn, c.route = "", "", r.Name
	conn.SetReadDeadline(deadline)
	request := make([]byte, 4, 268) // sniff has seen to the length
	_, err := io.ReadFull(conn, request)
	if err == nil {
		request = request[:binary.BigEndian.Uint32(request)]
		_, err = io.ReadFull(conn, request[4:])
	}
	if err != nil {
		c.end(outcomeSilent, "read CancelRequest: "+err.Error())
		return
	}
	backend, err := c.dial(c.policy.upstreams[r.Name].attempts(), conn, nil)
	if err != nil {
		c.end(outcomeDial, err.Error())
		splice.Abort(conn)
		return
	}
	defer backend.Close()
	stop := context.AfterFunc(c.server.cutCtx, func() { backend.Close() })
	defer stop()
	backend.SetDeadline(time.Now().Add(DefaultDialTimeout))
	n, err := backend.Write(request)
	c.in += int64(n)
	if err == nil {
		_, err = backend.Read(request[:1]) // a server has nothing to say to it
	}
	c.end(outcomeJoined, "CancelRequest")
	if err != nil && !errors.Is(err, io.EOF) {
		c.end(outcomeJoined, "CancelRequest: "+err.Error())
		splice.Abort(conn)
	}
}

// match asks the table about a ClientHello. Behind an SSLRequest it is known what the client speaks, which no HTTP endpoint does: no
// ALPN counts as "postgresql" there, and without a name, or with an own one, the route in plaintext.postgres is the default.
func (c *session) match(info *clienthello.Info) route.Decision {
	table := c.policy.table
	if !c.starttls {
		return table.Match(info.ServerName, info.ALPN)
	}
	alpn := info.ALPN
	if len(alpn) == 0 {
		alpn = []string{postgresALPN}
	}
	d := table.Match(info.ServerName, alpn)
	if d.Kind == route.NoALPN && !table.Claims(info.ServerName) && slices.Contains(alpn, postgresALPN) {
		d = route.Decision{Kind: route.RouteKind, Index: c.policy.openers.postgres, ALPN: postgresALPN, Why: "plaintext.postgres"}
	}
	if len(info.ALPN) == 0 {
		d.ALPN = "" // nothing to confirm
	}
	return d
}

// askForTLS sends the SSLRequest that a passthrough backend has missed: it was answered here, so that there was a name to route by.
// On an error backend is closed.
func (c *session) askForTLS(backend net.Conn) error {
	stop := context.AfterFunc(c.server.cutCtx, func() { backend.Close() })
	defer stop()
	backend.SetDeadline(time.Now().Add(DefaultDialTimeout))
	defer backend.SetDeadline(time.Time{})
	if err := startPostgres(backend); err != nil {
		backend.Close()
		return err
	}
	return nil
}
