package checks

import (
	"context"
	"crypto/tls"
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
	typ string
	// answer gives the field lines of the 101 but for Upgrade and Connection.
	answer func(req *wire.Request) []string
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
	upgrades int        // requests answered with 101
	tunnel   int64      // bytes that came through tunnels
	socket   *wire.WSServer
	notes    []error
}

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
	p.request.OuterCA, p.request.InnerCA = rootPEM(p.outer), rootPEM(p.inner)
	if p.ln, err = t.Listen(ctx); err != nil {
		return nil, err
	}
	p.request.Address, p.request.SNI, p.request.ALPN = p.ln.Addr().String(), t.Name("a"), []string{"trb-a"}
	p.request.OuterSNI, p.request.Upgrade = balancerName, s.typ
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
	outer, _, err := p.t.ServeTLS(ctx, c, &tls.Config{Certificates: []tls.Certificate{*p.outer}})
	if err != nil {
		return err
	}
	_ = c.SetDeadline(time.Now().Add(2 * p.t.Wait()))
	req, rest, err := wire.ReadRequest(outer)
	if err != nil {
		return err
	}
	if !wire.HasToken(req.Header, "Upgrade", p.script.typ) {
		_, err := io.WriteString(outer, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return errors.Join(fmt.Errorf("asked for %q, not %s", req.Header.Values("Upgrade"), p.script.typ), err)
	}
	lines := append([]string{"HTTP/1.1 101 Switching Protocols", "Upgrade: " + p.script.typ, "Connection: Upgrade"}, p.script.answer(req)...)
	head := strings.Join(lines, "\r\n") + "\r\n\r\n"
	first, later := []byte(nil), p.script.behind
	if len(later) > 0 {
		first, later = later[0], later[1:]
	}
	if _, err := outer.Write(append([]byte(head), first...)); err != nil {
		return err
	}
	p.mu.Lock()
	p.upgrades++
	p.mu.Unlock()
	for _, piece := range later {
		select {
		case <-time.After(pieceGap):
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := outer.Write(piece); err != nil {
			return err
		}
	}
	return p.router(ctx, rest)
}

// router is the inside of the tunnel: TLS with the routed ALPN, and an echo.
func (p *played) router(ctx context.Context, c net.Conn) error {
	tunnel := c
	switch p.script.typ {
	case wire.WebSocket:
		if p.script.below != nil {
			c = p.script.below(c)
		}
		socket := wire.NewWSServer(c)
		p.mu.Lock()
		p.socket = socket
		p.mu.Unlock()
		tunnel = socket
	case wire.ALPNPing:
		var err error
		if tunnel, err = wire.NewTunnel(wire.ALPNPing, c); err != nil { // both ends frame alike
			return err
		}
	}
	inner, _, err := p.t.ServeTLS(ctx, counted{tunnel, p}, &tls.Config{Certificates: []tls.Certificate{*p.inner}, NextProtos: []string{"trb-a"}})
	if err != nil {
		return fmt.Errorf("inside the tunnel: %w", err)
	}
	_ = c.SetDeadline(time.Now().Add(2 * p.t.Wait()))
	_, err = io.Copy(inner, inner)
	return err
}

// counted counts what comes through a tunnel, without frames: who closes a WebSocket politely has not sent anything through it.
type counted struct {
	net.Conn
	p *played
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.p.mu.Lock()
	c.p.tunnel += int64(n)
	c.p.mu.Unlock()
	return n, err
}

// stop accepts no more and waits until every connection has been served: the client has closed them, or their deadline passes.
func (p *played) stop() {
	_ = p.ln.Close()
	p.wg.Wait()
}

func (p *played) seen() (upgrades int, tunnel int64, notes error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.upgrades, p.tunnel, errors.Join(p.notes...)
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
