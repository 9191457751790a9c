package albsim

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"hash/fnv"
	"net"
	"net/netip"
	"time"
)

// flow is one connection through a network load balancer.
type flow struct {
	s           *Server
	c           *connState
	client      *meteredConn
	target      *meteredConn // nil until there is one
	lease       *lease
	peer, local netip.AddrPort // of the connection in front

	// of a TLS listener
	tls      *tls.ConnectionState // nil on a TCP listener
	hello    bool                 // there was one
	offered  []string             // the client's ALPN list
	shaken   time.Duration        // the handshake's; 0 when it failed
	backALPN string
	alert    int // that the client sent; -1 for none
}

// serveNetwork is what a TCP or TLS listener does with a connection.
func (s *Server) serveNetwork(ctx context.Context, c *connState, raw *rawConn) {
	f := &flow{
		s: s, c: c, client: &meteredConn{Conn: raw}, alert: -1,
		peer: addrPort(raw.RemoteAddr()), local: addrPort(raw.LocalAddr()),
	}
	defer f.log()
	if c.l.plan.secure && !f.handshake(ctx, raw) {
		return
	}
	if !s.setIdle(c, false) {
		return
	}
	if !f.pick() {
		f.refuse()
		return
	}
	defer f.lease.release()
	if !f.dial(ctx) {
		return
	}
	s.count.flows.begin(f.tls != nil)
	defer s.count.flows.end(f.tls != nil)
	f.relay(ctx)
}

// pick has a target chosen; false when there is none.
func (f *flow) pick() (ok bool) {
	seed := f.s.opt.Seed
	q := pickRequest{client: f.peer, flow: flowHash(seed, f.peer, f.local)}
	g := f.c.l.plan.network.group(q.flow)
	if g == nil {
		f.s.log.Debug("every target group has weight 0")
		return false
	}
	if g.set.sticky {
		// Source IP affinity: N-TG says that it may be lost when targets come, go or change their health, as it is here.
		q.flow = flowHash(seed, netip.AddrPortFrom(f.peer.Addr(), 0), netip.AddrPort{})
	}
	if f.lease, ok = g.pick(q); !ok {
		f.s.log.Debug("no target", "group", g.name)
	}
	return ok
}

// handshake ends the client's TLS, and never asks for a certificate.
func (f *flow) handshake(ctx context.Context, raw *rawConn) bool {
	conn := tls.Server(raw, f.c.l.tls)
	handshake, cancel := context.WithTimeout(ctx, f.idle())
	err := conn.HandshakeContext(handshake)
	cancel()
	state := conn.ConnectionState()
	f.tls = &state
	f.s.frontHello(raw, &state, err)
	if raw.hello != nil {
		f.hello, f.offered = true, raw.hello.SupportedProtos
		raw.hello = nil
	}
	if err != nil {
		f.alert = alertOf(err)
		f.s.count.clientTLSErrors.Add(1)
		f.s.log.Debug("front handshake failed", "client", f.peer, "err", err)
		return false
	}
	f.shaken = time.Since(f.c.established)
	f.client = &meteredConn{Conn: raw.overTLS(conn)}
	return true
}

func (f *flow) idle() time.Duration { return f.s.scaled(f.c.l.plan.network.idle) }

// refuse is the balancer's own RST. A real one gives it, or the target does, in place of the SYN's answer; here the
// connection is there already.
func (f *flow) refuse() {
	f.s.count.flows.elbResets.Add(1)
	reset(f.client)
}

// flowHash stands for the one over the 5-tuple and the sequence number, which a socket does not tell: alb.md section 11.
func flowHash(seed uint64, client, balancer netip.AddrPort) uint64 {
	h := fnv.New64a()
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], seed)
	h.Write(b[:])
	for _, a := range []netip.AddrPort{client, balancer} {
		ip := a.Addr().As16()
		h.Write(ip[:])
		h.Write(binary.BigEndian.AppendUint16(b[:0], a.Port()))
	}
	sum := h.Sum64()
	return sum ^ sum>>32 // the low bits of FNV depend on low bits only
}

// addrPort is the zero value for what is no IP address and port.
func addrPort(a net.Addr) netip.AddrPort {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
