package upgrade

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func TestTunnelSurvivesADeadlineInsideAFrame(t *testing.T) {
	for _, typ := range Names() {
		t.Run(typ, func(t *testing.T) {
			below, s := tcpPair(t)
			var server net.Conn
			frame := []byte("hello, tunnel")
			switch typ {
			case "websocket":
				server = newWSConn(s, nil, 0, false)
				frame = newWSConn(nil, nil, 0, true).frame(nil, opBinary, frame)
			case "alpn-ping":
				server = newPingConn(s, nil, 0)
				frame = append([]byte{0, 0, 0, 13}, frame...)
			default:
				server = lookup(typ).Server(s, nil, ServerOptions{})
			}
			defer server.Close()
			var got []byte
			p := make([]byte, 64)
			for i := range frame {
				// The reader is stopped before every single byte, and goes on.
				server.SetReadDeadline(time.Unix(1, 0))
				if n, err := server.Read(p); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("byte %d: read %d, %v, want a timeout", i, n, err)
				}
				if _, err := below.Write(frame[i : i+1]); err != nil {
					t.Fatal(err)
				}
				server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				n, err := server.Read(p)
				got = append(got, p[:n]...)
				if n == 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("byte %d: %v", i, err)
				}
			}
			server.SetReadDeadline(time.Now().Add(5 * time.Second))
			for len(got) < 13 {
				n, err := server.Read(p)
				got = append(got, p[:n]...)
				if err != nil {
					t.Fatal(err)
				}
			}
			if string(got) != "hello, tunnel" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestTunnelCloseDoesNotWaitForAPeerThatDoesNotRead(t *testing.T) {
	for _, typ := range Names() {
		t.Run(typ, func(t *testing.T) {
			client, server := tunnelPair(t, typ, ServerOptions{PingInterval: time.Millisecond})
			_ = client // never reads
			blocked := make(chan error, 1)
			go func() {
				p := make([]byte, 1<<20)
				for {
					if _, err := server.Write(p); err != nil {
						blocked <- err
						return
					}
				}
			}()
			closed := make(chan struct{})
			go func() { server.Close(); close(closed) }()
			select {
			case <-closed:
			case <-time.After(5 * time.Second):
				t.Fatal("Close hangs")
			}
			if err := <-blocked; err == nil {
				t.Error("the write ended without an error")
			}
		})
	}
}

func TestTunnelWriteDeadline(t *testing.T) {
	for _, typ := range Names() {
		t.Run(typ, func(t *testing.T) {
			client, server := tunnelPair(t, typ, ServerOptions{})
			server.SetWriteDeadline(time.Unix(1, 0))
			if n, err := server.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("wrote %d, %v", n, err)
			}
			// Nothing had left: the tunnel goes on.
			server.SetWriteDeadline(time.Now().Add(5 * time.Second))
			if _, err := server.Write([]byte("y")); err != nil {
				t.Fatal(err)
			}
			if got := mustRead(t, client, 1); string(got) != "y" {
				t.Errorf("read %q", got)
			}
			if typ == "alpn" {
				return
			}
			// A frame cut by its deadline is the last one: more bytes would be read as its rest.
			var err error
			for until := time.Now().Add(10 * time.Second); !errors.Is(err, errTorn); {
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(until) {
					t.Fatalf("write behind a torn frame: %v", err)
				}
				// On a busy machine the deadline may pass between two frames, and nothing is torn.
				server.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				for err = nil; err == nil; {
					_, err = server.Write(make([]byte, 200_000))
				}
			}
		})
	}
}
