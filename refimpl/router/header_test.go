package router

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// upgradeRequest is a good one, to be spoiled.
const upgradeRequest = "GET /webapi/connectionupgrade HTTP/1.1\r\nHost: router.example.test\r\nConnection: Upgrade\r\nUpgrade: alpn\r\n\r\n"

func TestEndpointIsStrict(t *testing.T) {
	b := startRouter(t, Config{Limits: Limits{HeaderBytes: 8192}})
	spoil := func(old, new string) string { return strings.Replace(upgradeRequest, old, new, 1) }
	for _, test := range []struct{ name, request, want string }{
		{"as it should be", upgradeRequest, "101"},
		{"empty lines before it", "\r\n\r\n" + upgradeRequest, "101"},
		{"a token without Connection, as an ALB leaves it", spoil("Connection: Upgrade\r\n", ""), "101"},
		{"no Host", spoil("Host: router.example.test\r\n", ""), "400"},
		{"two Hosts", spoil("Connection:", "Host: other\r\nConnection:"), "400"},
		{"a Host that is none", spoil("router.example.test", "a b"), "400"},
		{"space before the colon", spoil("Upgrade: alpn", "Upgrade : alpn"), "400"},
		{"folded line", spoil("Upgrade: alpn", "Upgrade:\r\n alpn"), "400"},
		{"folded first line", spoil("Host:", " Host:"), "400"},
		{"bare CR", spoil("Upgrade: alpn", "X: a\rUpgrade: alpn"), "400"},
		{"bare LF", strings.ReplaceAll(upgradeRequest, "\r\n", "\n"), "400"},
		{"bare LF at the end", spoil("alpn\r\n\r\n", "alpn\r\n\n"), "400"},
		{"NUL", spoil("Upgrade: alpn", "Upgrade: al\x00pn"), "400"},
		{"no colon", spoil("Upgrade: alpn", "Upgrade"), "400"},
		{"empty name", spoil("Upgrade: alpn", ": alpn"), "400"},
		{"length and coding", spoil("Host:", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\nHost:"), "400"},
		{"two lengths", spoil("Host:", "Content-Length: 0\r\nContent-Length: 0\r\nHost:"), "400"},
		{"a length with a sign", spoil("Host:", "Content-Length: +0\r\nHost:"), "400"},
		{"chunked is not final", spoil("Host:", "Transfer-Encoding: chunked, gzip\r\nHost:"), "400"},
		{"chunked twice", spoil("Host:", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nHost:"), "501"},
		{"coding in HTTP/1.0", spoil("HTTP/1.1\r\n", "HTTP/1.0\r\nTransfer-Encoding: chunked\r\n"), "400"},
		{"upgrade in HTTP/1.0 is ignored", spoil("HTTP/1.1", "HTTP/1.0"), "426"},
		{"a version to come", spoil("HTTP/1.1", "HTTP/3.0"), "505"},
		{"no version", spoil(" HTTP/1.1", ""), "400"},
		{"two spaces", spoil("GET ", "GET  "), "400"},
		{"tab in the request line", spoil(" HTTP", "\tHTTP"), "400"},
		{"a long header", spoil("Host:", "X: "+strings.Repeat("x", 6000)+"\r\nHost:"), "101"},
		{"a header too long", spoil("Host:", "X: "+strings.Repeat("x", 9000)+"\r\nHost:"), "431"},
		{"a target too long", spoil("/webapi", "/"+strings.Repeat("x", 9000)), "431"},
		{"another path", spoil("connectionupgrade", "x"), "404"},
		{"another method", spoil("GET", "POST"), "405"},
		{"no upgrade", "GET /webapi/connectionupgrade HTTP/1.1\r\nHost: a\r\n\r\n", "426"},
		{"an upgrade that is not served", spoil("alpn", "h2c"), "426"},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := b.tcp(t)
			br := bufio.NewReader(conn)
			status, head := ask(t, conn, br, test.request)
			if status != test.want {
				t.Fatalf("status %s, want %s: %q", status, test.want, head)
			}
			if status == "101" || status == "404" {
				return
			}
			if all := strings.ToLower(strings.Join(head, "\n")); !strings.Contains(all, "connection: close") {
				t.Errorf("the connection stays open: %q", head)
			}
			if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("after the refusal: %v, want EOF", err)
			}
		})
	}
}

func TestEndpointServesTheNextRequest(t *testing.T) {
	b := startRouter(t, Config{})
	for _, secured := range []bool{false, true} {
		conn := b.stream(t, "direct")
		if secured {
			conn = secure(t, conn, b.clientConfig(ownName, "http/1.1"))
		}
		br := bufio.NewReader(conn)
		get := "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
		if status, _ := ask(t, conn, br, get+"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n\r\n"+get); status != "404" {
			t.Fatalf("first request: %s", status)
		}
		// The answer to HEAD has a length and no body.
		for range 2 {
			line, err := br.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			for line != "\r\n" {
				if line, err = br.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			if next, err := br.Peek(1); err != nil {
				t.Fatal(err)
			} else if next[0] != 'H' {
				_, _ = br.ReadString('\n') // the body
			}
		}
		if status, _ := ask(t, conn, br, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); status != "404" {
			t.Fatalf("last request: %s", status)
		}
		if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("after Connection: close: %v", err)
		}
	}
}

func TestSlowHeaderIsAnswered408(t *testing.T) {
	b := startRouter(t, Config{Limits: Limits{ClientHelloTimeout: Duration(150 * time.Millisecond)}})
	conn := b.tcp(t)
	if status, head := ask(t, conn, bufio.NewReader(conn), "GET / HTTP/1.1\r\nHost: a\r\n"); status != "408" {
		t.Errorf("got %q", head)
	}
}

func TestEmptyLinesCountTowardsTheHeader(t *testing.T) {
	b := startRouter(t, Config{Limits: Limits{HeaderBytes: 8192}})
	conn := b.tcp(t)
	flood := "GET / HTTP/1.1\r\nHost: a\r\n\r\n" + strings.Repeat("\r\n", 5000)
	br := bufio.NewReader(conn)
	if status, _ := ask(t, conn, br, flood); status != "404" {
		t.Fatalf("the request before: %s", status)
	}
	if status, head := ask(t, conn, br, ""); status != "431" {
		t.Errorf("got %q", head)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte(upgradeRequest))
	f.Add([]byte("\r\n\r\nGET / HTTP/1.0\r\n\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		block := data[emptyLines(data):]
		end := headerEnd(block)
		if end == 0 || checkHeader(block[:end]) != nil {
			return
		}
		// What passes has one reading: net/http must agree about where it ends and have one Host at most.
		br := bufio.NewReaderSize(bytes.NewReader(block), len(block)+16)
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if req.Body != http.NoBody {
			return // its reader takes from br
		}
		if rest, _ := io.ReadAll(br); len(rest) != len(block)-end {
			t.Errorf("net/http leaves %d bytes, we leave %d", len(rest), len(block)-end)
		}
		if len(req.Header["Host"]) > 0 {
			t.Errorf("Host among the fields: %q", req.Header["Host"])
		}
	})
}
