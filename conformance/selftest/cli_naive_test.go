package selftest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// clientBugs are the switches of the naive client. All off, it conforms.
type clientBugs struct {
	dropBuffer bool // go on with the socket behind the parser's back
	anyAccept  bool
	foldAccept bool
	hangs      bool // neither goes on nor gives up
	anyFields  bool // go on in any subprotocol, with any extension

	statusOnly, exactToken, firstAnswer, anyStatus, endlessHeader, oneRead bool // of the answer
	noVersion, oneKey, deflates, bothAtOnce                                bool // of the request
	outerName, sortsALPN, anyALPN, insecure, anyName, oldVersions          bool // of TLS
	showsOutside, showsNone                                                bool // of the certificate
	fullClose, leavesFirst, anyEnd                                         bool // of ends
	alwaysUpgrades, oneTry                                                 bool // of the way
	socketBugs
}

func naiveClient(b clientBugs) func(*testing.T) conformance.Target {
	return func(*testing.T) conformance.Target { return clientTarget(b.dial) }
}

// dial is the client that people write in a day: TLS, a request, http.ReadResponse, TLS. Left to itself it tries one way after the other.
func (b clientBugs) dial(ctx context.Context, req conformance.DialRequest) (conn net.Conn, report conformance.DialReport, err error) {
	ways := []string{req.Upgrade}
	if req.Upgrade == "auto" {
		ways = []string{"direct", wire.WebSocket, wire.ALPN}
		if b.alwaysUpgrades {
			ways = ways[1:]
		}
		if b.oneTry {
			ways = ways[:2]
		}
	}
	for _, way := range ways {
		report = conformance.DialReport{Class: "terminated", Upgrade: way}
		if way == "direct" {
			report = conformance.DialReport{Class: "direct"}
		}
		var inner *tls.Conn
		if inner, err = b.by(ctx, way, req); err == nil {
			report.ALPN = inner.ConnectionState().NegotiatedProtocol
			return naiveConn{inner, b}, report, nil
		}
	}
	return nil, conformance.DialReport{}, err
}

// by goes one way.
func (b clientBugs) by(ctx context.Context, way string, req conformance.DialRequest) (_ *tls.Conn, err error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", req.Address)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = raw.Close()
		}
	}()
	if at, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(at)
	}
	tunnel := raw
	if way != "direct" {
		if tunnel, err = b.upgrade(ctx, way, raw, req); err != nil {
			return nil, err
		}
	}
	cfg := &tls.Config{ServerName: req.SNI, RootCAs: req.InnerRoots, NextProtos: req.ALPN, InsecureSkipVerify: b.insecure || b.outerName} //nolint:gosec // a bug on purpose
	if b.outerName && way != "direct" {
		cfg.ServerName = req.OuterSNI
	}
	if b.sortsALPN {
		cfg.NextProtos = slices.Sorted(slices.Values(req.ALPN))
	}
	if b.oldVersions {
		cfg.MinVersion = tls.VersionTLS10
	}
	if b.anyName {
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			_, err := state.PeerCertificates[0].Verify(x509Options(req))
			return err
		}
	}
	if req.Client != nil && !b.showsNone {
		cfg.Certificates = []tls.Certificate{*req.Client}
	}
	inner := tls.Client(wire.NewEndWatch(tunnel), cfg)
	if err := inner.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if inner.ConnectionState().NegotiatedProtocol == "" && len(req.ALPN) > 0 && !b.anyALPN {
		return nil, errors.New("no ALPN was confirmed")
	}
	_ = raw.SetDeadline(time.Time{})
	return inner, nil
}

// upgrade ends the outer TLS and asks for a tunnel.
func (b clientBugs) upgrade(ctx context.Context, typ string, raw net.Conn, req conformance.DialRequest) (net.Conn, error) {
	cfg := &tls.Config{ServerName: req.OuterSNI, RootCAs: req.OuterRoots}
	if b.showsOutside && req.Client != nil {
		cfg.Certificates = []tls.Certificate{*req.Client}
	}
	outer := tls.Client(raw, cfg)
	key := make([]byte, 16)
	if !b.oneKey {
		_, _ = rand.Read(key)
	}
	text := base64.StdEncoding.EncodeToString(key)
	if _, err := outer.Write(b.request(typ, text, req.OuterSNI)); err != nil {
		return nil, err
	}
	resp, held, err := b.response(outer)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // a 101 has none
	if resp.StatusCode != http.StatusSwitchingProtocols && !b.anyStatus {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	got, want := resp.Header.Get("Sec-Websocket-Accept"), wire.AcceptFor(text)
	good := got == want || b.anyAccept || b.foldAccept && strings.EqualFold(got, want)
	if typ == wire.WebSocket && !good && b.hangs {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if typ == wire.WebSocket && !good {
		return nil, errors.New("wrong Sec-WebSocket-Accept")
	}
	if fields := resp.Header; !b.anyFields && (fields.Get("Sec-Websocket-Extensions") != "" || fields.Get("Sec-Websocket-Protocol") != "" && fields.Get("Sec-Websocket-Protocol") != wire.ALPN) {
		return nil, errors.New("a subprotocol or an extension that was not offered")
	}
	token := strings.EqualFold(resp.Header.Get("Upgrade"), typ)
	if b.exactToken {
		token = resp.Header.Get("Upgrade") == typ
	}
	if !b.statusOnly && (!token || !wire.HasToken(resp.Header, "Connection", "upgrade")) {
		return nil, errors.New("a 101 without the fields that make it one")
	}
	var below net.Conn = outer
	if !b.dropBuffer {
		below = wire.WithPrefix(outer, held)
	}
	if typ == wire.WebSocket {
		return newNaiveSocket(below, b.socketBugs), nil
	}
	return wire.NewTunnel(typ, below)
}

func (b clientBugs) request(typ, key, host string) []byte {
	token := typ
	if b.bothAtOnce {
		token = "websocket, alpn"
	}
	lines := []string{"Connection: Upgrade", "Upgrade: " + token}
	if typ == wire.WebSocket {
		lines = append(lines, "Sec-WebSocket-Key: "+key, "Sec-WebSocket-Protocol: "+wire.ALPN)
		if !b.noVersion {
			lines = append(lines, "Sec-WebSocket-Version: 13")
		}
		if b.deflates {
			lines = append(lines, "Sec-WebSocket-Extensions: permessage-deflate")
		}
	}
	return wire.Upgrade{Host: host, Path: "/webapi/connectionupgrade", Replace: lines}.Request()
}

// response reads the answer, and what has been read behind it.
func (b clientBugs) response(c net.Conn) (*http.Response, []byte, error) {
	const most = 64 << 10
	var from io.Reader = c
	if !b.endlessHeader {
		from = io.LimitReader(c, most)
	}
	if b.oneRead {
		buf := make([]byte, most)
		n, err := c.Read(buf)
		if err != nil {
			return nil, nil, err
		}
		from = bytes.NewReader(buf[:n])
	}
	br := bufio.NewReader(from)
	for {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return nil, nil, err
		}
		if resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols && !b.firstAnswer {
			continue
		}
		if resp.StatusCode != http.StatusSwitchingProtocols {
			return resp, nil, nil // what is there is its body
		}
		held := make([]byte, br.Buffered())
		_, _ = br.Read(held)
		return resp, held, nil
	}
}

// naiveConn is what the application gets.
type naiveConn struct {
	*tls.Conn
	bugs clientBugs
}

func (c naiveConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil {
		return n, nil
	}
	if c.bugs.leavesFirst {
		_ = c.Close()
	}
	if watch, ok := c.NetConn().(*wire.EndWatch); ok && watch.Ended() && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if c.bugs.anyEnd && errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

func (c naiveConn) CloseWrite() error {
	if c.bugs.fullClose {
		return c.Close()
	}
	return c.Conn.CloseWrite()
}
