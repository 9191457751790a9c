package router

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

// attempts are the addresses of a backend that may still be tried, and what became of the first ones.
type attempts struct {
	upstream *upstream
	left     []*address
	until    time.Time
	failed   error // of those tried; nil when none was
}

func (u *upstream) attempts() attempts {
	return attempts{upstream: u, left: u.order(), until: time.Now().Add(time.Duration(u.DialTimeout))}
}

// share is the time for the next address: a half of what is left when two addresses are.
func (t *attempts) share() time.Duration { return time.Until(t.until) / time.Duration(len(t.left)) }

// connect joins a client to the backend of a route, in the loop if it can: no goroutine waits for the backend then. secure is the
// client's session, nil for a passthrough route.
func (c *session) connect(client net.Conn, secure *tls.Conn, r Route) {
	t := c.policy.upstreams[r.Name].attempts()
	if !c.begin(client, secure, t) {
		c.reach(client, secure, t)
	}
}

// begin leaves a client to the loop before its backend is connected, and tells whether it did: it does where nothing but a PROXY
// header goes ahead of the client's bytes.
func (c *session) begin(client net.Conn, secure *tls.Conn, t attempts) bool {
	a := t.left[0]
	if t.upstream.TLS != Off || c.asksForTLS(secure, t.upstream) || !a.ip.IsValid() {
		return false
	}
	header, err := c.proxyHeader(t.upstream.SendProxy, secure)
	if err != nil {
		return false // dial says it again
	}
	policy := c.policy
	c.taken = c.server.loop.Dial(client, splice.Dial{
		To: a.ip, Timeout: t.share(), Before: header, Control: setKeepAlive,
		Connected: func() {
			a.failed.Store(nil)
			c.tunnel()
		},
		Refused: func(client net.Conn, err error) {
			c.policy = policy
			a.fail()
			t.left, t.failed = t.left[1:], err
			c.refused(client, secure, t)
		},
	})
	return c.taken != nil
}

// refused goes on where the loop could not: with the next address, or with the end.
func (c *session) refused(client net.Conn, secure *tls.Conn, t attempts) {
	if client == nil {
		c.end(outcomeDial, t.failed.Error())
		c.finish()
		return
	}
	c.root = client
	stop := context.AfterFunc(c.server.cutCtx, func() { splice.Abort(client) })
	c.reach(client, secure, t)
	c.settle(stop)
}

// reach is connect without the loop.
func (c *session) reach(client net.Conn, secure *tls.Conn, t attempts) {
	backend, err := c.dial(t, client, secure)
	if err == nil && c.asksForTLS(secure, t.upstream) {
		err = c.askForTLS(backend)
	}
	if err != nil {
		c.end(outcomeDial, err.Error())
		splice.Abort(client)
		return
	}
	c.join(client, backend)
}

// asksForTLS tells whether the backend is to be asked for the TLS that its client asked this router for, or began without asking.
func (c *session) asksForTLS(secure *tls.Conn, u *upstream) bool {
	return secure == nil && (c.starttls || u.asks)
}
