package upgrade

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDialOffersOneToken(t *testing.T) {
	for _, typ := range Names() {
		t.Run(typ, func(t *testing.T) {
			c, s := tcpPair(t)
			ended := make(chan error, 1)
			go func() {
				_, err := Dial(t.Context(), c, ClientOptions{
					Type: typ, Host: "lb.example.test", UserAgent: "test/1", Ping: true, Timeout: 5 * time.Second,
				})
				ended <- err
			}()
			req, err := http.ReadRequest(bufio.NewReader(s))
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			if err := <-ended; err == nil {
				t.Error("no answer, and no error")
			}
			got := req.Header.Clone()
			if typ == "websocket" && len(got["Sec-Websocket-Key"]) == 1 {
				got["Sec-Websocket-Key"] = []string{"KEY"}
			}
			want := http.Header{"Connection": {"Upgrade"}, "Upgrade": {typ}, "User-Agent": {"test/1"}}
			if typ == "websocket" {
				want["Sec-Websocket-Key"], want["Sec-Websocket-Version"] = []string{"KEY"}, []string{"13"}
				want["Sec-Websocket-Protocol"] = []string{"alpn-ping"}
			} else {
				want["X-Teleport-Upgrade"] = []string{typ}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if req.Method != "GET" || req.RequestURI != Path || req.Host != "lb.example.test" || req.Proto != "HTTP/1.1" {
				t.Errorf("%s %s %s, Host %s", req.Method, req.RequestURI, req.Proto, req.Host)
			}
		})
	}
}

// answerWith answers the request on s, whose key it puts in for ACCEPT, in one write.
func answerWith(s io.ReadWriter, answer string) error {
	req, err := http.ReadRequest(bufio.NewReader(s))
	if err != nil {
		return err
	}
	_, err = io.WriteString(s, strings.ReplaceAll(answer, "ACCEPT", acceptKey(req.Header.Get("Sec-WebSocket-Key"))))
	return err
}

func TestDialJudgesTheAnswer(t *testing.T) {
	const ws = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: ACCEPT\r\n"
	tests := []struct {
		name, typ, answer string
		status            int // 0: it is the 101
		reusable          bool
		body              string
	}{
		{name: "websocket in any case", typ: "websocket", answer: ws + "\r\n"},
		{name: "subprotocol confirmed", typ: "websocket", answer: ws + "Sec-WebSocket-Protocol: alpn\r\n\r\n"},
		{
			name: "informational answers first", typ: "alpn",
			answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 101 x\r\nUpgrade: alpn\r\n\r\n",
		},
		{name: "wrong accept", typ: "websocket", answer: strings.Replace(ws, "ACCEPT", "c2hvcnQ=", 1) + "\r\n", status: 101},
		{name: "subprotocol nobody offered", typ: "websocket", answer: ws + "Sec-WebSocket-Protocol: chat\r\n\r\n", status: 101},
		{
			name: "compression nobody offered", typ: "websocket",
			answer: ws + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", status: 101,
		},
		{
			name: "websocket without Connection", typ: "websocket",
			answer: strings.Replace(ws, "Connection: upgrade\r\n", "", 1) + "\r\n", status: 101,
		},
		{name: "another token", typ: "alpn-ping", answer: "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: alpn\r\n\r\n", status: 101},
		{name: "101 without token", typ: "alpn", answer: "HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n", status: 101},
		{
			name: "403 with a body", typ: "alpn", answer: "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nno no",
			status: 403, reusable: true, body: "no no",
		},
		{
			name: "404 in chunks", typ: "alpn",
			answer: "HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", status: 404, reusable: true,
			body: "no",
		},
		{name: "400 and close", typ: "alpn", answer: "HTTP/1.1 400 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", status: 400},
		{name: "400 of HTTP/1.0", typ: "alpn", answer: "HTTP/1.0 400 x\r\nContent-Length: 0\r\n\r\n", status: 400},
		{
			name: "502 of a long page", typ: "alpn",
			answer: "HTTP/1.1 502 x\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("x", 2000), status: 502, reusable: true,
			body: strings.Repeat("x", 512),
		},
		{name: "200 of a page without end", typ: "alpn", answer: "HTTP/1.1 200 OK\r\n\r\n<html>", status: 200, body: "<html>"},
		{name: "204", typ: "alpn", answer: "HTTP/1.1 204 x\r\n\r\n", status: 204, reusable: true},
		{name: "bytes behind the answer", typ: "alpn", answer: "HTTP/1.1 400 x\r\nContent-Length: 0\r\n\r\nHTTP", status: 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, s := tcpPair(t)
			answered := make(chan error, 1)
			go func() { answered <- answerWith(s, tt.answer) }()
			tunnel, err := Dial(t.Context(), c, ClientOptions{Type: tt.typ, Timeout: 5 * time.Second})
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
			if tt.status == 0 {
				if err != nil {
					t.Fatal(err)
				}
				tunnel.Close()
				return
			}
			var status *StatusError
			if !errors.As(err, &status) {
				t.Fatalf("error %v, want a StatusError", err)
			}
			if status.Status != tt.status || status.Reusable != tt.reusable || status.Body != tt.body || status.Type != tt.typ {
				t.Errorf("%+v", status)
			}
			if (tt.status == 101) != (status.Reason != "") {
				t.Errorf("reason %q", status.Reason)
			}
		})
	}
}

func TestDialKeepsEveryByteBehindThe101(t *testing.T) {
	payload := map[string]string{
		"alpn": "early bytes", "alpn-ping": "\x00\x00\x00\x00\x00\x00\x00\x0bearly bytes",
		"websocket": "\x89\x01p\x82\x0bearly bytes",
	}
	for _, typ := range Names() {
		for _, cut := range []int{0, 1, 7} { // what of it comes later
			t.Run(fmt.Sprintf("%s/%d", typ, cut), func(t *testing.T) {
				c, s := tcpPair(t)
				early := payload[typ][:len(payload[typ])-cut]
				answered := make(chan error, 1)
				go func() {
					head := "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: " + typ + "\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n"
					answered <- answerWith(s, head+early)
				}()
				tunnel, err := Dial(t.Context(), c, ClientOptions{Type: typ})
				if err := errors.Join(err, <-answered); err != nil {
					t.Fatal(err)
				}
				defer tunnel.Close()
				tunnel.SetDeadline(time.Now().Add(5 * time.Second))
				_, _ = io.WriteString(s, payload[typ][len(early):])
				if got := mustRead(t, tunnel, 11); string(got) != "early bytes" {
					t.Errorf("read %q", got)
				}
			})
		}
	}
}

func TestDialTriesAgainOnTheSameConnection(t *testing.T) {
	c, s := tcpPair(t)
	answered := make(chan error, 1)
	go func() {
		answered <- errors.Join(
			answerWith(s, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
			answerWith(s, "HTTP/1.1 101 x\r\nUpgrade: alpn\r\nConnection: upgrade\r\n\r\n"))
	}()
	_, err := Dial(t.Context(), c, ClientOptions{Type: "websocket"})
	var status *StatusError
	if !errors.As(err, &status) || !status.Reusable {
		t.Fatalf("first attempt: %v", err)
	}
	tunnel, err := Dial(t.Context(), c, ClientOptions{Type: "alpn"})
	if err := errors.Join(err, <-answered); err != nil {
		t.Fatal(err)
	}
	tunnel.Close()
}

func TestDialEndsWithItsOwnTimer(t *testing.T) {
	c, _ := tcpPair(t)
	began := time.Now()
	_, err := Dial(t.Context(), c, ClientOptions{Type: "alpn", Timeout: 20 * time.Millisecond})
	var timeout interface{ Timeout() bool }
	if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(began) > 3*time.Second {
		t.Errorf("error %v after %v", err, time.Since(began))
	}
}

func TestDialRefusesWhatDoesNotFitIntoARequest(t *testing.T) {
	c, _ := tcpPair(t)
	for _, opt := range []ClientOptions{
		{Type: "h2c"}, {Type: "alpn", Host: "a\r\nX: y"}, {Type: "alpn", Path: "/a b"}, {Type: "alpn", UserAgent: "a\nb"},
	} {
		if tunnel, err := Dial(t.Context(), c, opt); err == nil {
			tunnel.Close()
			t.Errorf("%+v was sent", opt)
		}
	}
}
