package selftest

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// h2Bugs are the switches of the front for WebSockets over HTTP/2. All off, it conforms.
type h2Bugs struct {
	silent   bool // extended CONNECT is served and not announced
	wantsKey bool // as in HTTP/1.1
	ends     bool // the stream, when the first window is used up
	flips    bool // a bit, far behind the handshake
	noH2     bool
}

// h2Fronted is the reference router behind a front that ends the outer TLS and takes one WebSocket a connection over HTTP/2. What does not
// speak h2 it passes on.
func h2Fronted(bugs h2Bugs) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		l := newLab(t)
		target := l.start(t, nil)
		target.Features = append(target.Features, "extended-connect")
		target.Paths = target.Paths[1:]
		cfg := &tls.Config{Certificates: []tls.Certificate{l.server}, NextProtos: []string{"h2", "http/1.1"}}
		if bugs.noH2 {
			cfg.NextProtos = nil
		}
		target.Paths[0].Address = serve(t, target.Paths[0].Address, func(c net.Conn, dial func() net.Conn) {
			front, b := tls.Server(c, cfg), dial()
			if b == nil || front.Handshake() != nil {
				return
			}
			defer b.Close()
			if front.ConnectionState().NegotiatedProtocol == "h2" {
				bugs.serve(front, b)
				return
			}
			both(front, b)
		})
		return target
	}
}

func (h h2Bugs) serve(front, b net.Conn) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(front, preface); err != nil {
		return
	}
	framer := http2.NewFramer(front, front)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var settings []http2.Setting
	if !h.silent {
		settings = append(settings, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
	}
	if framer.WriteSettings(settings...) != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		head, ok := frame.(*http2.MetaHeadersFrame)
		if !ok {
			continue // settings of a client that are the usual ones
		}
		if tunnel := h.agree(framer, head, b); tunnel != nil {
			stream := wire.NewH2Stream(front, framer, head.StreamID, 65535)
			h.join(stream, tunnel)
			_ = stream.Close() // the client may have been first
		}
		return
	}
}

// agree answers a CONNECT and returns the connection to the router, upgraded; nil when it was refused.
func (h h2Bugs) agree(framer *http2.Framer, head *http2.MetaHeadersFrame, b net.Conn) net.Conn {
	good := head.PseudoValue("method") == "CONNECT" && head.PseudoValue("protocol") == wire.WebSocket && head.PseudoValue("scheme") != "" &&
		(!h.wantsKey || slices.ContainsFunc(head.RegularFields(), func(f hpack.HeaderField) bool { return f.Name == "sec-websocket-key" }))
	var tunnel net.Conn
	if good {
		up := wire.Upgrade{Type: wire.WebSocket, Host: ownName, Path: router.DefaultUpgradePath}
		if _, err := b.Write(up.Request()); err != nil {
			return nil
		}
		resp, rest, err := wire.ReadResponse(b)
		if err != nil || resp.Status != 101 {
			return nil
		}
		tunnel = rest
	}
	status := "400"
	if good {
		status = "200"
	}
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: status})
	if framer.WriteHeaders(http2.HeadersFrameParam{StreamID: head.StreamID, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: !good}) != nil {
		return nil
	}
	return tunnel
}

func (h h2Bugs) join(stream *wire.H2Stream, tunnel net.Conn) {
	if h.flips {
		spoil("bit-flipped-up")()(stream, func() net.Conn { return tunnel })
		return
	}
	up := func(dst, src net.Conn) { _, _ = io.Copy(dst, src) }
	down := up
	if h.ends {
		down = func(dst, src net.Conn) { _, _ = io.CopyN(dst, src, 65535) }
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		copyWith(down, stream, tunnel)
	}()
	up(tunnel, stream)
	_ = tunnel.Close()
	<-done
}

func init() {
	right = append(right, conforming{name: "HTTP/2 front", role: conformance.Router, only: []string{"UPG-23"}, target: h2Fronted(h2Bugs{})})
	addMutant("UPG-23", "does not announce it", h2Fronted(h2Bugs{silent: true}))
	addMutant("UPG-23", "wants a Sec-WebSocket-Key", h2Fronted(h2Bugs{wantsKey: true}))
	addMutant("UPG-23", "ends the stream with the first window", h2Fronted(h2Bugs{ends: true}))
	addMutant("UPG-23", "flips a bit on the way to the router", h2Fronted(h2Bugs{flips: true}))
	addMutant("UPG-23", "has no h2", h2Fronted(h2Bugs{noH2: true}))
}
