package clienthello

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
)

// cryptoTLS is what crypto/tls makes of the same bytes; ok tells whether it got as far as GetConfigForClient.
func cryptoTLS(wire []byte) (name string, alpn []string, ok bool) {
	stop := errors.New("seen enough")
	_ = tls.Server(&script{in: bytes.Clone(wire), err: os.ErrDeadlineExceeded}, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name, alpn, ok = h.ServerName, h.SupportedProtos, true
			return nil, stop
		},
	}).Handshake()
	return name, alpn, ok
}

func FuzzPeek(f *testing.F) {
	for _, h := range fiveHellos(f) {
		f.Add(h.wire, uint8(0))
		f.Add(h.wire, uint8(7))
	}
	f.Add(records(hello(sni(host("a.test")), alpn("p")), 3), uint8(1))
	f.Add(records(message(1, body()), 400), uint8(0))
	f.Add([]byte("\x16\x03\x01\x00\x00"), uint8(0))
	f.Fuzz(func(t *testing.T, wire []byte, piece uint8) {
		conn := &script{in: bytes.Clone(wire), piece: int(piece), err: os.ErrDeadlineExceeded}
		info, replay, err := Peek(conn, Limits{})
		if !conn.deadline.IsZero() {
			t.Error("the deadline stays set")
		}
		got, readErr := io.ReadAll(replay)
		if !errors.Is(readErr, os.ErrDeadlineExceeded) || !bytes.Equal(got, wire) {
			t.Errorf("replayed %d of %d bytes alike: %v", len(got), len(wire), readErr)
		}
		name, alpn, ok := cryptoTLS(wire)
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) {
				t.Fatalf("untyped error %v", err)
			}
			// Being stricter is allowed, by an alert and not by waiting for more.
			if ok && bad.Alert == 0 {
				t.Errorf("%v, but crypto/tls has %q %q", err, name, alpn)
			}
			return
		}
		if ok && (info.ServerName != name || !slices.Equal(info.ALPN, alpn)) {
			t.Errorf("%q %q, but crypto/tls has %q %q", info.ServerName, info.ALPN, name, alpn)
		}
		again, err := Parse(info.Raw)
		if err != nil || again.ServerName != info.ServerName || !slices.Equal(again.ALPN, info.ALPN) {
			t.Errorf("read again: %+v, %v", again, err)
		}
	})
}
