package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

// serveHTTP takes HTTP/1.1 and h2c. Requests are forwarded one by one, so that either version reaches a route of either; an
// Upgrade of HTTP/1.1 makes a tunnel. When the port is lost, cancel ends the requests.
func (s *Server) serveHTTP(ctx context.Context, cancel context.CancelFunc, l *listener) error {
	f := s.newForwarder()
	defer f.close()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	var open sync.WaitGroup // connections, and requests: those of an upgrade outlive the server's connection
	server := &http.Server{
		// Any page in the user's browser can send to a local port; what it sends must not come with the user's certificate.
		Handler: http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			open.Add(1)
			defer open.Done()
			f.ServeHTTP(w, r)
		})),
		Protocols:         &protocols,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: openingTime,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          quiet,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateActive, http.StateIdle:
			case http.StateNew:
				open.Add(1)
			case http.StateClosed, http.StateHijacked:
				open.Done()
			}
		},
	}
	err := server.Serve(l)
	if ctx.Err() != nil {
		err = nil
	} else {
		err = fmt.Errorf("accept: %w", err)
	}
	cancel()
	_ = server.Close() // of a listener that is closed already
	open.Wait()
	return err
}

// quiet is for what net/http says of clients that left; refuse says the rest.
var quiet = log.New(io.Discard, "", 0)

// forwarder carries requests to the route, over HTTP/1.1 or HTTP/2 as its ALPN allows: an h2 request by h2 where it can.
type forwarder struct {
	server   *Server
	upgrades client.Dialer         // for what HTTP/2 cannot carry
	one, two *http.Transport       // nil when the route does not take it
	proxy    httputil.ReverseProxy // without its Transport
	host     string                // of the route
}

func (s *Server) newForwarder() *forwarder {
	f := &forwarder{server: s, upgrades: *s.Dialer, host: s.Dialer.ServerName}
	f.upgrades.ALPN = slices.DeleteFunc(slices.Clone(s.Dialer.ALPN), isH2)
	if len(f.upgrades.ALPN) < len(s.Dialer.ALPN) {
		two := *s.Dialer
		two.ALPN = []string{"h2"}
		f.two = transport(&two, (*http.Protocols).SetUnencryptedHTTP2)
	}
	if len(f.upgrades.ALPN) > 0 || f.two == nil {
		f.one = transport(&f.upgrades, (*http.Protocols).SetHTTP1)
	}
	f.proxy = httputil.ReverseProxy{
		Rewrite:        f.rewrite,
		ModifyResponse: chunkTrailers,
		FlushInterval:  -1, // what comes is passed on
		ErrorHandler:   f.refuse,
		ErrorLog:       quiet,
	}
	return f
}

func isH2(alpn string) bool { return alpn == "h2" }

// transport speaks HTTP in the clear: the TLS is below, in the dialer.
func transport(d *client.Dialer, set func(*http.Protocols, bool)) *http.Transport {
	protocols := new(http.Protocols)
	set(protocols, true)
	return &http.Transport{
		DialContext:           d.DialContext,
		Protocols:             protocols,
		DisableCompression:    true, // the client's Accept-Encoding decides
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   defaultLimit,
		ExpectContinueTimeout: time.Second,
	}
}

func (f *forwarder) close() {
	for _, t := range []*http.Transport{f.one, f.two} {
		if t != nil {
			t.CloseIdleConnections()
		}
	}
}

func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch token := r.Header.Get("Upgrade"); {
	case strings.EqualFold(token, "h2c"): // curl --http2: an offer that may be passed over, and obsolete (RFC 9113 section 3.1)
		r.Header.Del("Upgrade")
	case token != "" && r.ProtoMajor == 1 && f.one != nil:
		f.upgrade(w, r)
		return
	}
	// Some answer before they have read the request: HTTP/1 must not wait for its end. HTTP/2 need not be told.
	_ = http.NewResponseController(w).EnableFullDuplex()
	proxy := f.proxy
	if proxy.Transport = f.one; f.one == nil || f.two != nil && r.ProtoMajor == 2 {
		proxy.Transport = f.two
	}
	proxy.ServeHTTP(w, r)
}

// rewrite addresses the route and leaves the rest as the client wrote it.
func (f *forwarder) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme, r.Out.URL.Host = "http", f.host
	if f.host == "" {
		r.Out.URL.Host = "route.invalid" // names a pool of connections, nothing more
	}
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Host = f.hostFor(r.In)
	for _, field := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := r.In.Header[field]; ok {
			r.Out.Header[field] = v
		}
	}
	if len(r.In.Trailer) > 0 {
		r.Out.Body = &trailing{r.Out.Body, r.In, r.Out}
		r.Out.ContentLength = -1 // HTTP/1.1 has trailers behind chunks only (RFC 9112 section 7.1.2)
		r.Out.Header.Del("Content-Length")
	}
}

// chunkTrailers is rewrite's last rule for answers.
func chunkTrailers(resp *http.Response) error {
	if len(resp.Trailer) > 0 {
		resp.Header.Del("Content-Length")
	}
	return nil
}

// trailing is a body that hands the trailer on when it ends: the values come behind the body, when ReverseProxy has copied
// the request long ago.
type trailing struct {
	io.ReadCloser
	in, out *http.Request
}

func (b *trailing) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		maps.Copy(b.out.Trailer, b.in.Trailer)
	}
	return n, err
}

// hostFor is the Host for a request: a client that names the local port means the route, any other name is the client's choice.
func (f *forwarder) hostFor(r *http.Request) string {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if f.host == "" || local == nil {
		return r.Host
	}
	_, port, _ := net.SplitHostPort(local.String())
	if r.Host == local.String() || r.Host == "" || strings.EqualFold(r.Host, "localhost:"+port) {
		return f.host
	}
	return r.Host
}

// refuse is for requests that got no answer.
func (f *forwarder) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f.server.failed(r.Context(), err)
	http.Error(w, "tlsroute-bench: "+err.Error(), http.StatusBadGateway)
}

// upgrade sends the request's head and makes the two connections one. The answer, 101 or not, and what follows are bytes: a
// refused client may go on with HTTP on what is now its own connection to the service.
func (f *forwarder) upgrade(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	remote, err := f.upgrades.Dial(ctx)
	if err != nil {
		f.refuse(w, r, err)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		remote.Close()
		f.refuse(w, r, fmt.Errorf("upgrade: %w", err))
		return
	}
	defer conn.Close()
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered()) // cannot fail: it asks for what is there
	if _, err := remote.Write(append(f.head(r), early...)); err != nil {
		remote.Close()
		f.server.failed(ctx, fmt.Errorf("upgrade: %w", err))
		return
	}
	if p, ok := conn.(*place); ok {
		conn = p.Conn // splice looks for TCP
	}
	f.server.join(ctx, conn, remote)
}

// head is the request's head as it came, but for the Host. net/http has taken Host and Transfer-Encoding out of the fields.
func (f *forwarder) head(r *http.Request) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.URL.RequestURI(), f.hostFor(r))
	if len(r.TransferEncoding) > 0 {
		fmt.Fprintf(&b, "Transfer-Encoding: %s\r\n", strings.Join(r.TransferEncoding, ", "))
	}
	_ = r.Header.Write(&b) // a Buffer takes all
	b.WriteString("\r\n")
	return b.Bytes()
}
