package clienthello

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// script is a connection that plays bytes in pieces and then ends with err. A Write is kept.
type script struct {
	in       []byte
	piece    int   // most bytes a Read returns; 0 = all
	err      error // nil = io.EOF
	out      bytes.Buffer
	deadline time.Time
	set      int
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		return 0, io.EOF
	}
	n := len(s.in)
	if s.piece > 0 {
		n = min(n, s.piece)
	}
	n = copy(p, s.in[:n])
	s.in = s.in[n:]
	return n, nil
}
func (s *script) Write(p []byte) (int, error)        { return s.out.Write(p) }
func (s *script) Close() error                       { return nil }
func (s *script) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (s *script) SetDeadline(t time.Time) error      { return s.SetReadDeadline(t) }
func (s *script) SetWriteDeadline(t time.Time) error { return nil }
func (s *script) SetReadDeadline(t time.Time) error  { s.deadline = t; s.set++; return nil }

// realHello is the record that a crypto/tls client sends first.
func realHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	s := &script{err: os.ErrDeadlineExceeded}
	if err := tls.Client(s, cfg).Handshake(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("handshake: %v", err)
	}
	return s.out.Bytes()
}

// records cuts a handshake message into records of size bytes.
func records(msg []byte, size int) (out []byte) {
	for len(msg) > 0 {
		n := min(size, len(msg))
		out = append(append(out, 22, 3, 1, byte(n>>8), byte(n)), msg[:n]...)
		msg = msg[n:]
	}
	return out
}

// vec puts a length of size bytes before the parts.
func vec(size int, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	out := make([]byte, size, size+len(body))
	for i := range size {
		out[i] = byte(len(body) >> (8 * (size - 1 - i)))
	}
	return append(out, body...)
}

func ext(typ int, data []byte) []byte {
	return append([]byte{byte(typ >> 8), byte(typ)}, vec(2, data)...)
}

func host(name string) []byte { return append([]byte{0}, vec(2, []byte(name))...) }

func sni(names ...[]byte) []byte { return ext(extServerName, vec(2, names...)) }

func alpn(names ...string) []byte {
	var parts [][]byte
	for _, n := range names {
		parts = append(parts, vec(1, []byte(n)))
	}
	return ext(extALPN, vec(2, parts...))
}

// body is a ClientHello up to the extensions.
func body() []byte {
	return bytes.Join([][]byte{{3, 3}, make([]byte, 32), vec(1, make([]byte, 32)), vec(2, []byte{0x13, 1}), vec(1, []byte{0})}, nil)
}

func message(typ byte, body []byte) []byte { return append([]byte{typ}, vec(3, body)...) }

// hello is a message with these extensions.
func hello(exts ...[]byte) []byte { return message(1, append(body(), vec(2, exts...)...)) }

// fiveHellos are the five rows of style.md section 4: what the most-copied SNI router makes of them is known there.
func fiveHellos(t testing.TB) []struct {
	name string
	wire []byte
	alpn []string
} {
	offered := []string{"teleport-postgres", "http/1.1"}
	base := tls.Config{ServerName: "Pg.example.test", NextProtos: offered, InsecureSkipVerify: true}
	plain, many := base.Clone(), base.Clone()
	plain.CurvePreferences = []tls.CurveID{tls.X25519}
	many.NextProtos = nil
	for i := range 42 {
		many.NextProtos = append(many.NextProtos, fmt.Sprintf("%087d", i))
	}
	hybrid := realHello(t, &base)
	return []struct {
		name string
		wire []byte
		alpn []string
	}{
		{"X25519 only", realHello(t, plain), offered},
		{"default hybrid", hybrid, offered},
		{"records of 1000 bytes", records(hybrid[5:], 1000), offered},
		{"records of 1 byte", records(hybrid[5:], 1), offered},
		{"42 ALPN names", realHello(t, many), many.NextProtos},
	}
}
