package albsim

import (
	"errors"
	"io"
	"net"
	"slices"
	"time"
)

// legEnd is what becomes of a target's connection behind a round trip.
type legEnd int

const (
	spent    legEnd = iota // it is closed
	reusable               // the pool may have it
	switched               // it is a tunnel's
	again                  // it is closed, and the request goes to another
)

// roundTrip sends the request and passes the answer on. It ends with again when a connection from the pool proved dead before
// it gave a byte and nothing is lost by trying another.
func (x *exchange) roundTrip(c *targetConn, fields []field) legEnd {
	c.dog.Store(x.dog)
	x.stalled.Store(false)
	x.dog.arm(func() {
		x.stalled.Store(x.body != nil && x.body.waiting.Load())
		c.SetDeadline(longAgo)
		if x.started.Load() {
			x.out.cut() // it may be the client that takes nothing
		} else {
			x.out.stopBody()
		}
	})
	begun, before := x.rec.sent(), c.in.Load()
	err := c.writeHead(x.req.method, x.req.target, fields)
	if err == nil {
		err = c.bw.Flush()
	}
	var bodySent chan bool
	stopWatch := func() {}
	switch {
	case err != nil:
	case x.body != nil:
		bodySent = make(chan bool, 1)
		go func() { bodySent <- x.sendBody(c) }()
	default:
		stopWatch = x.out.watch(func() {
			x.gone.Store(true)
			c.SetReadDeadline(longAgo)
		})
	}
	var resp *response
	if err == nil {
		late := x.limitWait(c)
		resp, err = x.readHead(c)
		if late() {
			err = errLateAnswer
		}
	}
	x.rec.targetTime = time.Since(begun)
	stopWatch()
	if err == nil && resp.status == 101 {
		if x.switchProtocols(c, resp, bodySent) {
			return switched
		}
		return spent
	}
	if err != nil {
		idle := x.dog.pause()
		x.endBody(c, bodySent)
		c.close()
		if x.failed(err, idle, x.stalled.Load(), c.reused && c.in.Load() == before) {
			return again
		}
		return spent
	}
	x.rec.targetStatus = resp.status
	whole := x.passOn(resp, bodyReader(c.br, resp.length), c.Conn)
	complete := x.endBody(c, bodySent)
	idle := x.dog.pause()
	if whole && complete && !idle && !resp.close && !x.s.plan.set.parts(x.req.class.tier) && c.br.Buffered() == 0 {
		return reusable
	}
	c.close()
	return spent
}

// failed turns an exchange without a response into a status, or into another try. silent says that the connection was one
// from the pool and gave no byte: the target may have closed it before the request arrived, but it may as well have acted
// on it, so only what RFC 9110 section 9.2.2 lets be repeated is sent again.
func (x *exchange) failed(err error, idle, stalled, silent bool) (again bool) {
	switch {
	case x.fault != nil && !idle:
		x.close = true
		if errors.Is(x.fault, errBadChunk) {
			x.req.class.worsen(severe, "BadTransferEncoding")
			x.page(400)
			return false
		}
		x.rec.status = 400 // the client closed before its body was whole: there is no one to tell
	case x.gone.Load():
		x.rec.status, x.close = 460, true
	case idle && stalled:
		x.close = true
		x.page(408)
	case idle, errors.Is(err, errLateAnswer):
		x.page(504)
	case silent && x.body == nil && idempotent(x.req.method) && !timedOut(err):
		return true
	default:
		x.s.log.Debug("no response from target", "target", x.rec.target, "err", err)
		x.page(502)
	}
	return false
}

func idempotent(method string) bool {
	return slices.Contains([]string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}, method)
}

func timedOut(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}

// sendBody passes the request's body on and reports whether the target took all of it. An error of the client ends the
// wait for an answer; one of the target does not: it may have answered already, and the reader will find out.
func (x *exchange) sendBody(c *targetConn) bool {
	var w io.Writer = c.bw
	if x.req.length < 0 {
		w = chunkedWriter{c.bw}
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := x.body.Read(*buf)
		if n > 0 {
			if _, werr := w.Write((*buf)[:n]); werr != nil {
				return false
			}
			if c.bw.Flush() != nil {
				return false
			}
		}
		if errors.Is(err, io.EOF) {
			if cw, ok := w.(chunkedWriter); ok && cw.Close() != nil {
				return false
			}
			return c.bw.Flush() == nil
		}
		if err != nil {
			c.SetReadDeadline(longAgo)
			return false
		}
	}
}

// lastWrite is how long the end of a body may take that has been read whole when the answer is already here.
const lastWrite = time.Second

// endBody waits for sendBody, waking it if the exchange is over before the body is. It reports whether the target took the
// whole body; the front connection is of no further use unless all of it was read.
func (x *exchange) endBody(c *targetConn, sent chan bool) bool {
	if x.body == nil {
		return true
	}
	if fault := x.body.fault.Load(); fault != nil {
		x.fault = *fault // before stopBody makes one that is not the client's
	}
	whole := false
	if sent != nil {
		select {
		case whole = <-sent:
		default:
			if x.body.done.Load() {
				// The answer has overtaken the last write, or the word of it: only a target that stopped reading holds it up.
				c.SetWriteDeadline(time.Now().Add(lastWrite))
			} else {
				x.out.stopBody()
				c.SetWriteDeadline(longAgo)
			}
			whole = <-sent
			c.SetWriteDeadline(time.Time{}) // it must not outlive the exchange: c may go back to the pool
		}
	}
	x.close = x.close || !x.body.done.Load()
	return whole
}

var errLateAnswer = errors.New("no answer within the response timeout")

// limitWait bounds the wait for the answer's head by the knob ResponseTimeout; late ends that and tells whether it struck.
func (x *exchange) limitWait(c *targetConn) (late func() bool) {
	limit := x.s.plan.profile.ResponseTimeout
	if limit == 0 {
		return func() bool { return false }
	}
	timer := time.AfterFunc(x.s.scaled(limit), func() { c.SetReadDeadline(longAgo) })
	return func() bool { return !timer.Stop() }
}

// readHead reads the target's final head. 100 was answered for already; 102 and 103 are the profile's to decide on.
func (x *exchange) readHead(c *targetConn) (*response, error) {
	for range 32 {
		r := &c.answer
		if err := r.read(c.br, x.req.method, x.s.plan.profile.MaxResponseHeaders); err != nil {
			return nil, err
		}
		if r.status >= 200 || r.status == 101 {
			return r, nil
		}
		if r.status != 100 && x.s.plan.profile.Informational == "pass" && x.req.proto == "HTTP/1.1" {
			if err := x.out.head(r); err != nil {
				return nil, err
			}
		}
	}
	return nil, errBadResponse
}

// passOn streams a final response, its body read from a connection; false when it did not get to its end on either side.
func (x *exchange) passOn(r *response, body io.Reader, from net.Conn) bool {
	x.rec.status = r.status
	x.started.Store(true)
	if x.body != nil && !x.body.done.Load() {
		x.close = true // answered before the body was in: what is left of it makes the connection useless
	}
	x.stick(r)
	if err := x.head(r); err != nil {
		x.close = true
		return false
	}
	if body != nil {
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		for {
			n, err := body.Read(*buf)
			if n > 0 {
				if _, werr := x.out.Write((*buf)[:n]); werr != nil {
					x.close = true
					return false
				}
			}
			if errors.Is(err, io.EOF) && (r.length != untilClose || !truncated(from)) {
				break
			}
			if err != nil {
				x.close = true
				x.out.abandon()
				return false
			}
		}
	}
	if err := x.out.end(); err != nil {
		x.close = true
		return false
	}
	return true
}

// switchProtocols passes a 101 on, if it may be.
func (x *exchange) switchProtocols(c *targetConn, r *response, bodySent chan bool) bool {
	p := &x.s.plan.profile
	whole := true
	if bodySent != nil {
		whole = <-bodySent // the tunnel begins behind the request, body included; the idle timeout bounds this
	}
	idle := x.dog.pause()
	if idle || !whole || !p.maySwitch(x.req, r) || !x.out.canSwitch() {
		c.close()
		x.close = x.close || x.body != nil && !x.body.done.Load()
		x.page(502)
		return false
	}
	x.rec.status, x.rec.targetStatus = 101, 101
	x.started.Store(true)
	x.framed = hasToken(list(r.fields, "Upgrade"), "websocket")
	if p.StripUpgradeResponse {
		r.fields = slices.DeleteFunc(r.fields, func(f field) bool { return hasToken([]string{"Connection", "Upgrade"}, f.name) })
	}
	x.stick(r)
	if err := x.out.head(r); err != nil {
		c.close()
		x.close = true
		return false
	}
	return true
}
