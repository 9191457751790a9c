package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// script is what the server that a client under test meets does: a load balancer and a router in one, with certificates of its own.
type script struct {
	// typ is the upgrade that the client is asked for; with direct there is no load balancer, and the router's TLS begins at once. With
	// auto the answers are those of head.
	typ string
	// answer gives the field lines of the 101 but for Upgrade and Connection.
	answer func(req *wire.Request) []string
	// head, when set, is the whole answer to a request in place of that 101, as it goes over the wire. Behind one that refuses the next
	// request is waited for.
	head func(req *wire.Request) (raw string, refuses bool)
	// halfway is set where the client may leave before the answer is whole.
	halfway bool
	// anyMask has the server take frames without a mask.
	anyMask bool
	// drip has the answer go out byte by byte.
	drip bool
	// outerTLS and innerTLS change what the two servers do in TLS.
	outerTLS, innerTLS func(*tls.Config)
	// trusted is a certificate that the client is told to trust as the router's, in place of the server's own.
	trusted *tls.Certificate
	// serve is what the router does behind the handshake, an echo when nil.
	serve func(p *played, conn *tls.Conn) error
	// behind are the pieces that follow the 101: the first in the same write, the others each after a pause. The tunnel begins with
	// them.
	behind [][]byte
	// below, when set, stands between a WebSocket and its connection: each Write is one frame.
	below func(c net.Conn) net.Conn
}

// pieceGap keeps the pieces of a script apart: what comes in one segment is to be read before the next.
const pieceGap = 20 * time.Millisecond

const balancerName = "lb.example.test"

// played is a server at work.
type played struct {
	t            *conformance.T
	script       script
	ln           net.Listener
	outer, inner *tls.Certificate
	request      conformance.DialRequest
	wg           sync.WaitGroup

	mu       sync.Mutex // guards what follows
	met      int        // requests answered, or connections where there are no requests
	tunnel   int64      // bytes that came through tunnels
	begun    []byte     // the first of them
	socket   *wire.WSServer
	notes    []error
	requests []*wire.Request
	// ClientHellos, and the certificates behind them, of the connection that came last.
	outerHello, innerHello wire.Hello
	outerCert, innerCert   []*x509.Certificate
	report                 conformance.DialReport // of the dial that came last
}

// direct and auto are values of DialRequest.Upgrade that are no upgrade types.
const (
	direct = "direct"
	auto   = "auto"
)

// play starts the server; stop ends it and waits.
func play(ctx context.Context, t *conformance.T, s script) (*played, error) {
	p := &played{t: t, script: s}
	var err error
	if p.outer, p.request.OuterRoots, err = serverIdentity(balancerName); err != nil {
		return nil, err
	}
	if p.inner, p.request.InnerRoots, err = serverIdentity(t.Name("a")); err != nil {
		return nil, err
	}
	if s.trusted != nil {
		p.request.InnerRoots = x509.NewCertPool()
		p.request.InnerRoots.AddCert(s.trusted.Leaf)
		p.inner = s.trusted
	}
	p.request.OuterCA, p.request.InnerCA = rootPEM(p.outer), rootPEM(p.inner)
	if p.ln, err = t.Listen(ctx); err != nil {
		return nil, err
	}
	p.request.Address, p.request.SNI, p.request.ALPN = p.ln.Addr().String(), t.Name("a"), []string{"trb-a"}
	p.request.OuterSNI, p.request.Upgrade = balancerName, s.typ
	if s.innerTLS == nil {
		p.script.innerTLS = func(*tls.Config) {}
	}
	if s.outerTLS == nil {
		p.script.outerTLS = func(*tls.Config) {}
	}
	p.wg.Go(func() { p.accept(ctx) })
	return p, nil
}

func (p *played) accept(ctx context.Context) {
	for {
		raw, err := p.ln.Accept()
		if err != nil {
			return
		}
		c, err := p.t.Adopt(ctx, raw, "server")
		if err != nil {
			return
		}
		p.wg.Go(func() {
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(2 * p.t.Wait()))
			if err := p.serve(ctx, c); err != nil {
				p.t.Logf("server: %v", err)
				p.mu.Lock()
				p.notes = append(p.notes, err)
				p.mu.Unlock()
			}
		})
	}
}

// serve ends the outer TLS as a load balancer does, which knows none of the ALPN names and says so with silence.
func (p *played) serve(ctx context.Context, c net.Conn) error {
	if p.script.typ == direct {
		p.noted(func() { p.met++ })
		return p.router(ctx, direct, c)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{*p.outer}}
	p.script.outerTLS(cfg)
	outer, hello, err := p.t.ServeTLS(ctx, c, cfg)
	p.noted(func() { p.outerHello = hello })
	if err != nil {
		return err
	}
	p.noted(func() { p.outerCert = outer.ConnectionState().PeerCertificates })
	_ = c.SetDeadline(time.Now().Add(2 * p.t.Wait()))
	var from net.Conn = outer
	for {
		req, rest, err := wire.ReadRequest(from)
		if err != nil {
			return err
		}
		p.noted(func() { p.requests = append(p.requests, req) })
		typ, head, refuses, err := p.answer(req)
		if p.script.halfway {
			p.noted(func() { p.met++ })
		}
		if err := errors.Join(err, p.write(ctx, outer, head, refuses)); err != nil {
			return err
		}
		p.noted(func() { p.met++ })
		if !refuses {
			return p.router(ctx, typ, rest)
		}
		from = counted{rest, p}
	}
}

// answer is the answer to a request. Its error is told to the client with a 400.
func (p *played) answer(req *wire.Request) (typ, head string, refuses bool, err error) {
	typ = p.script.typ
	if typ == auto {
		typ = strings.ToLower(req.Header.Get("Upgrade"))
	}
	if p.script.head != nil {
		head, refuses = p.script.head(req)
		return typ, head, refuses, nil
	}
	if !wire.HasToken(req.Header, "Upgrade", typ) {
		return typ, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true, fmt.Errorf("asked for %q, not %s", req.Header.Values("Upgrade"), typ)
	}
	return typ, switching(typ, p.script.answer(req)...), false, nil
}

// switching is a 101 with the two fields that each has, and these.
func switching(typ string, lines ...string) string {
	return headOf(append([]string{"HTTP/1.1 101 Switching Protocols", "Upgrade: " + typ, "Connection: Upgrade"}, lines...)...)
}

func headOf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// write sends an answer, and what the script has behind it.
func (p *played) write(ctx context.Context, c net.Conn, head string, refuses bool) error {
	first, later := []byte(head), p.script.behind
	if refuses {
		later = nil
	}
	if len(later) > 0 {
		first, later = append(first, later[0]...), later[1:]
	}
	plan := [][]byte{first}
	if p.script.drip {
		plan = wire.Drip(1)(first)
	}
	for _, piece := range plan {
		if _, err := c.Write(piece); err != nil {
			return err
		}
	}
	for _, piece := range later {
		select {
		case <-time.After(pieceGap):
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := c.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// router is the inside of the tunnel: TLS with the routed ALPN, and an echo.
func (p *played) router(ctx context.Context, typ string, c net.Conn) error {
	tunnel := c
	switch typ {
	case wire.WebSocket:
		if p.script.below != nil {
			c = p.script.below(c)
		}
		socket := wire.NewWSServer(c)
		socket.AnyMask = p.script.anyMask
		p.noted(func() { p.socket = socket })
		tunnel = socket
	case wire.ALPNPing:
		var err error
		if tunnel, err = wire.NewTunnel(wire.ALPNPing, c); err != nil { // both ends frame alike
			return err
		}
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{*p.inner}, NextProtos: []string{"trb-a"}}
	p.script.innerTLS(cfg)
	inner, hello, err := p.t.ServeTLS(ctx, counted{tunnel, p}, cfg)
	p.noted(func() { p.innerHello = hello })
	if err != nil {
		_ = c.SetReadDeadline(time.Now().Add(p.t.Silence()))
		_, _ = io.Copy(io.Discard, io.LimitReader(counted{tunnel, p}, begunBytes)) // what the client says to it is counted too
		return fmt.Errorf("inside the tunnel: %w", err)
	}
	p.noted(func() { p.innerCert = inner.ConnectionState().PeerCertificates })
	_ = c.SetDeadline(time.Now().Add(2 * p.t.Wait()))
	if p.script.serve != nil {
		return p.script.serve(p, inner)
	}
	_, err = io.Copy(inner, inner)
	return err
}

// noted writes down what the server saw.
func (p *played) noted(write func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	write()
}

// begunBytes is more than a ClientHello has.
const begunBytes = 64 << 10

// counted counts what comes through a tunnel, without frames: who closes a WebSocket politely has not sent anything through it.
type counted struct {
	net.Conn
	p *played
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.p.mu.Lock()
	c.p.tunnel += int64(n)
	c.p.begun = append(c.p.begun, b[:min(n, begunBytes-len(c.p.begun))]...)
	c.p.mu.Unlock()
	return n, err
}

// stop accepts no more and waits until every connection has been served: the client has closed them, or their deadline passes.
func (p *played) stop() {
	_ = p.ln.Close()
	p.wg.Wait()
}

func (p *played) seen() (met int, tunnel int64, notes error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.met, p.tunnel, errors.Join(p.notes...)
}

// pongs waits until the last of these pongs has come, and returns all that have.
func (p *played) pongs(ctx context.Context, want []string) []string {
	ctx, cancel := context.WithTimeout(ctx, p.t.Wait())
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		socket := p.socket
		p.mu.Unlock()
		var got []string
		if socket != nil {
			got = socket.Pongs()
		}
		if len(want) == 0 || slices.Contains(got, want[len(want)-1]) {
			return got
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return got
		}
	}
}

// honest are the fields of RFC 6455, section 4.2.2.
func honest(req *wire.Request) []string {
	lines := []string{"Sec-WebSocket-Accept: " + wire.AcceptFor(req.Header.Get("Sec-Websocket-Key"))}
	return append(lines, subprotocol(req)...)
}

// subprotocol confirms the first that was offered.
func subprotocol(req *wire.Request) []string {
	for _, name := range []string{wire.ALPN, wire.ALPNPing} {
		if wire.HasToken(req.Header, "Sec-Websocket-Protocol", name) {
			return []string{"Sec-WebSocket-Protocol: " + name}
		}
	}
	return nil
}
