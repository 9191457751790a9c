package albsim

import (
	"context"
	"errors"
)

// overHTTP1 is the carrier of protocol version HTTP1.
type overHTTP1 struct{}

func (overHTTP1) accepts(req *request) bool { return !req.grpc() }

func (overHTTP1) carry(ctx context.Context, x *exchange, l *lease, fields []field) *targetConn {
	ctx, end := l.within(ctx)
	defer end()
	address, secure, sni := l.target.address, l.group.secure, ""
	if secure && x.s.plan.profile.BackendSNI == "host" {
		sni = hostOnly(x.req.host)
	}
	for fresh := false; ; fresh = true {
		var c *targetConn
		if !fresh {
			c = x.s.pool.get(targetKey(address, sni, secure))
		}
		if c == nil {
			var err error
			if c, err = x.s.dialTarget(ctx, address, sni, secure, x.l.plan.policy); err != nil {
				x.s.log.Debug("target not reached", "target", address, "err", err)
				status := 502
				if de, ok := errors.AsType[*dialError](err); ok {
					status = de.status
				}
				x.page(status)
				return nil
			}
		}
		x.rec.target = address
		stop := context.AfterFunc(ctx, func() { c.SetDeadline(longAgo) })
		switched, again := x.roundTrip(c, fields)
		stop()
		if !again {
			if switched {
				return c
			}
			return nil
		}
	}
}
