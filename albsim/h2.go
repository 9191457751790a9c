package albsim

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// serveH2 serves one h2 connection in front: every stream becomes an HTTP/1.1 request of its own.
func (s *Server) serveH2(ctx context.Context, state *connState, conn *plainConn, tlsState *tls.ConnectionState) {
	p := &s.plan.profile
	var handlers sync.WaitGroup // http2.Server does not wait for them
	var mu sync.Mutex           // guards what follows
	ended := false              // no handler begins behind the Wait
	active := 0
	var requests atomic.Uint32
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if ended {
			mu.Unlock()
			return
		}
		handlers.Add(1)
		if active++; active == 1 {
			s.setIdle(state, false)
		}
		mu.Unlock()
		defer func() {
			mu.Lock()
			if active--; active == 0 {
				s.setIdle(state, true)
			}
			mu.Unlock()
			handlers.Done()
		}()
		last := requests.Add(1) >= p.H2Requests || time.Since(state.established) >= s.scaled(s.plan.set.keepAlive) || s.isDraining()
		// The connection's ctx ends with Shutdown, the request's with the stream.
		streamCtx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		s.oneH2(streamCtx, state, w, r, tlsState, last)
	})
	//nolint:staticcheck // http.Server has no call that serves one connection, its handshake done, and returns at its end
	server := &http2.Server{
		MaxConcurrentStreams:         p.H2Streams,
		MaxReadFrameSize:             1<<24 - 1,           // as seen in KONAMI's SETTINGS
		MaxUploadBufferPerConnection: 8388352 + 1<<16 - 1, // 65535 and the WINDOW_UPDATE that was seen
		MaxUploadBufferPerStream:     1 << 16,
		IdleTimeout:                  s.scaled(s.plan.set.idle), // PING does not count: ALB-IDLE-04
		PermitProhibitedCipherSuites: true,                      // the policy decides
	}
	base := &http.Server{
		MaxHeaderBytes: 16 * p.MaxHeaders, // beyond it x/net answers 431, which is none of AWS's: the intake lets none come near
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	//nolint:staticcheck // as above; this is what lets base.Shutdown send GOAWAY
	if err := http2.ConfigureServer(base, server); err != nil {
		s.log.Error("h2 not served", "err", err)
		return
	}
	goAway := func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = base.Shutdown(ended) // to begin it, not to wait for it
	}
	s.mu.Lock()
	state.goAway = goAway
	s.mu.Unlock()
	intake := newH2Intake(conn, p.MaxHeaders, func(fields []hpack.HeaderField) {
		goAway()
		s.logRefusedH2(state, conn, tlsState, fields, goneAway)
	})
	if p.H2ForbiddenFields == "reset" {
		intake.reset = func(fields []hpack.HeaderField) { s.logRefusedH2(state, conn, tlsState, fields, 400) }
	}
	if !s.setIdle(state, true) {
		conn.Close()
		return
	}
	//nolint:staticcheck // as above
	server.ServeConn(intake, &http2.ServeConnOpts{Context: ctx, Handler: handler, BaseConfig: base})
	state.cancel()
	mu.Lock()
	ended = true
	mu.Unlock()
	handlers.Wait()
	conn.Close()
}

// h2 is the front of one stream.
type h2 struct {
	s     *Server
	w     http.ResponseWriter
	r     *http.Request
	close bool
	sent  int64
	fail  bool

	trailers func() []field // of the response at hand
}

func (s *Server) oneH2(
	ctx context.Context, state *connState, w http.ResponseWriter, r *http.Request, tlsState *tls.ConnectionState, last bool,
) {
	f := &h2{s: s, w: w, r: r, close: last}
	req := h2Request(r, tlsState, s.plan.profile.H2ForbiddenFields == "strip")
	req.port, req.mutual, req.set = state.l.port, state.l.plan.mutual, &state.l.plan.set
	refused := req.checkH2(r, &s.plan.profile, &s.plan.set)
	dog := &watchdog{timeout: s.scaled(s.plan.set.idle)}
	s.watch(dog, state.conn)
	defer dog.disarm()
	if req.body != nil {
		req.body = touching{req.body, dog}
	}
	var over cutSet
	defer context.AfterFunc(ctx, over.end)()
	x := &exchange{s: s, l: state.l, req: req, out: f, dog: dog, rec: newRecord(s, state.l, state, req), over: &over}
	if refused != nil {
		refused.classify(&req.class)
		x.rec.priority = -1
		x.page(refused.status)
	} else {
		x.run(ctx)
	}
	if x.body != nil {
		x.rec.received += x.body.read.Load()
	}
	x.rec.done(f.sent)
	if f.fail || !x.started.Load() {
		panic(http.ErrAbortHandler) // RST_STREAM: no clean end, or no answer for a client that has left
	}
}

// touching counts the client's body as activity.
type touching struct {
	io.Reader
	dog *watchdog
}

func (t touching) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if n > 0 {
		t.dog.touch()
	}
	return n, err
}

// mixedCase are the names that AWS documents as converted on the way to an HTTP/1.1 target; all others stay lower-case.
var mixedCase = map[string]string{
	"x-forwarded-for": "X-Forwarded-For", "x-forwarded-proto": "X-Forwarded-Proto", "x-forwarded-port": "X-Forwarded-Port",
	"host": "Host", "x-amzn-trace-id": "X-Amzn-Trace-Id", "upgrade": "Upgrade", "connection": "Connection",
}

// h2Request has the fields that HTTP/2 forbids make the request a bad one, unless they are just to go.
func h2Request(r *http.Request, tlsState *tls.ConnectionState, strip bool) *request {
	req := &request{
		proto: "HTTP/2.0", method: r.Method, target: r.RequestURI, host: r.Host, secure: true, tls: tlsState, received: time.Now(),
		trailer: r.Trailer,
	}
	req.path, req.query, _ = strings.Cut(req.target, "?")
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		req.client = addr
	}
	taken := map[string]int{h2Names: 1} // the first of that name is the intake's
	for name := range strings.SplitSeq(r.Header.Get(h2Names), ",") {
		switch {
		case name == h2Oversize:
			req.headSize = math.MaxInt32
			continue
		case name == "content-length": // frames decide; see below
			continue
		case slices.Contains(h2Forbidden, name):
			if !strip {
				req.class.worsen(severe, "BadHeader")
			}
			continue
		}
		values := r.Header[http.CanonicalHeaderKey(name)]
		at := taken[name]
		if taken[name]++; at >= len(values) { // x/net joins cookies, and keeps Trailer and Expect
			if name == "te" && !strip { // other than trailers
				req.class.worsen(severe, "BadHeader")
			}
			continue
		}
		if mixed, ok := mixedCase[name]; ok {
			name = mixed
		}
		req.fields = append(req.fields, field{name: name, value: values[at]})
		req.headSize += int64(len(name) + len(values[at]) + 4)
	}
	if req.length = r.ContentLength; req.length != 0 {
		req.body = r.Body
	}
	switch {
	case req.length < 0:
		req.fields = append(req.fields, field{name: "transfer-encoding", value: "chunked"})
	case req.length > 0 || len(r.Header["Content-Length"]) > 0:
		req.fields = append(req.fields, field{name: "content-length", value: strconv.FormatInt(req.length, 10)})
	}
	return req
}

// checkH2 refuses what h2 can say and HTTP/1.1 would read as something else: x/net lets blanks pass in a method and in a
// path, and a Content-Length that the frames belie. The limits are those of alb.md section 6.
func (r *request) checkH2(from *http.Request, p *Profile, set *settings) *refusal {
	lengths := from.Header["Content-Length"]
	bad := len(lengths) > 1
	if len(lengths) == 1 {
		n, ok := parseLength(lengths[0])
		bad = !ok || n != r.length
	}
	switch {
	case !validToken(r.method):
		return &refusal{400, "BadMethod"}
	case strings.ContainsAny(r.target, " \t"):
		return &refusal{400, "BadUri"}
	case len(r.target) > p.MaxRequestLine:
		return &refusal{414, ""}
	case bad:
		return &refusal{400, "BadContentLength"}
	case r.host == "" || !validHost(r.host):
		return &refusal{400, "BadHeader"}
	case r.headSize > int64(p.MaxHeaders):
		return &refusal{400, ""}
	case r.class.tier == severe:
		return &refusal{400, r.class.reason}
	}
	for _, f := range r.fields {
		switch {
		case len(f.name)+len(": ")+len(f.value) >= p.MaxHeaderLine:
			return &refusal{400, ""}
		case looksLikeFraming(f.name) && f.name != "content-length" && f.name != "transfer-encoding":
			r.class.worsen(ambiguous, "SuspiciousHeader")
		}
	}
	if set.blocks(r.class.tier) {
		return &refusal{400, r.class.reason}
	}
	return nil
}

// logRefusedH2 notes down a request that no handler sees: one that ended its connection, code 000, or its stream.
func (s *Server) logRefusedH2(state *connState, conn net.Conn, tlsState *tls.ConnectionState, fields []hpack.HeaderField, status int) {
	req := &request{proto: "HTTP/2.0", secure: true, tls: tlsState, port: state.l.port, received: time.Now()}
	if addr, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		req.client = addr
	}
	for _, f := range fields {
		switch f.Name {
		case ":method":
			req.method = f.Value
		case ":authority":
			req.host = f.Value
		case ":path":
			req.target = f.Value
		default:
			req.fields = append(req.fields, field{name: f.Name, value: f.Value})
		}
	}
	rec := newRecord(s, state.l, state, req)
	rec.status, rec.priority = status, -1
	rec.done(0)
}

func (f *h2) head(r *response) error {
	h := f.w.Header()
	// net/http fills these in when they are missing; a target that sent none has none.
	h["Date"], h["Content-Type"] = nil, nil
	for _, one := range r.fields {
		switch strings.ToLower(one.name) {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
			continue
		case "content-length":
			if r.length < 0 {
				continue
			}
		}
		h.Add(one.name, one.value)
		f.sent += int64(len(one.name) + len(one.value) + 4)
	}
	if f.close || f.s.isDraining() {
		h.Set("Connection", "close") // x/net/http2 makes a GOAWAY of it
	}
	if len(h["Content-Length"]) == 0 {
		h["Content-Length"] = nil // or a head that ends the stream gets a 0
	}
	f.w.WriteHeader(r.status)
	f.trailers = r.trailers
	if r.streams {
		return http.NewResponseController(f.w).Flush()
	}
	return nil
}

func (f *h2) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.w.Write(p)
	f.sent += int64(n)
	if err == nil {
		err = http.NewResponseController(f.w).Flush()
	}
	return n, err
}

func (f *h2) end() error {
	if f.trailers == nil {
		return nil
	}
	for _, one := range f.trailers() {
		f.w.Header().Add(http.TrailerPrefix+one.name, one.value)
		f.sent += int64(len(one.name) + len(one.value) + 4)
	}
	return nil
}

func (f *h2) abandon()        { f.fail = true }
func (f *h2) canSwitch() bool { return false }

func (f *h2) cut() {
	f.stopBody()
	_ = http.NewResponseController(f.w).SetWriteDeadline(longAgo) // fails on a stream that has ended
}

// stopBody is not Body.Close, which must not run beside a Read.
func (f *h2) stopBody() { _ = http.NewResponseController(f.w).SetReadDeadline(longAgo) }

func (f *h2) watch(gone func()) (stop func()) {
	done := make(chan struct{})
	cancel := context.AfterFunc(f.r.Context(), func() {
		defer close(done)
		gone()
	})
	return func() {
		if !cancel() {
			<-done
		} else if f.r.Context().Err() != nil { // it was about to
			gone()
		}
	}
}
