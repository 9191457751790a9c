package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

// secureBackend runs the router's own handshake with a backend. alpn is the name confirmed to the client.
func (c *session) secureBackend(ctx context.Context, u *upstream, a *address, conn net.Conn, alpn string) (net.Conn, error) {
	name := u.ServerName
	if name == "" {
		host, _, err := net.SplitHostPort(a.hostport)
		if err != nil {
			return nil, err
		}
		name = host
	}
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		ServerName:   name,
		RootCAs:      c.server.opt.BackendRoots,
		Certificates: u.certificates,
		KeyLogWriter: c.server.opt.TLSKeyLog,
	}
	if u.roots != nil {
		config.RootCAs = u.roots
	}
	offer := u.ALPN
	if offer == "" && u.TLS == TLSOn && (alpn == "h2" || alpn == "http/1.1") {
		offer = alpn
	}
	if offer != "" {
		config.NextProtos = []string{offer}
	}
	secure := tls.Client(splice.WatchEOF(conn), config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	// crypto/tls refuses a name that was not offered, and takes none for an answer. A server that knows no ALPN speaks HTTP/1.1; any
	// other protocol must be confirmed, since the client was told that it is spoken.
	if got := secure.ConnectionState().NegotiatedProtocol; got != offer && (u.ALPN != "" || offer != "http/1.1") {
		return nil, fmt.Errorf("TLS handshake: ALPN %q was not confirmed", offer)
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
