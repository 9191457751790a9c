package router

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// upstream is the backend of a route, its files read.
type upstream struct {
	Backend
	addresses    []*address // in the order of the document
	roots        *x509.CertPool
	certificates []tls.Certificate
	// asks: an SSLRequest goes ahead of a passthrough client's TLS, which it has begun without one.
	asks bool
}

// upstream reads the files of a backend.
func (f *faults) upstream(path string, b Backend) *upstream {
	u := &upstream{Backend: b}
	for _, hostport := range b.List() {
		a := &address{hostport: hostport}
		if ip, err := netip.ParseAddrPort(hostport); err == nil && ip.Addr().Zone() == "" {
			a.ip = netip.AddrPortFrom(ip.Addr().Unmap(), ip.Port())
		}
		u.addresses = append(u.addresses, a)
	}
	if b.CA != "" {
		u.roots = f.pool(path+".ca", b.CA)
	}
	if b.Cert != "" && b.Key != "" {
		if pair, ok := f.keyPair(path, Certificate{Cert: b.Cert, Key: b.Key}); ok {
			u.certificates = []tls.Certificate{pair}
		}
	}
	return u
}

// List is the addresses in the order in which they are tried, one or several.
func (b Backend) List() []string {
	if b.Addresses != nil {
		return b.Addresses
	}
	return []string{b.Address}
}

// dial connects to the backend of a route, address by address. secure is the client's session, nil for a passthrough route; client
// is what is going to be joined, and is spoken to only where the backend speaks first and its greeting must change.
func (c *session) dial(t attempts, client net.Conn, secure *tls.Conn) (net.Conn, error) {
	u := t.upstream
	header, err := c.proxyHeader(u.SendProxy, secure)
	if err != nil {
		return nil, fmt.Errorf("PROXY header: %w", err)
	}
	alpn := ""
	if secure != nil {
		alpn = secure.ConnectionState().NegotiatedProtocol
	}
	for ; len(t.left) > 0; t.left = t.left[1:] {
		a := t.left[0]
		opened, err := c.attempt(t, a, header, alpn)
		if err == nil {
			a.failed.Store(nil)
			if t.failed != nil {
				c.server.stats.failovers.Add(1)
			}
			if u.TLS == StartTLSMySQL {
				return c.startMySQL(u, a, opened, client)
			}
			return opened.conn, nil
		}
		if t.failed == nil {
			t.failed = err
		} else {
			t.failed = fmt.Errorf("%w; %w", t.failed, err)
		}
		if c.server.cutCtx.Err() != nil {
			break // says nothing about the address
		}
		a.fail()
	}
	return nil, t.failed
}

// opened is a backend that is ready for the client's bytes.
type opened struct {
	conn     net.Conn
	greeting []byte // of a MySQL server, which is still to be told about TLS
}

// attempt opens one address within its share of the time. Nothing that the client says after its handshake has a part in it, so the
// next address may still be tried.
func (c *session) attempt(t attempts, a *address, header []byte, alpn string) (o opened, err error) {
	u := t.upstream
	ctx, cancel := context.WithTimeout(c.server.cutCtx, t.share())
	defer cancel()
	o.conn, err = new(net.Dialer).DialContext(ctx, "tcp", a.hostport)
	if err != nil {
		return o, err // says "dial tcp ADDRESS: …"
	}
	if u.TLS == Off && len(header) == 0 {
		return o, nil
	}
	tcp := o.conn
	err = bounded(ctx, tcp, func() error { return c.prelude(ctx, &o, u, a, header, alpn) })
	if err != nil {
		tcp.Close()
		return o, fmt.Errorf("backend %s: %w", a.hostport, err)
	}
	return o, nil
}

// bounded runs do, and ends its reads and writes on conn when ctx ends.
func bounded(ctx context.Context, conn net.Conn, do func() error) error {
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := do()
	if !stop() && err == nil {
		return context.Cause(ctx) // conn is closed or about to be
	}
	conn.SetDeadline(time.Time{})
	return err
}

// prelude is what comes before the client's bytes: PROXY header, then TLS.
func (c *session) prelude(ctx context.Context, o *opened, u *upstream, a *address, header []byte, alpn string) (err error) {
	if len(header) > 0 {
		if _, err := o.conn.Write(header); err != nil {
			return fmt.Errorf("send PROXY header: %w", err)
		}
	}
	switch u.TLS {
	case Off:
		return nil
	case StartTLSMySQL:
		o.greeting, err = readGreeting(o.conn)
		return err
	case StartTLSPostgres:
		if err := startPostgres(o.conn); err != nil {
			return err
		}
	}
	o.conn, err = c.secureBackend(ctx, u, a, o.conn, alpn)
	return err
}
