package router

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/clienthello"
	"github.com/tlsroute/tlsroute-bench/refimpl/sniff"
	"github.com/tlsroute/tlsroute-bench/refimpl/sourceaddr"
	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

const (
	maxDepth    = 3                      // upgrades inside upgrades
	probeHold   = 5 * time.Second        // how long a probe may keep its connection
	lingerTime  = 500 * time.Millisecond // for a last answer to get past bytes that nobody read
	lingerBytes = 64 << 10

	firstRead = 2048 // a ClientHello of most clients at once, or a request

	maxLoggedName  = 255 // as long as a host name can be
	maxLoggedCause = 512
)

// session is one accepted connection, from its first byte to its log line. It is one goroutine's until it has become a tunnel; then that
// goroutine ends, and its stack, which a handshake has made deep, with it: a tunnel may idle for days.
type session struct {
	server *Server
	policy *policy // the one in force when it was accepted
	id     uint64
	began  time.Time
	root   net.Conn // as accepted; nil in a tunnel of the loop's

	// What join has found: a tunnel of the loop's, or one for splice.Join.
	taken           *splice.Taken
	client, backend net.Conn
	tunnelled       bool // it counts as a tunnel

	hop    netip.AddrPort // the other end of root, or the source that its PROXY header names
	source netip.AddrPort // the client: hop, or whom a trusted hop speaks for
	dest   netip.AddrPort // where the client connected to

	counted netip.Addr // holds one of the places of limits.connections_per_ip

	starttls bool // the stream began with a PostgreSQL SSLRequest

	// For the log line; the innermost ClientHello wins.
	sni, alpn, route, cause string
	outcome                 string
	upgrades                []string
	in, out                 int64
}

func newSession(s *Server, p *policy, conn net.Conn) *session {
	c := &session{server: s, policy: p, id: s.nextID.Add(1), began: time.Now(), root: conn}
	c.hop, c.dest = addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr())
	c.source = c.hop
	return c
}

func addrPort(addr net.Addr) netip.AddrPort {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	}
	ap, _ := netip.ParseAddrPort(addr.String())
	return ap
}

// serve does everything up to a tunnel, or to the end of the connection.
func (c *session) serve() {
	// Every read and write below, and those of the tunnels stacked on root, end when root is gone.
	root := c.root
	stop := context.AfterFunc(c.server.cutCtx, func() { splice.Abort(root) })
	c.admitted()
	c.settle(stop)
}

// settle leaves a tunnel to whoever carries it, and ends what is none.
func (c *session) settle(stop func() bool) {
	switch {
	case c.taken != nil:
		stop()
		taken := c.taken
		c.taken, c.root, c.policy = nil, nil, nil
		taken.Start(c.carried)
	case c.client != nil:
		go c.carry(stop)
	default:
		stop()
		c.root.Close()
		c.finish()
	}
}

// carry is the rest of a connection that the loop cannot carry.
func (c *session) carry(stop func() bool) {
	client, backend := c.client, c.backend
	c.client, c.backend, c.policy = nil, nil, nil
	c.joined(splice.Join(c.server.cutCtx, client, backend, splice.Options{}))
	stop()
	c.root.Close()
	c.finish()
}

// closing closes a connection that did not become a tunnel.
func (c *session) closing(conn net.Conn) {
	if c.taken == nil && c.client == nil {
		conn.Close()
	}
}

// carried is told when the loop has carried the tunnel to its end.
func (c *session) carried(report splice.Report) {
	c.joined(report)
	c.finish()
}

// finish gives back what the connection held and says in one line what it was.
func (c *session) finish() {
	defer c.server.release()
	c.uncount()
	c.server.stats.count(c.route, c.outcome)
	c.server.stats.in.Add(c.in)
	c.server.stats.out.Add(c.out)
	c.server.log.LogAttrs(context.Background(), slog.LevelInfo, "connection",
		slog.Uint64(keyConn, c.id),
		slog.String(keySNI, clip(c.sni, maxLoggedName)),
		slog.String(keyALPN, c.alpn),
		slog.String(keyRoute, c.route),
		slog.String(keyUpgrade, strings.Join(c.upgrades, ">")),
		slog.String(keySource, c.source.String()),
		slog.Int64(keyIn, c.in),
		slog.Int64(keyOut, c.out),
		slog.Duration(keyDur, time.Since(c.began)),
		slog.String(keyOutcome, c.outcome),
		slog.String(keyCause, clip(c.cause, maxLoggedCause)),
	)
}

// clip bounds what a stranger can put into the log: a ClientHello may carry a name, or a list of them, of 64 KiB.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// admitted finds out who is there and holds a place for that address.
func (c *session) admitted() {
	conn := c.root
	proxy := c.policy.config.ProxyProtocol
	if proxy.Mode != Off {
		inner, ends, err := sourceaddr.ReadProxy(conn, sourceaddr.Policy{
			Mode:    sourceaddr.Mode(proxy.Mode),
			Trusted: c.policy.proxies,
			Timeout: c.timeout(),
		})
		if err != nil {
			c.end(outcomeProxy, err.Error())
			return
		}
		conn = inner
		if ends.Source.IsValid() {
			c.hop, c.dest = ends.Source, ends.Destination
			c.source = c.hop
		}
	}
	// Behind a load balancer every connection has its address: whose it is, is known and counted once the opener is read.
	if !sourceaddr.Trusted(c.source.Addr(), c.policy.forwarders) && !c.countAs(c.source.Addr()) {
		return
	}
	c.handle(conn, 0)
}

func (c *session) end(outcome, cause string) { c.outcome, c.cause = outcome, cause }

func (c *session) timeout() time.Duration {
	return time.Duration(c.policy.config.Limits.ClientHelloTimeout)
}

// handle serves a stream from its first byte: a connection, or a tunnel that an upgrade made of one. It closes conn, unless
// that has become a tunnel.
func (c *session) handle(conn net.Conn, depth int) {
	defer c.closing(conn)
	c.starttls = false
	// One budget for all that comes before the handshake, the first byte and the whole ClientHello included.
	deadline := time.Now().Add(c.timeout())
	open := c.policy.openers
	if depth == 0 && open.serverFirst >= 0 { // through an upgrade the client always speaks first
		var mute bool
		if conn, mute = silent(conn, time.Duration(c.policy.config.Plaintext.ServerFirst.After)); mute {
			c.plain(conn, depth, open.serverFirst)
			return
		}
	}
	kind, conn, err := c.peek(conn, deadline)
	if err != nil {
		c.end(outcomeSilent, err.Error())
		return
	}
	switch {
	case kind == sniff.TLS:
		c.hello(conn, depth, max(time.Until(deadline), time.Millisecond))
	case kind == sniff.HTTP1:
		c.http(conn, depth)
	case kind == sniff.H2Preface:
		if depth > 0 || c.countAs(c.source.Addr()) {
			c.http2(conn)
		}
	case kind == sniff.SSH && open.ssh >= 0:
		c.plain(conn, depth, open.ssh)
	case (kind == sniff.PostgresSSL || kind == sniff.PostgresGSS || kind == sniff.PostgresCancel) && open.postgres >= 0:
		c.postgres(kind, conn, depth, deadline)
	default:
		c.end(outcomeUnknown, "first bytes: "+kind.String())
		linger(conn)
	}
}

// peek reads until the kind of the stream is known; the connection it returns gives those bytes back.
func (c *session) peek(conn net.Conn, deadline time.Time) (sniff.Kind, net.Conn, error) {
	conn.SetReadDeadline(deadline)
	defer conn.SetReadDeadline(time.Time{})
	buf := make([]byte, firstRead)
	n := 0
	for {
		m, err := conn.Read(buf[n:])
		n += m
		if m > 0 {
			if kind := sniff.Sniff(buf[:n]); kind != sniff.NeedMore || n >= sniff.MaxBytes {
				return kind, clienthello.NewConn(conn, buf[:n:n]), nil
			}
		}
		if err != nil {
			return sniff.Unknown, conn, err
		}
	}
}

// linger ends the sending side and waits for the client's, for a moment: closing a socket with unread bytes sends a reset,
// which can overtake what was said last.
func linger(conn net.Conn) {
	if splice.CloseWrite(conn) != nil {
		return
	}
	conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, conn, lingerBytes) // its end is what is waited for
}
