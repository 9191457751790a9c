package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// walkTimeout bounds one tunnel of a walk.
const walkTimeout = 10 * time.Second

// Walk opens one tunnel to each route over each path and reports what the ClientHello of every hop carried: read off the
// loopback interface where this process may capture, else as the components themselves saw it. What is inside a tunnel is
// encrypted once more on the wire, so the inner hop is always read where the client writes it. A hop without TLS has no row. The
// sentence says which.
func (l *Lab) Walk(ctx context.Context, progress func(path string)) ([]result.Wire, string, error) {
	wires := []result.Wire{}
	source := "ClientHellos were read off the loopback interface by packet capture; those inside a tunnel were tapped where the client writes them."
	capturing := true
	var unseen []string
	for _, c := range l.chains {
		for _, route := range l.scenario.Routes {
			seen, err := l.walkOne(ctx, c, route, capturing)
			if errors.Is(err, capture.ErrNotPermitted) {
				capturing = false
				source = "Tapped inside the process, not captured: " + err.Error() + "."
				seen, err = l.walkOne(ctx, c, route, false)
			}
			if err != nil {
				return wires, source, fmt.Errorf("path %s, route %s: %w", c.path, route.Name, err)
			}
			wires = append(wires, seen...)
		}
		if !capturing {
			unseen = append(unseen, c.unseen()...)
		}
		progress(c.path)
	}
	if len(unseen) > 0 {
		source += " Between products of others nothing can be tapped: " + strings.Join(unseen, ", ") + "."
	}
	return wires, source, nil
}

// unseen are the hops that nobody of ours can tap, by path.
func (c *chain) unseen() []string {
	var list []string
	for i, hop := range c.hops() {
		if hop.Name != hopInner && hop.TLS && !c.tapped(i) {
			list = append(list, hop.Name+" of "+c.path)
		}
	}
	return list
}

func (l *Lab) walkOne(ctx context.Context, c *chain, route scenario.Route, capturing bool) ([]result.Wire, error) {
	d, err := l.Dialer(c.path, route.Name)
	if err != nil {
		return nil, err
	}
	keys := &capture.KeyLog{}
	d.InnerKeyLog, d.OuterKeyLog = &l.keys, &l.keys
	var outer, inner helloTap
	d.WrapTunnel = inner.wrap
	d.NetDial = outer.dial(d.NetDial)
	signed := noteSignatures(d)
	hops := c.hops()
	l.taps.start(hops, len(c.nodes))
	l.keys.set(keys)
	defer l.keys.set(nil)

	var session *capture.Session
	if capturing {
		if session, err = l.capture(ctx, c.captureHops(), keys); err != nil {
			return nil, err
		}
	}
	conn, err := dialOnce(ctx, d)
	if err != nil {
		if session != nil {
			_, stopped := session.Stop()
			err = errors.Join(err, stopped)
		}
		return nil, err
	}
	if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		l.log.Debug("walk: close", "path", c.path, "route", route.Name, "error", err)
	}
	tapped := l.taps.stop(ctx, hops[len(hops)-1].Name, c.apart)
	if last := hops[len(hops)-1].Name; c.apart && signed() { // the last session is the one in which the router asks for it
		tapped = append(tapped, result.Wire{Hop: last, ClientCert: true})
	}
	var captured []capture.Observation
	if session != nil {
		if captured, err = session.Stop(); err != nil {
			return nil, err
		}
	}
	rows, err := hopsSeen(c, route, captured, tapped, &outer, &inner, capturing)
	if len(rows) > 0 && route.Mode == router.ModePassthrough && signed() {
		rows[len(rows)-1].ClientCert = true // the service asked for it, and the router cannot see that
	}
	return rows, err
}

func dialOnce(ctx context.Context, d *client.Dialer) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, walkTimeout)
	defer cancel()
	return d.Dial(ctx)
}

// hopsSeen puts together one row a hop that has TLS. A hop of which nothing was seen is an error: an empty capture proves nothing.
func hopsSeen(c *chain, route scenario.Route, captured []capture.Observation, tapped []result.Wire, outer, inner *helloTap, capturing bool) ([]result.Wire, error) {
	var rows []result.Wire
	for i, hop := range c.hops() {
		if !hop.TLS || !capturing && hop.Name != hopInner && !c.tapped(i) {
			continue
		}
		row := result.Wire{Path: c.path, Hop: hop.Name, Route: route.Name, ALPN: []string{}}
		switch {
		case hop.Name == hopInner:
			hello, ok := inner.hello()
			if !ok {
				return nil, fmt.Errorf("no ClientHello was seen inside the tunnel")
			}
			row.Source = "tap"
			fill(&row, hello)
			for _, t := range tapped {
				if t.Hop == hopInner {
					row.ClientCert = row.ClientCert || t.ClientCert
				}
			}
		case capturing:
			found := false
			for _, o := range captured {
				if o.Hop == hop.Name {
					found = true
					row.Source, row.SNI, row.SHA256 = "capture", o.SNI, o.SHA256
					row.ALPN = append(row.ALPN[:0], o.ALPN...)
					row.ClientCert = o.ClientCert
					if !o.ClientCertKnown { // the flight could not be decrypted: the side that ended it knows
						row.ClientCert = slices.ContainsFunc(tapped, func(t result.Wire) bool { return t.Hop == hop.Name && t.ClientCert })
					}
				}
			}
			if !found {
				return nil, fmt.Errorf("hop %s: the capture has no ClientHello", hop.Name)
			}
		default:
			found := false
			for _, t := range tapped {
				if t.Hop == hop.Name && !c.apart {
					found = true
					row.Source, row.SNI, row.ALPN, row.ClientCert = "tap", t.SNI, t.ALPN, t.ClientCert
				}
			}
			if hello, ok := outer.hello(); ok && i == 0 && !found { // nobody but the client itself can tell
				found = true
				row.Source = "tap"
				fill(&row, hello)
				row.ClientCert = slices.ContainsFunc(tapped, func(t result.Wire) bool { return t.Hop == hop.Name && t.ClientCert })
			}
			if !found {
				return nil, fmt.Errorf("hop %s: the tap saw no ClientHello", hop.Name)
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func fill(row *result.Wire, h wire.Hello) {
	if h.HasSNI {
		row.SNI = &h.SNI
	}
	row.ALPN = append(row.ALPN[:0], h.ALPN...)
	sum := sha256.Sum256(h.Message)
	row.SHA256 = hex.EncodeToString(sum[:])
}

// captureHops are the hops that are TCP connections of their own and have TLS, told apart by where they lead.
func (c *chain) captureHops() []capture.Hop {
	var hops []capture.Hop
	for i, h := range c.hops() {
		if h.Name == hopInner || !h.TLS {
			continue
		}
		hops = append(hops, capture.Hop{Name: h.Name, Server: c.server(i, h)})
	}
	return hops
}

// helloTap reads the ClientHello that a client writes to a connection or into a tunnel.
type helloTap struct {
	mu      sync.Mutex
	written []byte
}

func (t *helloTap) wrap(c net.Conn) net.Conn { return &tappedConn{Conn: c, tap: t} }

// dial taps each connection that is dialled; the last one counts.
func (t *helloTap) dial(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		t.mu.Lock()
		t.written = nil
		t.mu.Unlock()
		return t.wrap(conn), nil
	}
}

func (t *helloTap) hello() (wire.Hello, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, _, err := wire.ParseHello(t.written)
	return h, err == nil
}

type tappedConn struct {
	net.Conn
	tap *helloTap
}

func (c *tappedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.tap.mu.Lock()
	if len(c.tap.written) < wire.MaxHello {
		c.tap.written = append(c.tap.written, p[:n]...)
	}
	c.tap.mu.Unlock()
	return n, err
}

func (c *tappedConn) Unwrap() net.Conn { return c.Conn }

// taps collect what the components saw, while a walk is on.
type taps struct {
	mu   sync.Mutex
	on   bool
	last string // the hop that leads to the router
	seen []result.Wire
	more chan struct{} // has room for one: something was added
}

// start begins to listen; hops[last] is the one that leads to the router.
func (t *taps) start(hops []result.Hop, last int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = hops[last].Name
	t.on, t.seen, t.more = true, nil, make(chan struct{}, 1)
}

// tapWait bounds how long a component may take to tell what it saw: the client is done with a TLS 1.3 handshake before the
// router has seen the client's certificate.
const tapWait = 2 * time.Second

// stop returns what was seen, as soon as the last hop of the path has told, or when tapWait is over; at once if there is nobody to tell.
func (t *taps) stop(ctx context.Context, last string, nobody bool) []result.Wire {
	timer := time.NewTimer(tapWait)
	defer timer.Stop()
	for {
		t.mu.Lock()
		seen, more := t.seen, t.more
		if slices.ContainsFunc(seen, func(w result.Wire) bool { return w.Hop == last }) || nobody || ctx.Err() != nil {
			t.on = false
			t.mu.Unlock()
			return seen
		}
		t.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
		case <-timer.C:
			t.mu.Lock()
			defer t.mu.Unlock()
			t.on = false
			return t.seen
		}
	}
}

func (t *taps) add(w result.Wire, sni string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.on {
		return
	}
	if sni != "" {
		w.SNI = &sni
	}
	if w.ALPN == nil {
		w.ALPN = []string{}
	}
	t.seen = append(t.seen, w)
	select {
	case t.more <- struct{}{}:
	default:
	}
}

func (t *taps) routerHello(e router.HelloEvent) {
	hop := hopInner
	if !e.Tunnel {
		t.mu.Lock()
		hop = t.last
		t.mu.Unlock()
	}
	t.add(result.Wire{Hop: hop, ALPN: e.ALPN, ClientCert: e.ClientCert}, e.SNI)
}

// keySwitch hands key log lines to whoever is capturing just now, and to the tape of the lab where there is one.
type keySwitch struct {
	tape *tape
	mu   sync.Mutex
	to   *capture.KeyLog
}

func (k *keySwitch) set(to *capture.KeyLog) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.to = to
}

func (k *keySwitch) Write(p []byte) (int, error) {
	if k.tape != nil {
		_, _ = k.tape.Write(p) // it never fails
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.to != nil {
		return k.to.Write(p)
	}
	return len(p), nil
}
