package albsim

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestALB_KA_01_KeepAliveLimitGivesOneMoreRequest(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := plain(target.addr)
	cfg.Attributes["client_keep_alive.seconds"] = 60
	cfg.Attributes["idle_timeout.timeout_seconds"] = 4000
	m := start(t, cfg, Options{TimeScale: 0.002}) // 120 ms, well before the idle timeout
	c := m.dial()
	c.send(plainGet)
	if _, head, _ := c.response(); fieldOf(head, "Connection") != "keep-alive" {
		t.Errorf("got %q", head)
	}
	<-time.After(150 * time.Millisecond)
	c.send(plainGet)
	if status, head, _ := c.response(); status != 200 || fieldOf(head, "Connection") != "close" {
		t.Errorf("got %q", head)
	}
}

func TestALB_KA_03_TargetConnectionsAreReused(t *testing.T) {
	for answer, want := range map[string]int32{"": 1, "Connection: close\r\n": 3} {
		target := newStub(t, nil, func(c *client, head string) {
			say(c, "HTTP/1.1 200 OK\r\n"+answer+"Content-Length: 2\r\n\r\nok")
			if answer != "" {
				c.Close()
			}
		})
		m := start(t, plain(target.addr), Options{})
		for i := range 3 {
			if status, _, _ := m.request(plainGet); status != 200 {
				t.Fatalf("status %d", status)
			}
			m.logLines(i + 1) // a request's line is written behind the return of its connection to the pool
		}
		if got := target.accepts.Load(); got != want {
			t.Errorf("with %q: %d target connections, want %d", answer, got, want)
		}
	}
}

func TestALB_DES_02_AmbiguousIsRoutedAndBothConnectionsClosed(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		if strings.HasPrefix(head, "POST") {
			c.expect("ok")
		}
		ok(c, head)
	})
	m := start(t, plain(target.addr), Options{})
	for range 2 {
		c := m.dial()
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok")
		if status, head, _ := c.response(); status != 200 || fieldOf(head, "Connection") != "close" {
			t.Errorf("got %q", head)
		}
		if _, err := c.br.ReadByte(); err != io.EOF {
			t.Errorf("behind it: %v, want EOF", err)
		}
	}
	if got := target.accepts.Load(); got != 2 {
		t.Errorf("%d target connections, want a new one each", got)
	}
}

func TestALB_DES_03_StrictestBlocksAcceptable(t *testing.T) {
	target := newStub(t, nil, ok)
	for mode, want := range map[string]int{"defensive": 200, "strictest": 400} {
		cfg := plain(target.addr)
		cfg.Attributes["routing.http.desync_mitigation_mode"] = mode
		if status, _, _ := start(t, cfg, Options{}).request("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"); status != want {
			t.Errorf("%s: status %d, want %d", mode, status, want)
		}
	}
}

func TestPlainHTTPOnTLSListenerIs400(t *testing.T) {
	if status, head, _ := start(t, secure(t, "127.0.0.1:1"), Options{}).request(plainGet); status != 400 {
		t.Errorf("got %q", head)
	}
}
