package router

import (
	"context"
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

// begin leaves a passthrough connection to the loop before its backend is connected: no goroutine waits for that. It tells whether
// it did, which it does where nothing but a PROXY header goes ahead of the client's bytes.
func (c *session) begin(conn net.Conn, r Route) bool {
	t := c.policy.upstreams[r.Name].attempts()
	a := t.left[0]
	if t.upstream.TLS != Off || c.starttls || !a.ip.IsValid() {
		return false
	}
	header, err := c.proxyHeader(t.upstream.SendProxy, nil)
	if err != nil {
		return false // dial says it again
	}
	policy := c.policy
	c.taken = c.server.loop.Dial(conn, splice.Dial{
		To: a.ip, Timeout: t.share(), Before: header, Control: setKeepAlive,
		Connected: func() {
			a.failed.Store(nil)
			c.tunnel()
		},
		Refused: func(client net.Conn, err error) {
			c.policy = policy
			a.fail()
			t.left, t.failed = t.left[1:], err
			c.refused(client, t)
		},
	})
	return c.taken != nil
}

// refused goes on where the loop could not: with the next address, or with the end.
func (c *session) refused(conn net.Conn, t attempts) {
	if conn == nil {
		c.end(outcomeDial, t.failed.Error())
		c.finish()
		return
	}
	c.root = conn
	stop := context.AfterFunc(c.server.cutCtx, func() { splice.Abort(conn) })
	c.connect(conn, t)
	c.settle(stop)
}
