package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	proxyproto "github.com/pires/go-proxyproto"

	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

// dialTimeout bounds the way to a backend: TCP, PROXY header and TLS together.
const dialTimeout = 10 * time.Second

// dial connects to the backend of a route. alpn is the name confirmed to the client.
func (c *session) dial(r Route, alpn string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(c.server.cutCtx, dialTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.Backend.Address)
	if err != nil {
		return nil, err // says "dial tcp ADDRESS: …"
	}
	ready, err := c.prelude(ctx, conn, r, alpn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("backend %s: %w", r.Backend.Address, err)
	}
	return ready, nil
}

// prelude is what comes before the client's bytes: PROXY header, then TLS.
func (c *session) prelude(ctx context.Context, conn net.Conn, r Route, alpn string) (net.Conn, error) {
	if r.Backend.SendProxy == Off && r.Backend.TLS == Off {
		return conn, nil
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	defer conn.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	if r.Backend.SendProxy != Off {
		if _, err := proxyHeader(r.Backend.SendProxy, c.source, c.dest).WriteTo(conn); err != nil {
			return nil, fmt.Errorf("send PROXY header: %w", err)
		}
	}
	if r.Backend.TLS == Off {
		return conn, nil
	}
	if r.Backend.TLS == StartTLSPostgres {
		if err := startPostgres(conn); err != nil {
			return nil, err
		}
	}
	host, _, err := net.SplitHostPort(r.Backend.Address)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		ServerName:   host,
		RootCAs:      c.server.opt.BackendRoots,
		KeyLogWriter: c.server.opt.TLSKeyLog,
	}
	if r.Backend.TLS == TLSOn && (alpn == "h2" || alpn == "http/1.1") {
		config.NextProtos = []string{alpn}
	}
	secure := tls.Client(splice.WatchEOF(conn), config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}

// sslRequest asks a PostgreSQL server for TLS: length 8, code 80877103 (protocol documentation, section 54.7).
var sslRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}

func startPostgres(conn net.Conn) error {
	if _, err := conn.Write(sslRequest); err != nil {
		return fmt.Errorf("send SSLRequest: %w", err)
	}
	// Exactly one byte: what a man in the middle puts behind it must not count as said under TLS (CVE-2021-23222).
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return fmt.Errorf("read the answer to SSLRequest: %w", err)
	}
	switch answer[0] {
	case 'S':
		return nil
	case 'N':
		return errors.New("SSLRequest: the server does not offer TLS")
	}
	return fmt.Errorf("SSLRequest: answer %q is neither S nor N", answer[0])
}

// proxyHeader says where the client is. Version 1 has one family for both addresses, so a mixed pair is written as IPv6.
func proxyHeader(version string, source, dest netip.AddrPort) *proxyproto.Header {
	header := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4}
	if version == ProxyV1 {
		header.Version = 1
	}
	if !source.Addr().Is4() || !dest.Addr().Is4() {
		header.TransportProtocol = proxyproto.TCPv6
	}
	if !source.IsValid() || !dest.IsValid() {
		header.TransportProtocol = proxyproto.UNSPEC
		header.Command = proxyproto.LOCAL
	}
	header.SourceAddr, header.DestinationAddr = tcpAddr(source), tcpAddr(dest)
	return header
}

func tcpAddr(ap netip.AddrPort) *net.TCPAddr {
	return &net.TCPAddr{IP: ap.Addr().AsSlice(), Port: int(ap.Port())}
}
