package albsim

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
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

	watched chan struct{} // closed when the pool's watcher has let go; nil while in use
	stale   bool          // set by the watcher before it does: do not use
}

// close does not wait for a target that reads nothing.
func (c *targetConn) close() { closeSoon(c.meteredConn) }

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
	return &targetConn{
		meteredConn: m,
		key:         targetKey(address, sni, secure),
		br:          bufio.NewReaderSize(m, 4<<10),
		bw:          bufio.NewWriterSize(m, 4<<10),
	}, nil
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

// pool keeps idle target connections, each with a watcher that notices when the target closes one.
type pool struct {
	limit   int // per key
	timeout time.Duration
	wg      sync.WaitGroup

	mu     sync.Mutex // guards what follows
	idle   map[string][]*targetConn
	closed bool
}

// get returns an idle connection that was alive a moment ago, or nil.
func (p *pool) get(key string) *targetConn {
	for {
		p.mu.Lock()
		list := p.idle[key]
		if len(list) == 0 {
			p.mu.Unlock()
			return nil
		}
		c := list[len(list)-1]
		if p.idle[key] = list[:len(list)-1]; len(list) == 1 {
			delete(p.idle, key) // BackendSNI can make keys of what clients say
		}
		p.mu.Unlock()

		c.SetReadDeadline(longAgo)
		<-c.watched
		if c.stale {
			c.close()
			continue
		}
		c.SetReadDeadline(time.Time{})
		c.watched, c.reused = nil, true
		return c
	}
}

// put takes a connection whose last response was read to its end.
func (p *pool) put(c *targetConn) {
	c.dog.Store(nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle[c.key]) >= p.limit {
		c.close()
		return
	}
	c.watched = make(chan struct{})
	c.SetReadDeadline(time.Now().Add(p.timeout))
	p.idle[c.key] = append(p.idle[c.key], c)
	p.wg.Go(func() { p.watch(c) })
}

// watch waits for a word from an idle target. Any is wrong: a FIN ends the connection, bytes belong to no request.
func (p *pool) watch(c *targetConn) {
	_, err := c.br.Peek(1)
	// Whoever removed c from the list wants it; otherwise it is ours to close.
	p.mu.Lock()
	wanted := true
	for i, other := range p.idle[c.key] {
		if other == c {
			p.idle[c.key] = append(p.idle[c.key][:i], p.idle[c.key][i+1:]...)
			wanted = false
			break
		}
	}
	p.mu.Unlock()
	c.stale = !timedOut(err)
	close(c.watched)
	if !wanted {
		c.close()
	}
}

// drop closes the idle connections to a target that is sent no requests any more.
func (p *pool) drop(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, list := range p.idle {
		if key == address || strings.HasSuffix(key, " "+address) {
			for _, c := range list {
				c.SetReadDeadline(longAgo) // its watcher closes it
			}
		}
	}
}

// close ends every idle connection and waits for the watchers.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for _, list := range p.idle {
		for _, c := range list {
			c.SetReadDeadline(longAgo)
		}
	}
	p.mu.Unlock()
	p.wg.Wait()
}
