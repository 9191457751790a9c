package upgrade

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
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

// crypto/tls leaves a write deadline in the past behind its close_notify. Pings go on after it, over the TLS session of the hop too,
// and so does the goodbye.
func TestPingsGoOnBehindTheInnerCloseNotify(t *testing.T) {
	for _, typ := range []string{"websocket", "alpn-ping"} {
		t.Run(typ, func(t *testing.T) {
			c, s := tcpPair(t)
			cert, _ := testCertificate(t)
			hop := tls.Server(s, &tls.Config{Certificates: []tls.Certificate{cert}})
			peer := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			shaken := make(chan error, 1)
			go func() { shaken <- peer.Handshake() }()
			if err := errors.Join(hop.Handshake(), <-shaken); err != nil {
				t.Fatal(err)
			}
			tunnel := lookup(typ).Server(hop, nil, ServerOptions{PingInterval: 5 * time.Millisecond})
			inner := tls.Server(tunnel, &tls.Config{Certificates: []tls.Certificate{cert}})
			go func() {
				shaken <- tls.Client(lookup(typ).Client(peer, nil, ClientOptions{}), &tls.Config{InsecureSkipVerify: true}).Handshake()
			}()
			if err := errors.Join(inner.Handshake(), <-shaken); err != nil {
				t.Fatal(err)
			}
			if err := inner.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			var got atomic.Int64
			go func() {
				var p [64]byte
				for {
					n, err := peer.Read(p[:])
					got.Add(int64(n))
					if err != nil {
						ended <- err
						return
					}
				}
			}()
			before := got.Load()
			for until := time.Now().Add(10 * time.Second); got.Load() < before+100; time.Sleep(time.Millisecond) {
				if time.Now().After(until) {
					t.Fatal("no ping behind the close_notify")
				}
			}
			inner.Close()
			if err := <-ended; !errors.Is(err, io.EOF) {
				t.Errorf("the hop ended with %v, want its close_notify", err)
			}
		})
	}
}
