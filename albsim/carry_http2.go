package albsim

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// overHTTP2 is the carrier of the protocol versions HTTP2 and GRPC: h2 by prior knowledge to an HTTP group, by ALPN to an
// HTTPS group (the latter inferred). Streams of many clients share a connection. net/http has the protocol; its fields
// reach the target in no order, since it takes them as a map.
type overHTTP2 struct{ grpc bool }

// accepts is the matrix of alb.md section 4 (TG): h2 and gRPC alone, and to GRPC only POST.
func (o overHTTP2) accepts(req *request) bool {
	return req.proto == "HTTP/2.0" && (!o.grpc || req.method == http.MethodPost)
}

func (o overHTTP2) carry(ctx context.Context, x *exchange, l *lease, fields []field) *targetConn {
	ctx, end := l.within(ctx)
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if name := x.s.plan.profile.targetName(x.req.host, l.target.address); name != "" {
		ctx = context.WithValue(ctx, sniKey{}, name)
	}
	stalled := false // read behind disarm only
	x.dog.arm(func() {
		stalled = x.body != nil && x.body.waiting.Load()
		cancel()
		if x.started.Load() {
			x.out.cut()
		} else {
			x.out.stopBody()
		}
	})
	stopWatch := x.out.watch(func() {
		x.gone.Store(true)
		cancel()
	})
	body := &lentBody{x: x}
	req := h2TargetRequest(x.req, l, fields)
	if x.body != nil {
		req.Body = body
	}
	x.rec.target = l.target.address
	begun := x.rec.sent()
	resp, err := x.l.overH2.RoundTrip(req.WithContext(ctx))
	x.rec.targetTime = time.Since(begun)
	if err != nil {
		stopWatch()
		body.takeBack()
		idle := x.dog.disarm()
		if de, ok := errors.AsType[*dialError](err); ok && !x.gone.Load() && x.fault == nil && !idle {
			x.rec.target = ""
			x.page(de.status)
			return nil
		}
		x.failed(err, idle, stalled, false)
		return nil
	}
	x.rec.targetStatus = resp.StatusCode
	x.passOn(h2TargetResponse(resp), touching{resp.Body, x.dog}, nil)
	resp.Body.Close()
	stopWatch()
	body.takeBack()
	x.dog.disarm()
	return nil
}

// h2TargetRequest is the request for net/http. Its trailers, if the client announced any, are filled in while the body is read.
func h2TargetRequest(r *request, l *lease, fields []field) *http.Request {
	out := &http.Request{
		Method: r.method, ContentLength: r.length, Trailer: r.trailer,
		URL:    &url.URL{Scheme: "http", Host: l.target.address, Opaque: r.target},
		Header: http.Header{"User-Agent": nil}, // or net/http adds its own
	}
	if l.group.secure {
		out.URL.Scheme = "https"
	}
	if strings.HasPrefix(r.target, "//") { // net/url would read a host into it
		out.URL.Opaque, out.URL.Path, out.URL.RawQuery = "", r.path, r.query
	}
	for _, f := range fields {
		switch strings.ToLower(f.name) {
		case "host":
			out.Host = f.value
		case "transfer-encoding", "content-length":
		default:
			out.Header.Add(f.name, f.value)
		}
	}
	return out
}

func h2TargetResponse(from *http.Response) *response {
	r := &response{proto: "HTTP/2.0", status: from.StatusCode, length: from.ContentLength, streams: from.ContentLength != 0}
	for name, values := range from.Header {
		for _, v := range values {
			r.fields = append(r.fields, field{name: name, value: v})
		}
	}
	r.trailers = func() []field {
		var out []field
		for name, values := range from.Trailer {
			for _, v := range values {
				out = append(out, field{name: name, value: v})
			}
		}
		return out
	}
	return r
}

// lentBody is a request's body while net/http reads it, on a goroutine of its own.
type lentBody struct {
	x    *exchange
	mu   sync.Mutex // held during a Read
	back bool
}

func (b *lentBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.back {
		return 0, io.ErrClosedPipe
	}
	return b.x.body.Read(p)
}

// Close leaves the body to its owner.
func (b *lentBody) Close() error { return nil }

// takeBack ends the reading, notes what the client did wrong, and makes the front of no further use if it has more to send.
func (b *lentBody) takeBack() {
	x := b.x
	if x.body == nil {
		return
	}
	if fault := x.body.fault.Load(); fault != nil {
		x.fault = *fault // before stopBody makes one that is not the client's
	}
	if !x.body.done.Load() {
		x.out.stopBody()
	}
	b.mu.Lock()
	b.back = true
	b.mu.Unlock()
}
