package upgrade

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// raw builds a frame by hand: first byte, length, and a mask unless it is nil.
func raw(first byte, mask []byte, payload string) []byte {
	f := []byte{first, byte(len(payload))}
	switch n := len(payload); {
	case n > 0xffff:
		f = binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(n))
	case n > 125:
		f = binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(n))
	}
	if mask == nil {
		return append(f, payload...)
	}
	f[1] |= 0x80
	f = append(f, mask...)
	for i := range payload {
		f = append(f, payload[i]^mask[i%4])
	}
	return f
}

var (
	zero = []byte{0, 0, 0, 0}
	mask = []byte{0x12, 0x34, 0x56, 0x78}
)

func TestWebSocketReads(t *testing.T) {
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	closing := func(code uint16, reason string) string {
		return string(binary.BigEndian.AppendUint16(nil, code)) + reason
	}
	tests := []struct {
		name   string
		client bool // we are the client
		in     []byte
		want   string // data read
		code   uint16 // of our ProtocolError; 0 for a clean end
		peer   uint16 // of the peer's CloseError
		err    error
		writes [][]byte // what went back
	}{
		{name: "data with a zero mask", in: raw(0x82, zero, "hello"), want: "hello"},
		{name: "data with a mask", in: raw(0x82, mask, "hello"), want: "hello"},
		{name: "16-bit length", in: raw(0x82, mask, strings.Repeat("x", 126)), want: strings.Repeat("x", 126)},
		{name: "64-bit length", in: raw(0x82, mask, strings.Repeat("x", 65536)), want: strings.Repeat("x", 65536)},
		{name: "empty frames", in: cat(raw(0x82, mask, ""), raw(0x82, mask, "a"), raw(0x82, zero, "")), want: "a"},
		{
			name: "fragments with a ping between",
			in:   cat(raw(0x02, mask, "he"), raw(0x89, mask, "p"), raw(0x00, mask, ""), raw(0x80, zero, "llo")), want: "hello",
			writes: [][]byte{raw(0x8a, nil, "p")},
		},
		{
			name: "ping is answered with its payload", in: cat(raw(0x89, mask, strings.Repeat("y", 125)), raw(0x89, mask, "")),
			writes: [][]byte{raw(0x8a, nil, strings.Repeat("y", 125)), raw(0x8a, nil, "")},
		},
		{name: "pong is ignored", in: cat(raw(0x8a, mask, "x"), raw(0x82, mask, "a")), want: "a"},
		{name: "close is echoed", in: raw(0x88, mask, closing(1000, "bye")), writes: [][]byte{raw(0x88, nil, closing(1000, ""))}},
		{name: "close without a code is echoed", in: raw(0x88, mask, ""), writes: [][]byte{raw(0x88, nil, "")}},
		{
			name: "close with an error is one", in: raw(0x88, mask, closing(1011, "broken")), peer: 1011,
			writes: [][]byte{raw(0x88, nil, closing(1011, ""))},
		},
		{name: "nothing counts after a close", in: cat(raw(0x88, mask, ""), raw(0x82, mask, "late")), writes: [][]byte{raw(0x88, nil, "")}},
		{name: "end between frames", in: raw(0x82, mask, "a"), want: "a"},
		{name: "end inside a header", in: raw(0x82, mask, "abc")[:4], err: io.ErrUnexpectedEOF},
		{name: "end inside a payload", in: raw(0x82, mask, "abc")[:8], want: "ab", err: io.ErrUnexpectedEOF},
		{name: "end inside a message", in: raw(0x02, mask, "abc"), want: "abc", err: io.ErrUnexpectedEOF},
		{name: "end inside a ping", in: raw(0x89, mask, "abc")[:8], err: io.ErrUnexpectedEOF},

		{name: "unmasked from a client", in: raw(0x82, nil, "a"), code: 1002},
		{name: "masked from a server", client: true, in: raw(0x82, mask, "a"), code: 1002},
		{name: "from a server", client: true, in: raw(0x82, nil, "hello"), want: "hello"},
		{name: "RSV1", in: raw(0xc2, mask, "a"), code: 1002},
		{name: "RSV2", in: raw(0xa2, mask, "a"), code: 1002},
		{name: "RSV3", in: raw(0x92, mask, "a"), code: 1002},
		{name: "reserved data opcode", in: raw(0x83, mask, "a"), code: 1002},
		{name: "reserved control opcode", in: raw(0x8b, mask, "a"), code: 1002},
		{name: "text", in: raw(0x81, mask, "a"), code: 1003},
		{name: "first fragment is text", in: raw(0x01, mask, "a"), code: 1003},
		{name: "long ping", in: raw(0x89, mask, strings.Repeat("x", 126)), code: 1002},
		{name: "fragmented ping", in: raw(0x09, mask, "a"), code: 1002},
		{name: "continuation of nothing", in: raw(0x80, mask, "a"), code: 1002},
		{name: "message inside a message", in: cat(raw(0x02, mask, "a"), raw(0x82, mask, "b")), want: "a", code: 1002},
		{name: "16-bit length that fits 7", in: cat([]byte{0x82, 0xfe, 0, 125}, zero), code: 1002},
		{name: "64-bit length that fits 16", in: cat([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, zero), code: 1002},
		{name: "negative length", in: cat([]byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0}, zero), code: 1002},
		{name: "frame too long", in: cat([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1}, zero), code: 1009},
		{name: "close with half a code", in: raw(0x88, mask, "a"), code: 1002},
		{name: "close with a code that is never sent", in: raw(0x88, mask, closing(1005, "")), code: 1002},
		{name: "close with a reason that is no text", in: raw(0x88, mask, closing(1000, "\xff")), code: 1007},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := newScript(tt.in)
			c := newWSConn(conn, nil, 0, tt.client)
			var got []byte
			var err error
			for p := make([]byte, 7); err == nil; {
				var n int
				n, err = c.Read(p)
				got = append(got, p[:n]...)
			}
			if string(got) != tt.want {
				t.Errorf("read %.40q, want %.40q", got, tt.want)
			}
			var refused *ProtocolError
			var closed *CloseError
			switch {
			case tt.code != 0:
				if !errors.As(err, &refused) || refused.Code != tt.code {
					t.Errorf("error %v, want code %d", err, tt.code)
				}
				if !tt.client {
					tt.writes = [][]byte{raw(0x88, nil, closing(tt.code, ""))}
				}
			case tt.peer != 0:
				if !errors.As(err, &closed) || closed.Code != tt.peer {
					t.Errorf("error %v, want the peer's %d", err, tt.peer)
				}
			case tt.err != nil:
				if !errors.Is(err, tt.err) {
					t.Errorf("error %v, want %v", err, tt.err)
				}
			case !errors.Is(err, io.EOF):
				t.Errorf("error %v, want io.EOF", err)
			}
			if _, again := c.Read(make([]byte, 1)); !errors.Is(again, err) {
				t.Errorf("the next read says %v, not %v", again, err)
			}
			_ = c.Close()
			if tt.client {
				return // masked at random
			}
			want := bytes.Join(tt.writes, nil)
			if !bytes.Contains(want, []byte{0x88}) {
				want = append(want, raw(0x88, nil, closing(1000, ""))...) // Close's own
			}
			if conn.written() != string(want) {
				t.Errorf("wrote % x, want % x", conn.written(), want)
			}
		})
	}
}

func TestWebSocketEchoesACloseByItself(t *testing.T) {
	below, s := tcpPair(t)
	server := newWSConn(s, nil, 0, false)
	t.Cleanup(func() { _ = server.Close() })
	_, _ = below.Write(raw(0x88, mask, "\x03\xe8"))
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	// Nobody closes the tunnel; the answer comes all the same.
	if got := mustRead(t, below, 4); !bytes.Equal(got, raw(0x88, nil, "\x03\xe8")) {
		t.Errorf("got % x", got)
	}
}

func TestWebSocketClientMasksEachFrameAnew(t *testing.T) {
	conn := newScript(nil)
	c := newWSConn(conn, nil, 0, true)
	_, _ = c.Write([]byte("same"))
	_, _ = c.Write([]byte("same"))
	w := conn.written()
	if len(w) != 20 || w[:2] != "\x82\x84" || w[2:6] == w[12:16] || w[2:6] == "\x00\x00\x00\x00" {
		t.Errorf("frames % x", w)
	}
	_ = c.Close()
}

// coder/websocket shares no code with this package: each side is judged by a stranger.
func TestWebSocketSpeaksWithAStranger(t *testing.T) {
	t.Run("client", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		done := make(chan error, 1)
		go func() {
			conn, err := ln.Accept()
			if err != nil {
				done <- err
				return
			}
			a := serve(context.Background(), conn, ServerOptions{PingInterval: 5 * time.Millisecond})
			if a.err != nil {
				done <- a.err
				return
			}
			_, err = io.Copy(a.conn, a.conn)
			a.conn.Close()
			done <- err
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		opt := &websocket.DialOptions{Subprotocols: []string{"alpn"}, HTTPClient: &http.Client{Transport: transport}}
		//nolint:bodyclose // "You never need to close resp.Body yourself"
		c, _, err := websocket.Dial(ctx, "ws://"+ln.Addr().String()+Path, opt)
		if err != nil {
			t.Fatal(err)
		}
		if c.Subprotocol() != "alpn" {
			t.Errorf("subprotocol %q", c.Subprotocol())
		}
		echo(t, websocket.NetConn(ctx, c, websocket.MessageBinary))
		if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	t.Run("server", func(t *testing.T) {
		done := make(chan error, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"alpn"}})
			if err != nil {
				done <- err
				return
			}
			n := websocket.NetConn(context.Background(), c, websocket.MessageBinary)
			_, err = io.Copy(n, n)
			n.Close() // says that it is closed: the peer's Close frame did it
			done <- err
		}))
		defer server.Close()
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := Dial(t.Context(), conn, ClientOptions{Type: "websocket"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		echo(t, c)
		if err := closeWrite(c); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
			t.Errorf("read %q, %v after the close", got, err)
		}
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
}

func echo(t *testing.T, c io.ReadWriter) {
	t.Helper()
	for _, n := range []int{1, 125, 126, 65535, 65536, 30_000} {
		sent := bytes.Repeat([]byte{byte(n)}, n)
		failed := make(chan error, 1)
		go func() {
			_, err := c.Write(sent)
			failed <- err
		}()
		if got := mustRead(t, c, n); !bytes.Equal(got, sent) {
			t.Errorf("%d bytes came back changed", n)
		}
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
}
