package albsim

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// dial opens the connection to the target, with the PROXY header on it and TLS behind that, or ends the client's.
func (f *flow) dial(ctx context.Context) bool {
	s, g, address := f.s, f.lease.group, f.lease.target.address
	ctx, end := f.lease.within(ctx)
	defer end()
	by := net.Dialer{KeepAlive: -1}
	if from := f.source(address); from.IsValid() {
		by.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	timeout, cancel := context.WithTimeout(ctx, s.scaled(s.plan.profile.ConnectTimeout))
	raw, err := s.dial(timeout, by, "tcp", address, g.secure)
	cancel()
	if err != nil {
		switch {
		case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EADDRINUSE):
			s.count.flows.portErrors.Add(1)
			s.log.Error("the client's address cannot be the source of a connection here: only an address of this machine can, "+
				"such as those of 127.0.0.0/8; set preserve_client_ip.enabled to false", "client", f.peer, "target", address, "err", err)
			f.refuse()
		case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
			s.log.Debug("target refused", "target", address)
			s.count.flows.targetResets.Add(1)
			reset(f.client)
		default:
			s.log.Debug("target not reached", "target", address, "err", err)
			f.refuse()
		}
		return false
	}
	if g.network.proxy {
		raw.SetWriteDeadline(time.Now().Add(s.scaled(s.plan.profile.ConnectTimeout)))
		if _, err := raw.Write(proxyHeader(f.peer, f.local, g.network.endpoint)); err != nil {
			s.log.Debug("PROXY header not written", "target", address, "err", err)
			raw.Close()
			f.refuse()
			return false
		}
		raw.SetWriteDeadline(time.Time{})
	}
	f.target = &meteredConn{Conn: raw}
	if g.secure {
		return f.dialTLS(ctx, raw)
	}
	return true
}

func (f *flow) dialTLS(ctx context.Context, raw net.Conn) bool {
	var offer []string
	if f.s.plan.profile.TargetALPN == "selected" && f.tls.NegotiatedProtocol != "" {
		offer = []string{f.tls.NegotiatedProtocol}
	}
	conn, err := f.s.targetTLS(ctx, raw, f.s.plan.profile.targetName("", f.lease.target.address), f.c.l.plan.policy, offer)
	if err != nil {
		f.s.log.Debug("target handshake failed", "target", f.lease.target.address, "err", err)
		f.s.count.targetTLSErrors.Add(1)
		raw.Close()
		f.refuse()
		return false
	}
	f.backALPN = conn.ConnectionState().NegotiatedProtocol
	f.target = &meteredConn{Conn: conn}
	return true
}

// source is the address to dial from: the client's if that is kept, but not across families, or else the node's own. Zero
// leaves it to the kernel: a node's loopback address leads nowhere but to loopback.
func (f *flow) source(address string) netip.Addr {
	target, err := netip.ParseAddrPort(address)
	from := f.local.Addr()
	if f.lease.group.network.preserve {
		from = f.peer.Addr()
	} else if !from.IsLoopback() || !target.Addr().IsLoopback() {
		return netip.Addr{}
	}
	if err == nil && target.Addr().Unmap().Is4() != from.Is4() {
		return netip.Addr{}
	}
	return from
}
