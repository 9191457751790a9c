package conformance

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// This file is for checks that play the server to a client under test.

// Listen opens a listener of the check's own on loopback; it is closed when the check is over.
func (t *T) Listen(ctx context.Context) (net.Listener, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return ln, t.keep(ctx, listenerConn{ln})
}

// listenerConn lets a listener be kept among the connections; only Close is ever called on it.
type listenerConn struct{ net.Listener }

func (listenerConn) Read([]byte) (int, error)         { return 0, errors.ErrUnsupported }
func (listenerConn) Write([]byte) (int, error)        { return 0, errors.ErrUnsupported }
func (listenerConn) LocalAddr() net.Addr              { return nil }
func (listenerConn) RemoteAddr() net.Addr             { return nil }
func (listenerConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (listenerConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (listenerConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// Adopt traces a connection that the check did not dial, and has it closed when the check is over. Kind is part of its name.
func (t *T) Adopt(ctx context.Context, c net.Conn, kind string) (*wire.Conn, error) {
	traced := wire.NewConn(c, t.rec, kind)
	return traced, t.keep(ctx, traced)
}

// ServeTLS ends TLS on a connection that was accepted and returns the ClientHello as it was on the wire. The key log is filled
// in where cfg has none.
func (t *T) ServeTLS(ctx context.Context, c net.Conn, cfg *tls.Config) (*tls.Conn, wire.Hello, error) {
	restore := t.deadline(ctx, c)
	defer restore()
	var raw []byte
	var hello wire.Hello
	chunk := make([]byte, 4096)
	for {
		n, err := c.Read(chunk)
		raw = append(raw, chunk[:n]...)
		var parsed error
		if hello, _, parsed = wire.ParseHello(raw); parsed == nil {
			break
		}
		if !errors.Is(parsed, wire.ErrNeedMore) {
			return nil, hello, fmt.Errorf("reading the ClientHello: %w (%.40q)", parsed, raw)
		}
		if err != nil {
			return nil, hello, fmt.Errorf("reading the ClientHello (%d bytes came): %w", len(raw), err)
		}
	}
	cfg = cfg.Clone()
	if cfg.KeyLogWriter == nil {
		cfg.KeyLogWriter = &t.keylog
	}
	conn := tls.Server(wire.NewEndWatch(wire.WithPrefix(c, raw)), cfg)
	err := conn.Handshake() // not HandshakeContext: it would close the stream
	t.shook(conn, cfg, err)
	if err != nil {
		return nil, hello, fmt.Errorf("TLS as the server: %w", err)
	}
	return conn, hello, nil
}
