//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// layered is a tunnel of this module's client.
type layered struct{ net.Conn }

func (t layered) Read(b []byte) (int, error) {
	_ = t.SetReadDeadline(time.Now().Add(patience))
	return t.Conn.Read(b)
}

func (t layered) Write(b []byte) (int, error) {
	_ = t.SetWriteDeadline(time.Now().Add(patience))
	return t.Conn.Write(b)
}

func (t layered) close() { t.Close() }

// openLayered opens a tunnel by an upgrade, in TLS or without, with a passthrough ClientHello in it, and returns when that came back.
func (o *opener) openLayered(typ string, secure bool) (tunnel, error) {
	conn, err := net.DialTimeout("tcp", o.Addr, patience)
	if err != nil {
		return nil, err
	}
	fail := func(step string, err error) (tunnel, error) {
		conn.Close()
		return nil, fmt.Errorf("%s: %w", step, err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	if secure {
		config := o.config.Clone()
		config.ServerName, config.NextProtos = "", []string{"http/1.1"} // no name is the router's own
		session := tls.Client(conn, config)
		if err := session.Handshake(); err != nil {
			return fail("handshake", err)
		}
		conn = session
	}
	up, err := upgrade.Dial(context.Background(), conn, upgrade.ClientOptions{Type: typ, Host: "bench.test", Path: upgradePath})
	if err != nil {
		return fail("upgrade", err)
	}
	t := layered{up}
	if _, err := t.Write(o.hello); err != nil {
		return fail("ClientHello", err)
	}
	if _, err := io.ReadFull(t, make([]byte, len(o.hello))); err != nil {
		return fail("echo of the ClientHello", err)
	}
	return t, nil
}
