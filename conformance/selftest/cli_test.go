package selftest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

func init() {
	right = append(right,
		conforming{name: "client", role: conformance.Client, target: func(*testing.T) conformance.Target { return clientTarget(referenceDial) }},
		conforming{name: "naive client", role: conformance.Client, target: naiveClient(clientBugs{})})
	addMutant("TUN-03", "throws the buffer of the HTTP parser away", naiveClient(clientBugs{dropBuffer: true}))
	addMutant("TUN-03", "does not answer pings", naiveClient(clientBugs{noPong: true}))
	addMutant("UPG-16-C", "does not look at Sec-WebSocket-Accept", naiveClient(clientBugs{anyAccept: true}))
	addMutant("UPG-16-C", "neither goes on nor gives up", naiveClient(clientBugs{hangs: true}))
	addMutant("UPG-16-C", "compares in any case of letters", naiveClient(clientBugs{foldAccept: true}))
}

type dialFunc = func(ctx context.Context, req conformance.DialRequest) (net.Conn, conformance.DialReport, error)

func clientTarget(dial dialFunc) conformance.Target {
	return conformance.Target{Name: "selftest client", Role: conformance.Client, Features: []string{"websocket", "alpn", "alpn-ping"}, Dial: dial}
}

func referenceDial(ctx context.Context, req conformance.DialRequest) (net.Conn, conformance.DialReport, error) {
	d := &client.Dialer{
		Address: req.Address, ServerName: req.SNI, ALPN: req.ALPN, InnerRoots: req.InnerRoots, OuterRoots: req.OuterRoots,
		OuterServerName: req.OuterSNI, Upgrade: req.Upgrade,
	}
	conn, err := d.Dial(ctx)
	if err != nil {
		return nil, conformance.DialReport{}, err
	}
	info := conn.Info()
	return conn, conformance.DialReport{Class: string(info.Class), Upgrade: info.Upgrade, ALPN: info.Negotiated}, nil
}

// clientBugs are the switches of the naive client. All off, it conforms as far as upgrades by force go.
type clientBugs struct {
	dropBuffer bool // go on with the socket behind the parser's back
	noPong     bool
	anyAccept  bool
	foldAccept bool
	hangs      bool // neither goes on nor gives up
	takesMask  bool // undo the mask of a server
	anyFields  bool // go on in any subprotocol, with any extension
}

func naiveClient(b clientBugs) func(*testing.T) conformance.Target {
	return func(*testing.T) conformance.Target { return clientTarget(b.dial) }
}

// dial is the client that people write in an afternoon: TLS, a request, http.ReadResponse, TLS.
func (b clientBugs) dial(ctx context.Context, req conformance.DialRequest) (_ net.Conn, _ conformance.DialReport, err error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", req.Address)
	if err != nil {
		return nil, conformance.DialReport{}, err
	}
	defer func() {
		if err != nil {
			_ = raw.Close()
		}
	}()
	if at, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(at)
	}
	outer := tls.Client(raw, &tls.Config{ServerName: req.OuterSNI, RootCAs: req.OuterRoots})
	if _, err := outer.Write(wire.Upgrade{Type: req.Upgrade, Host: req.OuterSNI, Path: "/webapi/connectionupgrade"}.Request()); err != nil {
		return nil, conformance.DialReport{}, err
	}
	br := bufio.NewReader(outer)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, conformance.DialReport{}, err
	}
	defer resp.Body.Close() // a 101 has none
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, conformance.DialReport{}, fmt.Errorf("status %d", resp.StatusCode)
	}
	got, want := resp.Header.Get("Sec-Websocket-Accept"), wire.AcceptFor(wire.Key)
	good := got == want || b.anyAccept || b.foldAccept && strings.EqualFold(got, want)
	if req.Upgrade == wire.WebSocket && !good && b.hangs {
		<-ctx.Done()
		return nil, conformance.DialReport{}, context.Cause(ctx)
	}
	if req.Upgrade == wire.WebSocket && !good {
		return nil, conformance.DialReport{}, errors.New("wrong Sec-WebSocket-Accept")
	}
	if fields := resp.Header; !b.anyFields && (fields.Get("Sec-Websocket-Extensions") != "" || fields.Get("Sec-Websocket-Protocol") != "" && fields.Get("Sec-Websocket-Protocol") != wire.ALPN) {
		return nil, conformance.DialReport{}, errors.New("a subprotocol or an extension that was not offered")
	}
	var below net.Conn = outer
	if !b.dropBuffer {
		held := make([]byte, br.Buffered())
		_, _ = br.Read(held)
		below = wire.WithPrefix(outer, held)
	}
	if b.noPong {
		below = mute{below}
	}
	if b.takesMask {
		below = &unmasking{Conn: below}
	}
	tunnel, err := wire.NewTunnel(req.Upgrade, below)
	if err != nil {
		return nil, conformance.DialReport{}, err
	}
	inner := tls.Client(tunnel, &tls.Config{ServerName: req.SNI, RootCAs: req.InnerRoots, NextProtos: req.ALPN})
	if err := inner.HandshakeContext(ctx); err != nil {
		return nil, conformance.DialReport{}, err
	}
	_ = raw.SetDeadline(time.Time{})
	return inner, conformance.DialReport{Class: "terminated", Upgrade: req.Upgrade, ALPN: inner.ConnectionState().NegotiatedProtocol}, nil
}

// mute swallows pongs: writes of a pong frame go nowhere.
type mute struct{ net.Conn }

func (m mute) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == 0x8a {
		return len(p), nil
	}
	return m.Conn.Write(p)
}
