package router

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

func TestAHelloBeyondItsLimitIsAnsweredAndReachesNoBackend(t *testing.T) {
	back := serveBackend(t, pureEcho)
	hello := helloBytes(t, "pass.test")
	for _, test := range []struct {
		name  string
		bytes int
		want  uint8 // the alert, 0 = routed
	}{
		{"as long as is taken", len(hello), 0},
		{"a byte longer", len(hello) - 1, 47},
		{"longer than the first read", 512, 47},
	} {
		b := startRouter(t, Config{Routes: []Route{passRoute(back.addr)}, Limits: Limits{ClientHelloBytes: test.bytes}})
		before := back.accepted.Load()
		conn := b.tcp(t)
		if _, err := conn.Write(hello); err != nil {
			t.Fatal(err)
		}
		if test.want == 0 {
			if _, err := io.ReadFull(conn, make([]byte, len(hello))); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		got, err := io.ReadAll(conn)
		if err != nil || string(got) != string([]byte{21, 3, 3, 0, 2, 2, test.want}) {
			t.Errorf("%s: %x, %v, want alert %d", test.name, got, err, test.want)
		}
		b.log.wait(t, "outcome=bad_hello")
		if back.accepted.Load() != before {
			t.Errorf("%s: the backend was dialled", test.name)
		}
	}
}

// TestTheLimitOfAnAddressIsThatOfTheProxyHeader has three clients behind one proxy: each counts for itself.
func TestTheLimitOfAnAddressIsThatOfTheProxyHeader(t *testing.T) {
	back := echoBackend(t, "echo")
	b := startRouter(t, Config{
		Routes:        []Route{echoRoute(back.addr)},
		ProxyProtocol: ProxyProtocol{Mode: "required", Trusted: []string{"127.0.0.0/8"}},
		Limits:        Limits{ConnectionsPerIP: 1},
	})
	connect := func(client string) *tls.Conn {
		header := "PROXY TCP4 " + client + " 10.0.0.1 1111 443\r\n"
		return tls.Client(&headed{Conn: b.tcp(t), header: header}, b.clientConfig("echo.routes.example.test", "echo"))
	}
	first := connect("198.51.100.1")
	for _, conn := range []*tls.Conn{first, connect("198.51.100.2")} {
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		readLine(t, conn)
	}
	if err := connect("198.51.100.1").Handshake(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the second of one client: %v", err)
	}
	b.log.wait(t, "outcome=limit", "source=198.51.100.1:1111", "too many connections from this address")
	first.Close()
	for deadline := time.Now().Add(patience); ; { // its place is free when its connection is over
		err := connect("198.51.100.1").Handshake()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the first is gone: %v", err)
		}
	}
}
