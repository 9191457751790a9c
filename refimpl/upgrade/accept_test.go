package upgrade

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// request builds a raw request; lines replace what a valid one has behind Host.
func request(lines ...string) string {
	return "GET /webapi/connectionupgrade HTTP/1.1\r\nHost: router.example.test\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// webSocket are the fields of a valid WebSocket request; the accept key is RFC 6455's own example.
var webSocket = []string{
	"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
}

func TestAcceptAnswers(t *testing.T) {
	without := func(prefix string, add ...string) []string {
		return slices.Concat(slices.DeleteFunc(slices.Clone(webSocket), func(s string) bool { return strings.HasPrefix(s, prefix) }), add)
	}
	const accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	tests := []struct {
		name   string
		raw    string
		opt    ServerOptions
		status int
		fields map[string]string // as expected in the answer; "" means absent
	}{
		{
			name: "alpn", raw: request("Connection: Upgrade", "Upgrade: alpn"), status: 101,
			fields: map[string]string{"Upgrade": "alpn", "Connection": "Upgrade", "X-Teleport-Upgrade": ""},
		},
		{
			name: "alpn-ping without Connection, as behind an ALB", raw: request("Upgrade: alpn-ping"), status: 101,
			fields: map[string]string{"Upgrade": "alpn-ping"},
		},
		{
			name: "token in capitals is echoed in lower case", raw: request("Upgrade: ALPN-Ping"), status: 101,
			fields: map[string]string{"Upgrade": "alpn-ping"},
		},
		{
			name: "custom token without Connection where it is required", raw: request("Upgrade: alpn-ping"),
			opt: ServerOptions{RequireConnection: true}, status: 400,
		},
		{
			name: "end-to-end copy without Connection where it is required", raw: request("X-Teleport-Upgrade: alpn"),
			opt: ServerOptions{RequireConnection: true}, status: 400,
		},
		{
			name: "custom token where Connection is required and there", raw: request("Upgrade: alpn-ping", "connection: keep-alive, UPGRADE"),
			opt: ServerOptions{RequireConnection: true}, status: 101, fields: map[string]string{"Upgrade": "alpn-ping"},
		},
		{
			name: "Connection that names other fields is none", raw: request("Connection: close, upgrades", "Upgrade: alpn"),
			opt: ServerOptions{RequireConnection: true}, status: 400,
		},
		{
			name: "end-to-end copy in capitals, in a list, repeated", status: 101,
			raw:    request("X-Teleport-Upgrade: h2c", "x-teleport-upgrade: h3 ,\tALPN-PING"),
			fields: map[string]string{"Upgrade": "alpn-ping", "X-Teleport-Upgrade": "alpn-ping"},
		},
		{name: "empty list", raw: request("Upgrade: , ,"), status: 426, fields: map[string]string{"Upgrade": "websocket, alpn-ping, alpn"}},
		{
			name: "Connection repeated", raw: request(append(without("Connection"), "Connection: keep-alive", "Connection: upgrade")...),
			status: 101, fields: map[string]string{"Upgrade": "websocket"},
		},
		{name: "comma list", raw: request("Upgrade: h2c, alpn"), status: 101, fields: map[string]string{"Upgrade": "alpn"}},
		{name: "token with a version is another token", raw: request("Upgrade: alpn/2"), status: 426},
		{
			name: "repeated field", raw: request("Upgrade: alpn", "Upgrade: alpn-ping"), status: 101,
			fields: map[string]string{"Upgrade": "alpn-ping"},
		},
		{
			name: "end-to-end copy alone", raw: request("X-Teleport-Upgrade: alpn"), status: 101,
			fields: map[string]string{"Upgrade": "alpn", "X-Teleport-Upgrade": "alpn"},
		},
		{
			name:   "both families, as old clients send them",
			raw:    request(append(webSocket, "Upgrade: alpn-ping", "X-Teleport-Upgrade: alpn-ping", "Sec-WebSocket-Protocol: alpn-ping")...),
			status: 101,
			fields: map[string]string{"Upgrade": "websocket", "Sec-Websocket-Protocol": "alpn-ping", "X-Teleport-Upgrade": ""},
		},
		{
			name: "both families without Connection: the one that can",
			raw:  request(append(without("Connection"), "Upgrade: alpn")...), status: 101,
			fields: map[string]string{"Upgrade": "alpn"},
		},
		{
			name: "websocket", raw: request(append(webSocket, "Sec-WebSocket-Protocol: alpn")...), status: 101,
			fields: map[string]string{
				"Upgrade": "websocket", "Connection": "Upgrade", "Sec-Websocket-Accept": accept, "Sec-Websocket-Protocol": "alpn",
			},
		},
		{
			name:   "websocket in mixed case, Connection as a list",
			raw:    request(append(without("Connection", "Connection: keep-alive, UPGRADE"), "Sec-WebSocket-Protocol: chat, alpn")...),
			status: 101,
			fields: map[string]string{"Sec-Websocket-Protocol": "alpn"},
		},
		{
			name: "websocket of an unknown subprotocol", raw: request(append(webSocket, "Sec-WebSocket-Protocol: chat")...),
			status: 101, fields: map[string]string{"Sec-Websocket-Protocol": ""},
		},
		{
			name: "websocket with compression offered",
			raw:  request(append(webSocket, "Sec-WebSocket-Extensions: permessage-deflate")...), status: 101,
			fields: map[string]string{"Sec-Websocket-Extensions": ""},
		},
		{name: "websocket without Connection", raw: request(without("Connection")...), status: 400},
		{
			name: "websocket of another version", raw: request(without("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8")...),
			status: 426,
			fields: map[string]string{"Sec-Websocket-Version": "13", "Upgrade": "websocket, alpn-ping, alpn"},
		},
		{
			name: "websocket without version", raw: request(without("Sec-WebSocket-Version")...), status: 426,
			fields: map[string]string{"Sec-Websocket-Version": "13"},
		},
		{name: "websocket without key", raw: request(without("Sec-WebSocket-Key")...), status: 400},
		{name: "websocket with two keys", raw: request(append(webSocket, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")...), status: 400},
		{name: "websocket with a short key", raw: request(without("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ=")...), status: 400},
		{
			name:   "POST",
			raw:    "POST /webapi/connectionupgrade HTTP/1.1\r\nHost: a\r\nUpgrade: alpn\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
			status: 405, fields: map[string]string{"Allow": "GET"},
		},
		{name: "HEAD", raw: "HEAD /webapi/connectionupgrade HTTP/1.1\r\nHost: a\r\n\r\n", status: 405},
		{name: "HTTP/1.0", raw: "GET /x HTTP/1.0\r\nHost: a\r\nUpgrade: alpn\r\nConnection: Upgrade\r\n\r\n", status: 426},
		{name: "no Host", raw: "GET /x HTTP/1.1\r\nUpgrade: alpn\r\nConnection: Upgrade\r\n\r\n", status: 400},
		{name: "no Upgrade", raw: request("Accept: */*"), status: 426, fields: map[string]string{"Upgrade": "websocket, alpn-ping, alpn"}},
		{
			name:   "h2c",
			raw:    request("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
			status: 426,
		},
		{name: "TLS in place", raw: request("Connection: Upgrade", "Upgrade: TLS/1.2"), status: 426},
		{
			name: "type not enabled", raw: request("Upgrade: alpn"), opt: ServerOptions{Types: []string{"websocket"}},
			status: 426, fields: map[string]string{"Upgrade": "websocket"},
		},
		{name: "endless body", raw: request("Upgrade: alpn", "Content-Length: 10000000"), status: 413},
		{name: "broken chunk", raw: request("Upgrade: alpn", "Transfer-Encoding: chunked") + "zz\r\n", status: 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, s := tcpPair(t)
			done := make(chan accepted, 1)
			go func() { done <- serve(t.Context(), s, tt.opt) }()
			_, _ = io.WriteString(c, tt.raw)
			br := bufio.NewReader(c)
			method, _, _ := strings.Cut(tt.raw, " ")
			resp, err := http.ReadResponse(br, &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			a := <-done
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d (Accept: %v), want %d", resp.StatusCode, a.err, tt.status)
			}
			for name, want := range tt.fields {
				if got := strings.Join(resp.Header[name], "|"); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if tt.status == 101 {
				if a.err != nil || a.typ != resp.Header.Get("Upgrade") {
					t.Errorf("Accept: %q, %v", a.typ, a.err)
				}
				if br.Buffered() > 0 {
					t.Errorf("%d bytes came behind the 101", br.Buffered())
				}
				a.conn.Close()
				return
			}
			var refused *RefusedError
			if !errors.As(a.err, &refused) || refused.Status != tt.status || a.conn != nil {
				t.Errorf("Accept: %v, %v, want a RefusedError", a.conn, a.err)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || (len(body) == 0) != (method == http.MethodHead) || br.Buffered() > 0 {
				t.Errorf("body %q, %v, %d bytes behind it", body, err, br.Buffered())
			}
			if !resp.Close {
				t.Errorf("a refusal leaves the connection open: %v", resp.Header)
			}
		})
	}
}

func TestAcceptReadsTheBodyAwayAndKeepsWhatFollows(t *testing.T) {
	tests := []struct {
		name, raw string
		continued bool
	}{
		{"no body", request("Upgrade: alpn") + "tunnel", false},
		{"length", request("Upgrade: alpn", "Content-Length: 4") + "body" + "tunnel", false},
		{"chunked", request("Upgrade: alpn", "Transfer-Encoding: chunked") + "4\r\nbody\r\n0\r\nTrailer: x\r\n\r\n" + "tunnel", false},
		{"expected", request("Upgrade: alpn", "Expect: 100-continue", "Content-Length: 4") + "body" + "tunnel", true},
		{"expected without a body", request("Upgrade: alpn", "Expect: 100-Continue") + "tunnel", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, s := tcpPair(t)
			done := make(chan accepted, 1)
			go func() { done <- serve(t.Context(), s, ServerOptions{}) }()
			// One write: request, body and the tunnel's first bytes in one segment.
			_, _ = io.WriteString(c, tt.raw)
			a := <-done
			if a.err != nil {
				t.Fatal(a.err)
			}
			defer a.conn.Close()
			a.conn.SetDeadline(time.Now().Add(5 * time.Second))
			if got := mustRead(t, a.conn, 6); string(got) != "tunnel" {
				t.Errorf("the tunnel begins with %q", got)
			}
			_, _ = io.WriteString(a.conn, "answer")
			a.conn.Close()
			answer, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.HasPrefix(string(answer), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 "); got != tt.continued {
				t.Errorf("100 sent: %v, want %v: %q", got, tt.continued, answer)
			}
			if !strings.HasSuffix(string(answer), "\r\n\r\nanswer") {
				t.Errorf("answer %q", answer)
			}
		})
	}
}

func TestAcceptEndsWithItsContextAndItsOwnTimer(t *testing.T) {
	// The body never comes.
	raw := request("Upgrade: alpn", "Content-Length: 4")
	for _, name := range []string{"cancelled", "timer"} {
		t.Run(name, func(t *testing.T) {
			c, s := tcpPair(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var opt ServerOptions
			if name == "timer" {
				opt.Timeout = 20 * time.Millisecond
			}
			done := make(chan accepted, 1)
			go func() { done <- serve(ctx, s, opt) }()
			_, _ = io.WriteString(c, raw)
			if name == "cancelled" {
				cancel()
			}
			var timeout net.Error
			a := <-done
			if a.conn != nil || !errors.As(a.err, &timeout) || !timeout.Timeout() {
				t.Errorf("%v, %v, want a timeout", a.conn, a.err)
			}
			if errors.Is(a.err, context.Canceled) != (name == "cancelled") {
				t.Errorf("%v does not say who ended it", a.err)
			}
			// The deadline was undone: the connection still reads.
			if n, err := s.Read(nil); n != 0 || err != nil {
				t.Errorf("the deadline is still there: %v", err)
			}
			_, _ = io.WriteString(c, "body")
			if got := mustRead(t, s, 4); string(got) != "body" {
				t.Errorf("read %q", got)
			}
		})
	}
}

func TestNamesAreInTheServersOrder(t *testing.T) {
	if diff := cmp.Diff([]string{"websocket", "alpn-ping", "alpn"}, Names()); diff != "" {
		t.Error(diff)
	}
	defer func() {
		if recover() == nil {
			t.Error("a type could be registered twice")
		}
	}()
	register(1, alpnType{})
}
