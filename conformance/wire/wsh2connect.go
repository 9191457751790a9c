package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// ErrNoExtendedConnect says that a server does not announce extended CONNECT (RFC 8441 section 3).
var ErrNoExtendedConnect = errors.New("http/2: SETTINGS_ENABLE_CONNECT_PROTOCOL is not 1")

// ConnectH2 asks on a new HTTP/2 connection for a WebSocket (RFC 8441 section 5) and returns the stream, or a *[StatusError].
func ConnectH2(conn net.Conn, host, path string) (*H2Stream, error) {
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return nil, fmt.Errorf("http/2: writing the preface: %w", err)
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders, framer.MaxHeaderListSize = hpack.NewDecoder(4096, nil), MaxHeader
	if err := framer.WriteSettings(); err != nil {
		return nil, fmt.Errorf("http/2: writing settings: %w", err)
	}
	initial, err := connectSettings(framer)
	if err != nil {
		return nil, err
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{
		{":method", "CONNECT"},
		{":protocol", WebSocket},
		{":scheme", "https"},
		{":path", path},
		{":authority", host},
		{"sec-websocket-version", "13"},
		{"sec-websocket-protocol", ALPN},
	} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // a bytes.Buffer never fails
	}
	const id = 1
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
		return nil, fmt.Errorf("http/2: writing the request: %w", err)
	}
	s := newH2Stream(conn, framer, id, initial)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return nil, fmt.Errorf("http/2: waiting for the answer: %w", err)
		}
		head, ok := frame.(*http2.MetaHeadersFrame)
		if !ok {
			if err := s.take(frame); err != nil {
				return nil, err
			}
			continue
		}
		if status := head.PseudoValue("status"); len(status) != 3 || status[0] != '2' {
			var code int
			_, _ = fmt.Sscan(status, &code) // 0 is as bad
			return nil, &StatusError{&Response{Proto: "HTTP/2.0", Status: code}}
		}
		return s.start(), nil
	}
}

// connectSettings reads the server's settings: whether extended CONNECT may be used, and how large the window of a stream is.
func connectSettings(framer *http2.Framer) (window int64, err error) {
	frame, err := framer.ReadFrame()
	if err != nil {
		return 0, fmt.Errorf("http/2: reading settings: %w", err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok || settings.IsAck() {
		return 0, fmt.Errorf("http/2: the server began with %v, not with its settings", frame.Header())
	}
	if v, ok := settings.Value(http2.SettingEnableConnectProtocol); !ok || v != 1 {
		return 0, ErrNoExtendedConnect
	}
	window = h2Window
	if v, ok := settings.Value(http2.SettingInitialWindowSize); ok {
		window = int64(v)
	}
	return window, framer.WriteSettingsAck()
}
