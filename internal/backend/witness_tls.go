package backend

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// maxRawHello bounds the bytes kept of a handshake; the ClientHello is in front, so nothing of it is lost: a message of
// wire.MaxHello in records of one byte would need six times as much and is recorded as unreadable.
const maxRawHello = 2 * wire.MaxHello

// rawConn is the TCP connection with the reader that looked ahead. It keeps what is read until kept is stopped, and it
// remembers that TCP has ended: crypto/tls reports a FIN at a record boundary as io.EOF, just as a close_notify.
type rawConn struct {
	net.Conn
	br      *bufio.Reader
	keeping bool
	kept    bytes.Buffer
	ended   bool
}

func (c *rawConn) Read(p []byte) (int, error) {
	n, err := c.br.Read(p)
	if c.keeping && c.kept.Len() < maxRawHello {
		c.kept.Write(p[:n])
	}
	if err == io.EOF {
		c.ended = true
	}
	return n, err
}

// NetConn lets netx find the TCP connection.
func (c *rawConn) NetConn() net.Conn { return c.Conn }

// CloseWrite sends the FIN.
func (c *rawConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// tlsConn is a TLS connection whose reads tell close_notify (io.EOF) from a mere FIN (errTruncated).
type tlsConn struct {
	*tls.Conn
	raw *rawConn
}

func (c *tlsConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	// crypto/tls reads more from TCP only when it has not met a close_notify: an end of TCP seen first is a truncation.
	if (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && c.raw.ended {
		err = errTruncated
	}
	return n, err
}

// handshake ends TLS on raw: any name, the first ALPN that the client offers, a client certificate asked for and not
// verified. What was seen is returned with the error too, as far as the handshake came; behind is what came behind the ClientHello.
func (w *witnessServer) handshake(raw *rawConn) (secure net.Conn, seen *witness.TLS, behind []byte, err error) {
	config := &tls.Config{Certificates: []tls.Certificate{w.cert}, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true, KeyLogWriter: w.keyLog}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) == 0 {
			return nil, nil
		}
		own := config.Clone()
		own.NextProtos = hello.SupportedProtos[:1]
		return own, nil
	}
	raw.keeping = true
	conn := tls.Server(raw, config)
	err = conn.Handshake() // bounded by the timer of serve and by the server's close
	raw.keeping = false
	seen, behind = seenHello(raw.kept.Bytes())
	raw.kept = bytes.Buffer{}
	if err != nil {
		return nil, seen, behind, err
	}
	state := conn.ConnectionState()
	seen.Negotiated, seen.Version = state.NegotiatedProtocol, tls.VersionName(state.Version)
	if len(state.PeerCertificates) > 0 {
		seen.ClientCert = state.PeerCertificates[0].Subject.String()
	}
	return &tlsConn{conn, raw}, seen, nil, nil
}

// seenHello reads the ClientHello off the raw bytes of a connection, in whatever records it came; the first one, should
// the server have asked for another. The rest of the bytes is returned too.
func seenHello(raw []byte) (*witness.TLS, []byte) {
	seen := &witness.TLS{ALPN: []string{}}
	hello, n, err := wire.ParseHello(raw)
	if err != nil {
		return seen, nil
	}
	seen.SNI = hello.SNI
	seen.ALPN = append(seen.ALPN, hello.ALPN...)
	seen.HelloSHA256, seen.HelloBytes = hexSum(hello.Message), len(hello.Message)
	seen.RawSHA256 = hexSum(raw[:n])
	seen.Random = hex.EncodeToString(hello.Random)
	return seen, raw[n:]
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
