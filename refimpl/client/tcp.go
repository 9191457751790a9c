package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"
)

// ProxyFromEnvironment is a Dialer.Proxy that goes by HTTP_PROXY, HTTPS_PROXY and NO_PROXY, or their lower-case forms, as net/http
// does: the first is for http:// addresses, and localhost and loopback addresses have no proxy.
func ProxyFromEnvironment(target *url.URL) (*url.URL, error) {
	return httpproxy.FromEnvironment().ProxyFunc()(target)
}

// A ProxyError is a proxy that was not reached, or did not open the way to the address.
type ProxyError struct {
	Proxy  string // its URL, without the password
	Status int    // of the answer to CONNECT; 0 for none, and for SOCKS5
	Err    error
}

func (e *ProxyError) Error() string { return fmt.Sprintf("proxy %s: %v", e.Proxy, e.Err) }

// Unwrap gives the cause.
func (e *ProxyError) Unwrap() error { return e.Err }

// proxyPorts are the schemes of proxies that are understood, with their ports.
var proxyPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// findProxy asks Dialer.Proxy.
func (s *dialing) findProxy() error {
	if s.Proxy == nil {
		return nil
	}
	target := &url.URL{Scheme: "https", Host: s.addr.dial}
	if s.plaintext {
		target.Scheme = "http"
	}
	found, err := s.Proxy(target)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	if found != nil && (proxyPorts[found.Scheme] == "" || found.Hostname() == "") {
		return fmt.Errorf("proxy %s: want http://, https:// or socks5:// and a host", found.Redacted())
	}
	s.proxy = found
	return nil
}

// tcp makes one connection to the address, through the proxy when there is one. Probe, upgrades and data all come this way.
func (s *dialing) tcp(ctx context.Context) (net.Conn, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, s.step, &timeoutError{"tcp", s.step})
	defer cancel()
	dial := s.NetDial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	var resolved resolution
	if s.Trace != nil {
		ctx = resolved.watch(ctx)
	}
	var conn net.Conn
	var err error
	if s.proxy == nil {
		conn, err = dial(ctx, "tcp", s.addr.dial)
	} else {
		conn, err = s.viaProxy(ctx, dial)
	}
	if err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	took := time.Since(began)
	if dns, ok := resolved.took(); ok {
		took -= dns
		s.observe(func(t *Trace) func(time.Duration) { return t.DNS }, dns)
	}
	s.observe(func(t *Trace) func(time.Duration) { return t.TCP }, took)
	return conn, nil
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

func (s *dialing) viaProxy(ctx context.Context, dial dialFunc) (net.Conn, error) {
	port := s.proxy.Port()
	if port == "" {
		port = proxyPorts[s.proxy.Scheme]
	}
	raw, err := dial(ctx, "tcp", net.JoinHostPort(s.proxy.Hostname(), port))
	if err != nil {
		return nil, s.proxyError(err)
	}
	var conn net.Conn
	switch s.proxy.Scheme {
	case "socks5", "socks5h":
		conn, err = raw, s.socks5(ctx, raw)
	case "https":
		secured := tls.Client(raw, &tls.Config{ServerName: s.proxy.Hostname(), RootCAs: s.ProxyRoots})
		if err = secured.HandshakeContext(ctx); err == nil {
			conn, err = requestTunnel(ctx, secured, s.addr.dial, s.proxy.User)
		}
	default:
		conn, err = requestTunnel(ctx, raw, s.addr.dial, s.proxy.User)
	}
	if err != nil {
		raw.Close()
		return nil, s.proxyError(err)
	}
	return conn, nil
}

func (s *dialing) proxyError(err error) error {
	e := &ProxyError{Proxy: s.proxy.Redacted(), Err: err}
	if status, ok := errors.AsType[connectStatus](err); ok {
		e.Status = int(status)
	}
	return e
}

// socks5 opens the way on conn (RFC 1928, RFC 1929). The name is resolved by the proxy.
func (s *dialing) socks5(ctx context.Context, conn net.Conn) error {
	var auth *proxy.Auth
	if u := s.proxy.User; u != nil {
		password, _ := u.Password()
		auth = &proxy.Auth{User: u.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", s.proxy.Host, auth, dialled{conn})
	if err != nil {
		return err
	}
	// What it returns hides CloseWrite and adds nothing: bytes are read one answer at a time, so conn itself goes on where it stopped.
	_, err = d.(proxy.ContextDialer).DialContext(ctx, "tcp", s.addr.dial)
	return err
}

// dialled is a dialer for a connection that is there already.
type dialled struct{ conn net.Conn }

func (d dialled) Dial(string, string) (net.Conn, error) { return d.conn, nil }

func (d dialled) DialContext(context.Context, string, string) (net.Conn, error) { return d.conn, nil }
