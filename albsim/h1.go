package albsim

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// buffers are for copying; 16 KiB is a TLS record.
var buffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// h1 serves one HTTP/1 connection in front.
type h1 struct {
	s     *Server
	l     *listener
	state *connState
	conn  *meteredConn
	tls   *tls.ConnectionState // nil on an HTTP listener
	br    *bufio.Reader
	bw    *bufio.Writer
	dog   *watchdog

	client  netip.AddrPort // zero when the connection does not tell
	address string         // the client's as its requests have it, once one was asked

	late     watchdog // of an answer: see watch
	gone     func()
	looked   chan struct{}
	wakeRead func() // the methods as functions, made once
	look     func()
	stopLook func()

	// of the exchange at hand, in the memory of the one before
	req     request
	x       exchange
	chunked bool // the response is
	toClose bool // the response ends where the connection does
	broken  bool
	limited bool        // writes are, by limitWrite
	timed   atomic.Bool // a deadline may be left over
}

func (s *Server) serveH1(ctx context.Context, state *connState, conn net.Conn, tlsState *tls.ConnectionState) {
	f := newH1(s, state, conn, tlsState)
	defer f.dog.disarm()
	defer f.late.disarm()
	for first := true; f.one(ctx, first); first = false {
	}
}

func newH1(s *Server, state *connState, conn net.Conn, tlsState *tls.ConnectionState) *h1 {
	m := &meteredConn{Conn: conn}
	f := &h1{
		s: s, l: state.l, state: state, conn: m, tls: tlsState, dog: &watchdog{timeout: s.scaled(s.plan.set.idle)},
		br: bufio.NewReaderSize(m, 8<<10), bw: bufio.NewWriterSize(m, 4<<10),
	}
	if addr, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		f.client = addr
	}
	f.late.timeout = watchAfter
	f.wakeRead, f.look, f.stopLook = f.stopBody, f.beginLook, f.endLook
	m.dog.Store(f.dog)
	s.watch(f.dog, conn)
	return f
}

// watch has Options.Observe told when the timeout of a front connection strikes.
func (s *Server) watch(dog *watchdog, front net.Conn) {
	if raw, ok := below[*rawConn](front); ok && s.opt.Observe != nil {
		dog.told = func() { raw.wire.tell(Event{Kind: EventTimer, Detail: "idle timeout"}) }
	}
}

// one serves a request and tells whether the connection can take another.
func (f *h1) one(ctx context.Context, first bool) bool {
	p := &f.s.plan.profile
	if !f.s.setIdle(f.state, true) {
		f.conn.Close()
		return false
	}
	f.forget()
	if f.timed.Swap(false) {
		f.conn.SetDeadline(time.Time{})
	}
	f.dog.arm(f.wakeRead)
	start, err := f.br.Peek(1)
	if !f.s.setIdle(f.state, false) && err == nil {
		err = net.ErrClosed
	}
	if err != nil || f.tls == nil && start[0] == 0x16 && p.TLSOnPlain == "close" {
		if idle := f.dog.pause(); first && idle && p.SilentConnection == "408" {
			f.refuse(&request{received: time.Now()}, 408)
			return false
		}
		f.conn.Close()
		return false
	}
	sent := f.conn.out.Load()
	req := &f.req
	err = req.read(f.br, p, &f.s.plan.set)
	idle := f.dog.pause()
	f.fill(req)
	if err != nil {
		refused, isRefusal := errors.AsType[*refusal](err)
		switch {
		case isRefusal:
			refused.classify(&req.class)
			f.refuse(req, refused.status)
		case idle:
			f.refuse(req, 408) // ALB-IDLE-07
		default:
			f.record(req, 400, sent)
			f.conn.Close()
		}
		return false
	}
	if req.length != 0 {
		req.body = bodyReader(f.br, req.length)
	}
	if req.expect && req.body != nil {
		// At once, whatever the target will say: ALB-HDR-09. A failed write is the next one's too.
		if err := f.head(&response{status: 100, reason: "Continue"}); err != nil {
			f.s.log.Debug("100 not written", "err", err)
		}
	}
	x := f.begin(req)
	x.close = req.close || time.Since(f.state.established) >= f.s.scaled(f.s.plan.set.keepAlive)
	target := x.run(ctx)
	f.address = req.address
	if target != nil {
		if p.EarlyBytes == "request" && f.br.Buffered() > 0 {
			x.lease.release()
			target.close()
			x.rec.done(f.conn.out.Load() - sent)
			return true
		}
		f.tunnel(ctx, target)
		x.rec.done(f.conn.out.Load() - sent)
		return false
	}
	if x.body != nil {
		x.rec.received += x.body.read.Load()
		f.drain(x)
	}
	x.rec.done(f.conn.out.Load() - sent)
	if f.broken && f.toClose { // only a reset tells the client that this was not the end
		reset(f.conn)
		return false
	}
	if x.close || f.broken {
		f.linger()
		return false
	}
	return true
}

// forget lets go of all of an exchange but its room: an idle client holds no head. Inlined into one, as begin would be, what is
// made here would lie on the stack below every tunnel, and double it.
//
//go:noinline
func (f *h1) forget() {
	asked, sent := roomOf(f.req.fields), roomOf(f.x.fields)
	f.req, f.x = request{}, exchange{}
	f.req.fields, f.x.fields = asked, sent
}

// begin makes the exchange of a request.
//
//go:noinline
func (f *h1) begin(req *request) *exchange {
	f.x = exchange{
		s: f.s, l: f.l, req: req, out: f, dog: f.dog, rec: newRecord(f.s, f.l, f.state, req), over: &f.state.work, fields: f.x.fields[:0],
	}
	f.chunked, f.toClose, f.broken = false, false, false
	return &f.x
}

// fill adds what the connection knows of a request.
func (f *h1) fill(req *request) {
	req.client, req.address = f.client, f.address
	req.port, req.secure, req.tls, req.mutual, req.set = f.l.port, f.tls != nil, f.tls, f.l.plan.mutual, &f.l.plan.set
	if req.host == "" { // HTTP/1.0: the balancer puts its own name (ALB-HDR-13)
		req.host = f.l.dnsName
	}
	if req.received.IsZero() {
		req.received = time.Now()
	}
}

// refuse answers a request that was never understood, and closes.
func (f *h1) refuse(req *request, status int) {
	x := f.begin(req)
	x.close = true
	sent := f.conn.out.Load()
	x.rec.priority = -1
	x.page(status)
	x.rec.done(f.conn.out.Load() - sent)
	f.linger()
}

// record logs a request that got no answer.
func (f *h1) record(req *request, status int, sent int64) {
	rec := newRecord(f.s, f.l, f.state, req)
	rec.status, rec.priority = status, -1
	rec.done(f.conn.out.Load() - sent)
}

// drainLimit is how much of a body that nobody wanted is read to keep the connection.
const drainLimit = 256 << 10

func (f *h1) drain(x *exchange) {
	if x.body.done.Load() || x.close {
		return
	}
	f.dog.arm(f.wakeRead)
	discard(x.body, drainLimit+1)
	f.dog.pause()
	x.close = !x.body.done.Load()
}

// linger closes so that the last response is not lost to a reset: FIN first, then what the client still sends is read
// for a moment (RFC 9112 section 9.6).
func (f *h1) linger() {
	if closeWrite(f.conn) == nil {
		f.conn.SetReadDeadline(time.Now().Add(lingerTime))
		discard(f.conn, drainLimit)
	}
	f.conn.Close()
}

// discard reads at most n bytes; how it ends is for the reader to know.
func discard(r io.Reader, n int64) {
	_, _ = io.CopyN(io.Discard, r, n)
}

const lingerTime = 500 * time.Millisecond
