package router

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

func TestEndpointTakesWhatTheDocumentSays(t *testing.T) {
	const bare = "GET /webapi/connectionupgrade HTTP/1.1\r\nHost: router.example.test\r\nUpgrade: alpn\r\n\r\n"
	for _, test := range []struct {
		name, request, status string
		upgrade               Upgrade
		offers                string // in the Upgrade field of a 426
	}{
		{name: "Connection is not asked for", request: bare, status: "101"},
		{name: "Connection is required", request: bare, status: "400", upgrade: Upgrade{RequireConnection: true}},
		{name: "Connection is required and there", request: upgradeRequest, status: "101", upgrade: Upgrade{RequireConnection: true}},
		{
			name: "a type that is off", request: bare, status: "426", upgrade: Upgrade{Types: []string{"alpn-ping", "websocket"}},
			offers: "websocket, alpn-ping",
		},
		{name: "all types are off", request: bare, status: "404", upgrade: Upgrade{Types: []string{}}},
		{name: "the path is another", request: bare, status: "404", upgrade: Upgrade{Path: "/up"}},
		{
			name: "another path", request: strings.Replace(bare, "/webapi/connectionupgrade", "/up?x=1", 1), status: "101",
			upgrade: Upgrade{Path: "/up"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := startRouter(t, Config{Upgrade: test.upgrade})
			for _, conn := range []net.Conn{b.tcp(t), secure(t, b.tcp(t), b.clientConfig(ownName))} {
				status, head := ask(t, conn, bufio.NewReader(conn), test.request)
				if status != test.status {
					t.Errorf("status %s, want %s: %q", status, test.status, head)
				}
				if test.offers != "" && !strings.Contains(strings.Join(head, "\n"), "Upgrade: "+test.offers) {
					t.Errorf("the 426 names no types: %q", head)
				}
			}
		})
	}
}

// The clients in use drop what comes with the 101. What a route's backend says first, as MySQL does, must not overtake the client.
func TestNothingComesBeforeTheClientsFirstByte(t *testing.T) {
	back := echoBackend(t, "speaks first")
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	for _, typ := range upgrade.Names() {
		for _, secured := range []bool{false, true} {
			var conn net.Conn = b.tcp(t)
			if secured {
				conn = secure(t, conn, b.clientConfig(ownName))
				<-b.hellos
			}
			// An end instead of a first byte: all that was ever sent is there to be read. A WebSocket says goodbye.
			want := []byte{}
			request := upgradeRequest
			if typ == "websocket" {
				request = strings.Replace(request, "\r\n\r\n", "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 1)
				want = []byte("\x88\x02\x03\xe8")
			}
			br := bufio.NewReader(conn)
			if status, head := ask(t, conn, br, strings.Replace(request, "Upgrade: alpn", "Upgrade: "+typ, 1)); status != "101" {
				t.Fatalf("%s: %q", typ, head)
			}
			if err := splice.CloseWrite(conn); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(br); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, TLS %v: % x, %v behind the 101, want % x", typ, secured, got, err, want)
			}
		}
	}
}

func TestWebSocketClientThatAnswersNoPingIsDead(t *testing.T) {
	ended := make(chan error, 1)
	back := serveBackend(t, func(conn net.Conn) {
		_, err := io.Copy(io.Discard, conn)
		ended <- err
	})
	b := startRouter(t, Config{
		Routes:  []Route{echoRoute(back.addr)},
		Upgrade: Upgrade{PingInterval: Duration(10 * time.Millisecond), PongTimeout: Duration(100 * time.Millisecond)},
	})
	mute := &muteConn{Conn: b.tcp(t)}
	inner := secure(t, b.upgrade(t, mute, "websocket"), b.clientConfig("echo.routes.example.test", "echo"))
	mute.muted.Store(true)
	if _, err := inner.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the client read %v, want no clean end", err)
	}
	if err := <-ended; err == nil {
		t.Error("the backend saw a clean end")
	}
	b.log.wait(t, "route=echo", upgrade.ErrNoPong.Error())
}

// muteConn sends nothing when muted.
type muteConn struct {
	net.Conn
	muted atomic.Bool
}

func (m *muteConn) Write(p []byte) (int, error) {
	if m.muted.Load() {
		return len(p), nil
	}
	return m.Conn.Write(p)
}
