package upgrade

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func TestTunnelPingsAreSeenOnTheWireAndNowhereElse(t *testing.T) {
	tests := []struct {
		typ  string
		want []byte
	}{
		{"websocket", append([]byte{0x89, 8}, "tlsroute"...)},
		{"alpn-ping", []byte{0, 0, 0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.typ, func(t *testing.T) {
			below, s := tcpPair(t)
			server := lookup(tt.typ).Server(s, nil, ServerOptions{PingInterval: 10 * time.Millisecond})
			defer server.Close()
			for range 3 {
				if got := mustRead(t, below, len(tt.want)); !bytes.Equal(got, tt.want) {
					t.Fatalf("ping % x, want % x", got, tt.want)
				}
			}
		})
	}
	t.Run("alpn", func(t *testing.T) {
		below, s := tcpPair(t)
		server := lookup("alpn").Server(s, nil, ServerOptions{PingInterval: time.Millisecond})
		defer server.Close()
		below.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := below.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d, %v, want silence", n, err)
		}
	})
}

func TestPingFrameIsBounded(t *testing.T) {
	below, s := tcpPair(t)
	server := newPingConn(s, nil, 1000)
	t.Cleanup(func() { _ = server.Close() })
	_, _ = below.Write([]byte{0xff, 0xff, 0xff, 0xff})
	_, err := server.Read(make([]byte, 10))
	var frame *FrameError
	if !errors.As(err, &frame) || frame.Max != 1000 {
		t.Errorf("error %v, want a FrameError", err)
	}
}

func TestPingConnNeedsNoUpgrade(t *testing.T) {
	c, s := tcpPair(t)
	server := PingConn(s, 20*time.Millisecond)
	defer server.Close()
	if got := mustRead(t, c, 4); string(got) != "\x00\x00\x00\x00" {
		t.Fatalf("first on the wire: %x, want a ping", got)
	}
	client := PingConn(c, 0) // the frames are the same both ways
	defer client.Close()
	for from, to := range map[net.Conn]net.Conn{client: server, server: client} {
		if _, err := io.WriteString(from, "hello"); err != nil {
			t.Fatal(err)
		}
		if got := mustRead(t, to, 5); string(got) != "hello" {
			t.Errorf("read %q", got)
		}
	}
}
