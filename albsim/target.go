package albsim

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"time"
)

// dialError is a target that could not be had, with the status that this is in front.
type dialError struct {
	status int
	err    error
}

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// targetConn is one HTTP/1.1 connection to a target.
type targetConn struct {
	*meteredConn
	key    string // of the pool
	br     *bufio.Reader
	bw     *bufio.Writer
	reused bool
	answer response // the last

	later   watchdog      // has the pool begin a watcher
	look    func()        // which that calls
	ear     *ear          // of a plain connection; nil where only reading tells what has come
	wire    *wire         // what faults have made of it
	watched chan struct{} // closed when the pool's watcher has let go; nil while there is none
	stale   bool          // set by the watcher before it does: do not use
}

// close does not wait for a target that reads nothing.
func (c *targetConn) close() {
	c.later.disarm()
	closeSoon(c.meteredConn)
}

// targetKey tells connections that may serve one request from those that may not.
func targetKey(address, sni string, secure bool) string {
	if secure {
		return "tls " + sni + " " + address
	}
	return address
}

// dialTarget is reach for HTTP/1.1.
func (s *Server) dialTarget(ctx context.Context, address, sni string, secure bool, front policy) (*targetConn, error) {
	m, err := s.reach(ctx, address, sni, secure, front, s.plan.profile.BackendALPN)
	if err != nil {
		return nil, err
	}
	c := &targetConn{
		meteredConn: m,
		key:         targetKey(address, sni, secure),
		br:          bufio.NewReaderSize(m, 4<<10),
		bw:          bufio.NewWriterSize(m, 4<<10),
	}
	if raw, ok := m.Conn.(*rawConn); ok {
		c.wire, c.ear = raw.wire, newEar(raw.Conn)
	}
	return c, nil
}

// reach opens a connection and, for an HTTPS group, completes TLS on it. ctx bounds both; each has a timeout of its own
// besides. The certificate is not looked at: AWS documents that it is not (ALB-ERR-10).
func (s *Server) reach(ctx context.Context, address, sni string, secure bool, front policy, alpn []string) (*meteredConn, error) {
	p := &s.plan.profile
	connectCtx, cancel := context.WithTimeout(ctx, s.scaled(p.ConnectTimeout))
	raw, err := s.dial(connectCtx, net.Dialer{}, "tcp", address, secure)
	late := connectCtx.Err() != nil && ctx.Err() == nil // the time to connect is over, not the target's (ALB-DRN-01)
	cancel()
	if err != nil {
		s.count.targetConnErrors.Add(1)
		if late || timedOut(err) {
			return nil, &dialError{504, err}
		}
		return nil, &dialError{502, err}
	}
	conn := raw
	if secure {
		if conn, err = s.targetTLS(ctx, raw, sni, front, alpn); err != nil {
			s.count.targetTLSErrors.Add(1)
			raw.Close()
			return nil, &dialError{502, err}
		}
	}
	return &meteredConn{Conn: conn}, nil
}

// targetName is the SNI for a target: the knob BackendSNI.
func (p *Profile) targetName(host, address string) string {
	switch p.BackendSNI {
	case "host":
		return hostOnly(host)
	case "address":
		name, _, _ := net.SplitHostPort(address)
		if net.ParseIP(name) == nil {
			return name
		}
	}
	return ""
}

// targetConfig is how TLS is spoken to a target.
func (s *Server) targetConfig(raw net.Conn, sni string, front policy, alpn []string) *tls.Config {
	cfg := &tls.Config{
		ServerName:         sni, // empty, with verification off: crypto/tls then sends no SNI
		NextProtos:         alpn,
		InsecureSkipVerify: true,
		KeyLogWriter:       s.opt.TargetKeyLog,
		Renegotiation:      tls.RenegotiateFreelyAsClient, // alb.md section 2: supported towards targets
	}
	if s.plan.profile.BackendVerify == "verify" {
		cfg.InsecureSkipVerify, cfg.RootCAs = false, s.opt.TargetRoots
		if sni == "" { // an address is verified, and not sent
			cfg.ServerName, _, _ = net.SplitHostPort(raw.RemoteAddr().String())
		}
	}
	backendPolicy(front).apply(cfg)
	return cfg
}

func (s *Server) targetTLS(ctx context.Context, raw net.Conn, sni string, front policy, alpn []string) (*plainConn, error) {
	cfg := s.targetConfig(raw, sni, front, alpn)
	under := raw
	var tap *helloTap
	if s.opt.OnTargetHello != nil {
		tap = &helloTap{Conn: raw}
		under = tap
	}
	conn := tls.Client(under, cfg)
	ctx, cancel := context.WithTimeout(ctx, s.scaled(s.plan.profile.TargetTLSTimeout))
	defer cancel()
	err := conn.HandshakeContext(ctx)
	if tap != nil {
		event := HelloEvent{
			Time: time.Now(), Remote: raw.RemoteAddr().String(), Local: raw.LocalAddr().String(),
			Negotiated: conn.ConnectionState().NegotiatedProtocol, Err: err,
		}
		if hello, perr := parseHello(tap.take()); perr == nil {
			event.SNI, event.ALPN, event.Versions = hello.ServerName, hello.SupportedProtos, hello.SupportedVersions
		} else if err == nil {
			event.Err = perr
		}
		s.opt.OnTargetHello(event)
	}
	low, _ := below[*rawConn](raw) // dial has put it there
	return low.overTLS(conn), err
}
