package albsim

import (
	"context"
	"io"
	"slices"
	"sync/atomic"
)

// front is the client's side of one exchange: HTTP/1.1 or h2.
type front interface {
	// head sends a response's head; what follows goes through Write until end.
	head(r *response) error
	io.Writer
	end() error
	// abandon makes the connection (h1) or stream (h2) end without a clean end of the response.
	abandon()
	// watch calls gone, from a goroutine of its own, when the client leaves; stop ends that and waits for it.
	watch(gone func()) (stop func())
	// stopBody wakes a Read of the request's body, cut whoever waits for the client.
	stopBody()
	cut()
	// canSwitch tells whether a 101 can be passed on.
	canSwitch() bool
}

// exchange is one request and what becomes of it.
type exchange struct {
	s   *Server
	l   *listener
	req *request
	out front
	dog *watchdog
	rec record
	// over cuts whoever is at work on the request when the client's connection, or stream, has ended.
	over *cutSet

	lease *lease // once a target is chosen; a tunnel keeps it
	// groupStays has the client stay with the lease's group.
	groupStays bool
	framed     bool // the tunnel is of WebSocket frames
	body       *bodyState
	fault      error       // the client's, in sending its body
	stalled    atomic.Bool // the idle timeout struck while we waited for the client's body
	gone       atomic.Bool // the client has left
	started    atomic.Bool // a response head is going out
	close      bool        // the front connection cannot be used again
	cookies    []field     // Set-Cookie of an authentication
	fields     []field     // as the target gets them
}

// bodyState watches a request body being read.
type bodyState struct {
	r       io.Reader
	read    atomic.Int64
	waiting atomic.Bool           // a Read waits for the client
	done    atomic.Bool           // read to its end
	fault   atomic.Pointer[error] // why it was not
}

func (b *bodyState) Read(p []byte) (int, error) {
	b.waiting.Store(true)
	n, err := b.r.Read(p)
	b.waiting.Store(false)
	b.read.Add(int64(n))
	if err == io.EOF {
		b.done.Store(true)
	} else if err != nil {
		b.fault.Store(&err)
	}
	return n, err
}

// run answers the request. A connection that it returns is a target's that has switched protocols: the 101 has been
// passed on and the rest is a tunnel.
func (x *exchange) run(ctx context.Context) *targetConn {
	p := &x.s.plan.profile
	if x.req.body != nil {
		x.body = &bodyState{r: x.req.body}
	}
	if x.s.plan.set.parts(x.req.class.tier) {
		x.close = true // ALB-DES-02: routed, but neither connection is used again
	}
	for _, g := range gates {
		if status := g(x); status != 0 {
			x.page(status)
			return nil
		}
	}
	if x.req.path == idpResponse && len(x.l.plan.signIns) > 0 {
		x.comeBack(ctx)
		return nil
	}
	r, evaluated := match(x.l.plan.rules, x.req)
	x.s.count.ruleEvaluations.Add(int64(evaluated))
	a := &r.action
	x.rec.priority = r.priority
	if a.guard != nil && !a.guard.admit(ctx, x) {
		return nil
	}
	x.rec.did(a.kind)
	switch a.kind {
	case "fixed-response":
		x.s.count.fixedResponses.Add(1)
		x.send(fixedResponse(p, a))
		return nil
	case "redirect":
		location := a.location(x.req)
		if len(location) > maxLocation {
			x.s.count.redirectsTooLong.Add(1)
			x.page(507)
			return nil
		}
		x.s.count.redirects.Add(1)
		x.rec.redirect = location
		x.send(redirection(p, a.StatusCode, location))
		return nil
	}
	if !x.transform(&r.transforms) {
		x.page(500)
		return nil
	}
	return x.forward(ctx, a)
}

// page sends one of the balancer's own pages.
func (x *exchange) page(status int) {
	if x.req.grpc() {
		x.send(grpcPage(&x.s.plan.profile, status), nil)
		return
	}
	x.send(page(&x.s.plan.profile, status))
}

// head sends the head of a final response.
func (x *exchange) head(r *response) error {
	x.l.plan.set.respond(r)
	return x.out.head(r)
}

func (x *exchange) send(r *response, body []byte) {
	r.fields = append(r.fields, x.cookies...)
	x.rec.status = r.status
	x.started.Store(true)
	err := x.head(r)
	if err == nil && x.req.method != "HEAD" {
		_, err = x.out.Write(body)
	}
	if err == nil {
		err = x.out.end()
	}
	if err != nil {
		x.close = true
	}
}

// forward has a target of one of the action's groups answer.
func (x *exchange) forward(ctx context.Context, a *action) *targetConn {
	g := x.group(a)
	if g == nil {
		x.page(503)
		return nil
	}
	x.rec.group = g.name
	l, ok := g.pick(pickRequest{client: x.req.client, http: x.req})
	if !ok {
		x.page(503)
		return nil
	}
	x.s.count.requests.Add(1)
	x.lease = l
	c := x.deliver(ctx, l)
	l.settleAccount(x.rec.failed())
	if c == nil {
		l.release()
	}
	return c
}

// carrier takes a request to a lease's target and its answer to x's client: one for each protocol version of a group.
type carrier interface {
	// accepts tells whether the group's protocol has room for such a request; if not it is 464.
	accepts(req *request) bool
	// carry answers the request whatever happens. A connection that it returns has switched protocols.
	carry(ctx context.Context, x *exchange, l *lease, fields []field) *targetConn
}

func (x *exchange) deliver(ctx context.Context, l *lease) *targetConn {
	by := l.group.carrier
	if !by.accepts(x.req) {
		x.page(464)
		return nil
	}
	if slices.ContainsFunc(x.req.fields, func(f field) bool { return f.raw == "" && !awsName(f.name) }) {
		if x.s.plan.set.dropInvalid {
			x.s.count.droppedInvalidName.Add(1)
		} else {
			x.s.count.forwardInvalidName.Add(1)
		}
	}
	x.fields = x.s.rewrite(x.req, x.fields)
	x.rec.trace, _ = get(x.fields, "X-Amzn-Trace-Id")
	return by.carry(ctx, x, l, x.fields)
}
