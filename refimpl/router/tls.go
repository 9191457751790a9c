package router

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/clienthello"
	"github.com/tlsroute/tlsroute-bench/refimpl/route"
	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// hello routes a stream that begins with a ClientHello.
func (c *session) hello(conn net.Conn, depth int, budget time.Duration) {
	limits := clienthello.Limits{Bytes: c.policy.config.Limits.ClientHelloBytes, Timeout: budget}
	info, conn, err := clienthello.Peek(conn, limits)
	if err != nil {
		c.end(outcomeHello, err.Error())
		if e := new(clienthello.Error); errors.As(err, &e) && e.Alert != 0 {
			c.alert(conn, e.Alert)
		}
		return
	}
	decision := c.match(info)
	c.sni, c.alpn, c.route = info.ServerName, decision.ALPN, ""
	event := HelloEvent{Conn: c.id, Source: c.source, SNI: info.ServerName, ALPN: info.ALPN, Tunnel: depth > 0}

	passes := decision.Kind == route.RouteKind && c.policy.config.Routes[decision.Index].Mode == ModePassthrough
	if info.InnerECH && !passes {
		// RFC 9849 section 7. crypto/tls would take it for what a client-facing server sends, and confirm it to anybody.
		c.tell(event, nil)
		c.end(outcomeHello, "an inner ClientHello came from the network")
		c.alert(conn, clienthello.AlertIllegalParameter)
		return
	}

	// No header will follow that names another client. Inside a tunnel somebody is counted already.
	http1 := decision.Kind == route.OwnEndpoint && decision.ALPN != "h2"
	if !http1 && depth == 0 && !c.countAs(c.source.Addr()) {
		return
	}
	switch decision.Kind {
	case route.RouteKind:
		r := c.policy.config.Routes[decision.Index]
		c.route, event.Route = r.Name, r.Name
		if r.Mode == ModePassthrough {
			c.tell(event, nil)
			c.connect(conn, nil, r)
			return
		}
		if secure := c.handshake(conn, c.policy.routes[decision.Index], decision.ALPN, event); secure != nil {
			c.terminate(secure, r, decision.ALPN)
		}
	case route.OwnEndpoint:
		if secure := c.handshake(conn, c.policy.own, decision.ALPN, event); secure != nil {
			defer c.closing(secure)
			if decision.ALPN == "h2" {
				c.http2(secure)
				return
			}
			c.http(secure, depth)
		}
	case route.Probe:
		if secure := c.handshake(conn, c.policy.probe, decision.ALPN, event); secure != nil {
			c.hold(secure)
		}
	case route.NoALPN:
		c.tell(event, nil)
		c.end(outcomeNoALPN, decision.Why)
		c.alert(conn, clienthello.AlertNoApplicationProtocol)
	default:
		c.tell(event, nil)
		c.end(outcomeNoName, decision.Why)
		c.alert(conn, clienthello.AlertUnrecognizedName)
	}
}

// tell reports a ClientHello, once its handshake is over where there is one.
func (c *session) tell(event HelloEvent, state *tls.ConnectionState) {
	if c.server.opt.OnHello == nil {
		return
	}
	if state != nil {
		event.ClientCert = len(state.PeerCertificates) > 0
		event.Resumed = state.DidResume
	}
	c.server.opt.OnHello(event)
}

// alert refuses a ClientHello that no TLS stack has seen.
func (c *session) alert(conn net.Conn, alert uint8) {
	if clienthello.WriteAlert(conn, alert) == nil {
		linger(conn)
	}
}

// handshake ends the client's TLS. It returns nil when that failed; the client's certificate has been verified when it did not.
func (c *session) handshake(conn net.Conn, t *terminator, alpn string, event HelloEvent) *tls.Conn {
	// The watch below tells a stream that just stops from one that was ended by close_notify (splice.Join looks for it).
	secure := tls.Server(splice.WatchEOF(conn), t.config(alpn))
	conn.SetDeadline(time.Now().Add(c.timeout()))
	err := secure.Handshake() // bounded by the deadline; ends with root too
	state := secure.ConnectionState()
	c.tell(event, &state)
	if err != nil {
		c.end(outcomeHandshake, "handshake: "+err.Error())
		linger(conn) // crypto/tls has sent the alert
		return nil
	}
	conn.SetDeadline(time.Time{})
	return secure
}

// terminate joins a client whose TLS ended here to its backend.
func (c *session) terminate(secure *tls.Conn, r Route, alpn string) {
	var client net.Conn = secure
	if strings.HasSuffix(alpn, PingSuffix) {
		client = upgrade.PingConn(splice.Prepare(secure), time.Duration(c.policy.config.Upgrade.PingInterval))
	}
	c.connect(client, secure, r)
}

// join leaves a client and its backend to be carried until both are done: by the loop, if it can.
func (c *session) join(client, backend net.Conn) {
	c.tunnel()
	if c.taken = c.server.loop.Take(client, backend); c.taken == nil {
		c.client, c.backend = client, backend
	}
}

// tunnel counts a client that has its backend, until joined.
func (c *session) tunnel() {
	c.tunnelled = true
	c.server.stats.tunnels.Add(1)
}

func (c *session) joined(report splice.Report) {
	if c.tunnelled {
		c.server.stats.tunnels.Add(-1)
	}
	c.in += report.AToB
	c.out += report.BToA
	cause := report.End
	if report.Err != nil {
		cause += ": " + report.Err.Error()
	}
	c.end(outcomeJoined, cause)
}

// hold keeps a probe's connection until the client has had enough, and ends it politely.
func (c *session) hold(secure *tls.Conn) {
	c.end(outcomeProbe, "probe")
	defer secure.Close()
	if secure.SetReadDeadline(time.Now().Add(probeHold)) != nil {
		return // the connection is closed
	}
	var one [1]byte
	_, _ = secure.Read(one[:]) // whatever comes of it is enough
	if secure.SetWriteDeadline(time.Now().Add(lingerTime)) == nil && secure.CloseWrite() == nil {
		linger(secure.NetConn())
	}
}
