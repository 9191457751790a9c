package albsim

import (
	"context"
	"errors"
)

// overHTTP1 is the carrier of protocol version HTTP1.
type overHTTP1 struct{}

func (overHTTP1) accepts(req *request) bool { return !req.grpc() }

func (overHTTP1) carry(ctx context.Context, x *exchange, l *lease, fields []field) *targetConn {
	address, secure, sni := l.target.address, l.group.secure, ""
	if secure {
		sni = x.s.plan.profile.targetName(x.req.host, address)
	}
	for fresh := false; ; fresh = true {
		var c *targetConn
		if !fresh {
			c = x.s.pool.get(targetKey(address, sni, secure))
		}
		if c == nil {
			var err error
			dialCtx, end := l.within(ctx)
			c, err = x.s.dialTarget(dialCtx, address, sni, secure, x.l.plan.policy)
			end()
			if err != nil {
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
		x.over.add(c)
		l.target.work.add(c)
		end := x.roundTrip(c, fields)
		x.over.remove(c)
		l.target.work.remove(c) // before the pool has it: the next request to take it adds it again
		switch end {
		case again:
			continue
		case switched:
			return c
		case reusable:
			x.s.pool.put(c)
		default:
		}
		return nil
	}
}
