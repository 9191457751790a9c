// Package client dials a service behind a TLS router, directly where the path keeps SNI and ALPN, and through an HTTP
// connection upgrade where a load balancer ends TLS. [Dialer.Dial] returns the inner TLS session: what is written is the
// service's own protocol.
//
// One connection where one is enough: the first ClientHello offers the service's name and ALPN. When the router answers it,
// that handshake is the data session. When a load balancer completes it without ALPN, the upgrade runs on that very connection.
// Only a handshake that failed costs another connection. Which case it was, and every step that was tried, is in [Info] and in
// the error.
//
// Whose certificate was presented decides whom the client believes to talk to: InnerRoots with ServerName make it the router,
// OuterRoots with OuterServerName the load balancer, neither is an interception and an error. An ALPN echoed by a load balancer
// is therefore no proof of a direct path. Certificates are shown to the router only, OuterCertificates to the load balancer.
//
// There is one way to make a connection, through a proxy or not, for the probe, the upgrades and the data ([Dialer.Proxy]). What a probe
// found out is a property of the path and can be kept ([Memory]).
//
// Sources: shared/facts/tls-routing.md sections 1.5 to 1.8, 4 (cases 7, 8, 10, 11, 15, 16, 17, 18, 20, 27, 29) and 6.
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

const (
	defaultTimeout     = 15 * time.Second
	defaultStepTimeout = 5 * time.Second
)

// The values of Dialer.Upgrade beside the names of the upgrade types.
const (
	Auto   = "auto"   // the probe decides
	Direct = "direct" // never upgrade
)

// A Dialer holds what is known about one service behind one address. Only Address is required; a Dialer may be used by several
// goroutines and must not be changed while it is.
type Dialer struct {
	// Address is host:port of the router or of the load balancer in front of it. "https://host" and "http://host" are
	// understood too, with ports 443 and 80; behind http:// the upgrade endpoint is asked in the clear, and only the inner TLS
	// protects the bytes.
	Address string
	// ServerName is the service's name: the inner SNI, and what the inner certificate must be for. "" means OuterServerName.
	ServerName string
	// OuterServerName is the name of the load balancer; "" means Address's host.
	OuterServerName string
	// Host is the Host field of the upgrade request; "" means the outer name, with Address's port unless it is the scheme's own.
	Host string
	// ALPN are the names offered to the router, the first one preferred.
	ALPN []string
	// InnerRoots verify the router, OuterRoots the load balancer; nil means the system's.
	InnerRoots, OuterRoots *x509.CertPool
	// Insecure accepts any certificate; identity then says nothing about the path.
	Insecure bool
	// Certificates are shown to the router when it asks, inner TLS and direct alike.
	Certificates []tls.Certificate
	// OuterCertificates are shown to the load balancer when it asks.
	OuterCertificates []tls.Certificate
	// Curves are the key exchange groups offered to the router; nil means crypto/tls's own. The first handshake offers X25519 beside a
	// hybrid group that stands alone, for a load balancer that knows none.
	Curves []tls.CurveID
	// Sessions keeps tickets, so that handshakes resume; nil resumes none. Those of the first handshake, which may be the load balancer's,
	// and of the inner one are kept apart.
	Sessions tls.ClientSessionCache
	// Upgrade is Auto (also when ""), Direct, or one upgrade type to use whatever the path.
	Upgrade string
	// Types is the order in which upgrades are tried; nil means websocket, alpn.
	Types []string
	// Path is the upgrade endpoint; "" means upgrade.Path.
	Path string
	// Ping asks for keep-alive pings on websocket.
	Ping bool
	// Timeout bounds the whole dial, 0 means 15 s; StepTimeout each step of it (TCP, a handshake, one upgrade attempt), 0 means 5 s.
	Timeout, StepTimeout time.Duration
	// Proxy names the proxy on the way to target, an http:// or https:// URL of host and port. Proxies with http:// and https:// are
	// asked by CONNECT whatever the target, those with socks5:// resolve the name, a user in the URL is sent along. A nil URL means none, and so
	// does a nil Proxy: the environment is looked at by ProxyFromEnvironment alone.
	Proxy func(target *url.URL) (*url.URL, error)
	// ProxyRoots verify an https:// proxy, Insecure or not; nil means the system's.
	ProxyRoots *x509.CertPool
	// Memory keeps the way found, for Upgrade Auto; nil remembers nothing.
	Memory *Memory
	// NetDial makes the TCP connections, to the proxy if there is one; nil means net.Dialer.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
	// InnerKeyLog and OuterKeyLog receive the TLS secrets, for debugging. Those of the first handshake go to both, since only
	// its end tells which it was.
	InnerKeyLog, OuterKeyLog io.Writer
	// Trace observes how long the phases took.
	Trace *Trace
	// WrapTunnel is put around an upgraded tunnel before the inner handshake.
	WrapTunnel func(net.Conn) net.Conn
}

// Trace has a function for each phase that completed; each may be nil. On a direct path there is no OuterTLS and no Upgrade.
// DNS is the resolution of the address, or of the proxy's, where that is a name and NetDial is net.Dialer's or observes httptrace in the
// same way; TCP is then what comes after it.
type Trace struct {
	DNS, TCP, OuterTLS, Upgrade, InnerTLS func(time.Duration)
}

// DialContext is Dial in the shape that database drivers take. network and addr are ignored: the Dialer knows where to go. The
// connection speaks the service's own protocol, TLS is done: a caller that would start TLS itself must be told not to
// (sslmode=disable), and net/http needs DialTLSContext.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := d.Dial(ctx)
	if err != nil {
		return nil, err // not c: a nil *Conn in a net.Conn would not be nil
	}
	return c, nil
}

// DialTLSContext is Dial for http.Transport's field of that name; network and addr are ignored, as by DialContext. net/http speaks h2,
// and knows a response's TLS state, on a *tls.Conn alone (Transport.dialConn asks for the type), so this is one: the Conn's, without
// Info. With a dial function of its own a Transport takes h2 only when it also has ForceAttemptHTTP2.
func (d *Dialer) DialTLSContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := d.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return c.Conn, nil
}

// Dial opens a connection to the service. ctx bounds the dial and nothing after it; Timeout and StepTimeout bound it too.
//
// An error is a *DialError. Inside it errors.As finds an *ALPNError when the router did not confirm an offered ALPN, a
// *probe.IdentityError when the certificate was a stranger's, and an *upgrade.StatusError when the last upgrade was refused.
//
// A router that refuses the client's certificate shows up in Dial under TLS 1.2. Under TLS 1.3 the client's handshake is over before
// the router has looked at the certificate, so there the refusal is what the first Read returns.
func (d *Dialer) Dial(ctx context.Context) (*Conn, error) {
	s, err := d.start()
	if err != nil {
		return nil, &DialError{Address: d.Address, Err: err}
	}
	limited, cancel := s.limit(ctx)
	defer cancel()
	c, err := s.dial(limited)
	if err != nil {
		if cause := context.Cause(limited); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, &DialError{Address: d.Address, Info: s.info, Err: err}
	}
	return c, nil
}

// dialing is the state of one Dial: what it was told, resolved, and what it found out.
type dialing struct {
	*Dialer
	addr      address
	inner     string // name for the inner certificate
	outer     string // name for the outer one
	host      string
	types     []string
	mode      string
	step      time.Duration
	info      Info
	proxy     *url.URL
	refused   error // how the probe's handshake failed
	plaintext bool
}

// start resolves the defaults and refuses what cannot be dialled.
func (d *Dialer) start() (*dialing, error) {
	addr, err := parseAddress(d.Address)
	if err != nil {
		return nil, err
	}
	s := &dialing{
		Dialer: d, addr: addr, outer: d.OuterServerName, inner: d.ServerName, host: d.Host, types: d.Types, mode: d.Upgrade,
		step: d.StepTimeout, plaintext: addr.plaintext,
	}
	if err := s.findProxy(); err != nil {
		return nil, err
	}
	if s.outer == "" {
		s.outer = addr.host
	}
	if s.inner == "" {
		s.inner = s.outer
	}
	if s.host == "" {
		s.host = addr.hostField(s.outer)
	}
	if s.step <= 0 {
		s.step = defaultStepTimeout
	}
	switch s.mode {
	case "", Auto:
		s.mode = Auto
		if s.types == nil {
			s.types = []string{"websocket", "alpn"}
		}
	case Direct:
		if s.plaintext {
			return nil, errors.New("a direct path has no http:// address")
		}
	default:
		s.types = []string{s.mode}
	}
	for _, t := range s.types {
		if !slices.Contains(upgrade.Names(), t) {
			return nil, fmt.Errorf("unknown upgrade %q", t)
		}
	}
	return s, nil
}

func (s *dialing) dial(ctx context.Context) (*Conn, error) {
	if s.mode == Auto {
		return s.auto(ctx)
	}
	if s.mode != Direct {
		s.info.Class, s.info.Reason = probe.Unknown, "not probed: upgrade "+s.mode+" was asked for"
		if s.plaintext {
			s.info.Class, s.info.Reason = probe.Terminated, plaintextReason
		}
		return s.ladder(ctx, s.types, nil, false)
	}
	raw, err := s.firstTCP(ctx)
	if err != nil {
		return nil, err
	}
	return s.explore(ctx, raw)
}

const plaintextReason = "the endpoint speaks plaintext HTTP"

// firstTCP is the connection that the probe, or a remembered way, begins on.
func (s *dialing) firstTCP(ctx context.Context) (net.Conn, error) {
	began := time.Now()
	raw, err := s.tcp(ctx)
	if err != nil {
		s.info.Class, s.info.Reason = probe.Broken, "no TCP connection"
		s.note(Step{Try: Direct, Err: err, Took: time.Since(began)})
	}
	return raw, err
}

// explore probes the path on raw, and goes the way that the outcome leaves open.
func (s *dialing) explore(ctx context.Context, raw net.Conn) (*Conn, error) {
	if s.plaintext {
		s.info.Class, s.info.Reason = probe.Terminated, plaintextReason
		return s.ladder(ctx, s.types, raw, false)
	}
	conn, err := s.probe(ctx, raw)
	if err != nil {
		return nil, err
	}
	switch {
	case s.info.Class == probe.Direct && conn != nil:
		return &Conn{Conn: conn, info: s.info}, nil
	case s.info.Class == probe.Direct, s.info.Class == probe.Intercepted:
		// The router itself refused, or a stranger answered: another way would lead to the same.
		return nil, s.refused
	case s.mode == Direct:
		closeQuietly(conn)
		return nil, fmt.Errorf("the path is %s, and only a direct one was asked for", s.info.Class)
	case conn == nil || !speaksHTTP1(s.info.Negotiated):
		// Every other outcome is verified by trying: a probe that met silence or an EOF where an alert was due still knows nothing
		// about the upgrade (tls-routing.md, section 4, case 10).
		closeQuietly(conn)
		return s.ladder(ctx, s.types, nil, false)
	}
	return s.ladder(ctx, s.types, conn, true)
}

func (s *dialing) note(step Step) { s.info.Steps = append(s.info.Steps, step) }

func (s *dialing) observe(pick func(*Trace) func(time.Duration), took time.Duration) {
	if s.Trace == nil {
		return
	}
	if f := pick(s.Trace); f != nil {
		f(took)
	}
}

// speaksHTTP1 tells whether an HTTP/1.1 request fits a session with this ALPN.
func speaksHTTP1(alpn string) bool { return alpn == "" || alpn == "http/1.1" }

func closeQuietly(conn *tls.Conn) {
	if conn != nil {
		conn.Close()
	}
}

func bothLogs(a, b io.Writer) io.Writer {
	switch {
	case a == nil:
		return b
	case b == nil, a == b:
		return a
	}
	return io.MultiWriter(a, b)
}
