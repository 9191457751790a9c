package lab

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // RFC 6455 section 4.2.2 has it
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// rawClient is a connection to a front whose TLS is done.
type rawClient struct {
	*tls.Conn
	br *bufio.Reader
	f  front
}

func (f front) dial() *rawClient {
	f.t.Helper()
	conn, err := tls.Dial("tcp", f.addr, &tls.Config{ServerName: frontName, RootCAs: f.roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(7 * shortIdle))
	return &rawClient{conn, bufio.NewReader(conn), f}
}

// ask sends a request and says what came back: a status, and what the target saw in the fields of that name.
func (c *rawClient) ask(request string, fields ...string) string {
	say(c, request)
	return c.answer(fields...)
}

func (c *rawClient) answer(fields ...string) string {
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return "no answer"
	}
	said := fmt.Sprint(resp.StatusCode)
	if resp.StatusCode != 101 {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if len(fields) == 0 {
		return said
	}
	return said + c.f.saw(fields...)
}

func (f front) saw(fields ...string) string {
	select {
	case head := <-f.target.at.Load().heads:
		said := ""
		for _, name := range fields {
			for line := range strings.SplitSeq(head, "\r\n") {
				if n, v, ok := strings.Cut(line, ": "); ok && strings.EqualFold(n, name) {
					if name == "Connection" {
						v = strings.ToLower(v)
					}
					said += " | " + n + ": " + v
				}
			}
		}
		return said
	default:
		return " | the target was not asked"
	}
}

func (f front) ended() string {
	select {
	case err := <-f.target.at.Load().ends:
		return ending(err)
	case <-time.After(5 * time.Second):
		return "still open"
	}
}

func ending(err error) string {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return "end"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "end without close_notify"
	}
	return err.Error()
}

func get(path string, fields ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + frontName + "\r\n" + strings.Join(fields, "") + "\r\n"
}

func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return strings.ReplaceAll(base64.StdEncoding.EncodeToString(sum[:]), "/", "%2f")
}

const (
	upgradeAlpn = "Connection: Upgrade\r\nUpgrade: alpn\r\n"
	upgradeWS   = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
	withKey     = "Sec-WebSocket-Key: " + soundKey + "\r\n"
)

// observations are what can be seen of a load balancer from outside.
var observations = []struct {
	name string
	see  func(f front) string
}{
	{"unknown ALPN", func(f front) string {
		conn, err := tls.Dial("tcp", f.addr, &tls.Config{ServerName: frontName, RootCAs: f.roots, NextProtos: []string{"x-unknown"}})
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		return "negotiated " + conn.ConnectionState().NegotiatedProtocol
	}},
	{"custom token", func(f front) string { return f.dial().ask(get("/switch/alpn", upgradeAlpn), "Upgrade", "Connection") }},
	{"custom token without Connection", func(f front) string {
		return f.dial().ask(get("/switch/alpn", "Upgrade: alpn\r\n"), "Upgrade", "Connection")
	}},
	{"websocket", func(f front) string {
		return f.dial().ask(get("/switch/websocket/"+acceptOf(soundKey), upgradeWS, withKey), "Upgrade", "Connection")
	}},
	{"websocket without key", func(f front) string { return f.dial().ask(get("/switch/websocket", upgradeWS)) }},
	{"websocket, wrong accept", func(f front) string { return f.dial().ask(get("/switch/websocket/wrong", upgradeWS, withKey)) }},
	{"websocket, no accept", func(f front) string { return f.dial().ask(get("/switch/websocket", upgradeWS, withKey)) }},
	{"two tokens", func(f front) string {
		return f.dial().ask(get("/switch/alpn", "Connection: Upgrade\r\nUpgrade: alpn, other\r\n"), "Upgrade", "Connection")
	}},
	{"two tokens in two fields", func(f front) string {
		return f.dial().ask(get("/switch/alpn", upgradeAlpn, "Upgrade: other\r\n"), "Upgrade", "Connection")
	}},
	{"upgrade by POST with a body", func(f front) string {
		return f.dial().ask(strings.Replace(get("/switch/alpn", upgradeAlpn, "Content-Length: 2\r\n"), "GET", "POST", 1)+"hi", "Upgrade", "Connection")
	}},
	{"another token in the 101", func(f front) string { return f.dial().ask(get("/switch/other", upgradeAlpn)) }},
	{"101 that was not asked for", func(f front) string { return f.dial().ask(get("/switch/alpn")) }},
	{"bytes behind the request", func(f front) string {
		c := f.dial()
		if said := c.ask(get("/switch/alpn", upgradeAlpn) + "early"); said != "101" {
			return said
		}
		say(c, "later")
		b := make([]byte, 5)
		_, err := io.ReadFull(c.br, b)
		return fmt.Sprintf("%s %v", b, err)
	}},
	{"half-close of the client", func(f front) string {
		c := f.dial()
		c.ask(get("/switch/alpn", upgradeAlpn))
		say(c, "x")
		if b, err := c.br.ReadByte(); b != 'x' {
			return fmt.Sprintf("%q %v", b, err)
		}
		_ = c.CloseWrite()
		b, err := io.ReadAll(c.br)
		f.ended() // as an end or as a reset, by whether the echo was on its way
		return fmt.Sprintf("client %q %s", b, ending(err))
	}},
	{"end of the client without close_notify", func(f front) string {
		c := f.dial()
		c.ask(get("/switch/alpn", upgradeAlpn))
		_ = c.NetConn().(*net.TCPConn).CloseWrite()
		return f.ended()
	}},
	{"spelling of a field, Host as it came", func(f front) string {
		return f.dial().ask("GET / HTTP/1.1\r\nHost: Front.Example.Test\r\nx-CuStom: 1\r\nExpect-Nothing: 2\r\n\r\n", "x-custom", "expect-nothing")
	}},
	{"a long X-Forwarded-For", func(f front) string {
		return f.dial().ask(get("/", "X-Forwarded-For: 1.1.1.1"+strings.Repeat(", 1.1.1.1", 40)+"\r\n"))
	}},
	{"CONNECT", func(f front) string { return f.dial().ask("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n") }},
	{"TRACE", func(f front) string { return f.dial().ask("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n") }},
	{"103", func(f front) string {
		c := f.dial()
		return c.ask(get("/hints")) + ", " + c.answer()
	}},
	{"a page of its own", func(f front) string {
		c := f.dial()
		say(c, "GET / HTTX\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil {
			return "no answer"
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return fmt.Sprintf("%d %s, Server %q, %s %q", resp.StatusCode, resp.Status, resp.Header.Get("Server"), resp.Header.Get("Content-Type"), b)
	}},
	{"HTTP on the port of HTTPS", func(f front) string {
		conn, err := net.Dial("tcp", f.addr)
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		say(conn, get("/"))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return "no answer"
		}
		resp.Body.Close()
		return fmt.Sprint(resp.StatusCode)
	}},
	{"a client that closes before the answer", func(f front) string {
		c := f.dial()
		say(c, get("/silent"))
		<-f.target.at.Load().heads
		c.Close()
		return f.ended()
	}},
	{"a client that half-closes before the answer", func(f front) string {
		c := f.dial()
		say(c, get("/silent"))
		<-f.target.at.Load().heads
		begun := time.Now()
		_ = c.CloseWrite()
		f.ended()
		return fmt.Sprint("at once: ", time.Since(begun) < shortIdle/2)
	}},
	{"an answer that does not come", func(f front) string { return f.dial().ask(get("/silent")) }},
	{"an idle tunnel", func(f front) string {
		c := f.dial()
		c.ask(get("/switch/alpn", upgradeAlpn))
		_, err := io.ReadAll(c.br)
		return "client " + ending(err) + ", target " + f.ended()
	}},
	{"a tunnel in which the client speaks", func(f front) string {
		c := f.dial()
		c.ask(get("/sink", upgradeAlpn))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = chatter(c, shortIdle/10)
		}()
		begun := time.Now()
		_, _ = io.Copy(io.Discard, c.br)
		stood := time.Since(begun) > 2*shortIdle
		c.NetConn().Close()
		<-ended
		return fmt.Sprint("stands: ", stood)
	}},
	{"a tunnel in which the target speaks", func(f front) string {
		c := f.dial()
		c.ask(get("/chatter", upgradeAlpn))
		begun := time.Now()
		_, err := io.Copy(io.Discard, c.br)
		return fmt.Sprintf("stands: %v, client %s", time.Since(begun) > 2*shortIdle, ending(err))
	}},
}
