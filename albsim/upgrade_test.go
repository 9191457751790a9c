package albsim

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// switching answers any upgrade with a 101 of the token it asked for, bytes right behind it, and then runs tunnel.
func switching(behind string, tunnel func(c *client)) func(*client, string) {
	return func(c *client, head string) {
		say(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+fieldOf(head, "Upgrade")+"\r\n\r\n"+behind)
		if tunnel != nil {
			tunnel(c)
		}
		c.Close()
	}
}

func echo(c *client) { _, _ = io.Copy(c, c.br) } // until the test ends it

func upgradeRequest(token string, extra ...string) string {
	return "GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: " + token + "\r\n" + strings.Join(extra, "") + "\r\n"
}

func TestALB_UPG_01_WebSocketKeepsBothHeaders(t *testing.T) {
	target := newStub(t, nil, switching("", echo))
	c := start(t, plain(target.addr), Options{}).dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\nconnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n")
	c.head()
	head := target.head(t)
	if fieldOf(head, "Upgrade") != "WebSocket" || fieldOf(head, "connection") != "Upgrade" || fieldOf(head, "Sec-WebSocket-Key") != "k" {
		t.Errorf("target got %q", head)
	}
}

func TestALB_UPG_02_05_CustomTokenLosesConnectionKeepsNominated(t *testing.T) {
	target := newStub(t, nil, switching("", echo))
	c := start(t, plain(target.addr), Options{}).dial()
	c.send("GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 0\r\nHost: a\r\n" +
		"HTTP2-Settings: AAM\r\nUpgrade: h2c\r\nUser-Agent: Java\r\nAccept: */*\r\n\r\n")
	c.head()
	want := []string{
		"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "Host", "X-Amzn-Trace-Id", "Upgrade",
		"Content-Length", "HTTP2-Settings", "User-Agent", "Accept",
	} // the order of the XTDB dump
	if got := names(target.head(t)); !slices.Equal(got, want) {
		t.Errorf("target got fields %v, want %v", got, want)
	}
}

func TestALB_UPG_03_04_NoConnectionStillTunnels(t *testing.T) {
	target := newStub(t, nil, switching("", echo))
	c := start(t, plain(target.addr), Options{}).dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: alpn\r\n\r\n")
	head := c.head()
	if !strings.HasPrefix(head, "HTTP/1.1 101 Switching Protocols\r\n") ||
		fieldOf(head, "Connection") != "Upgrade" || fieldOf(head, "Upgrade") != "alpn" {
		t.Errorf("client got %q", head)
	}
	c.send("ping")
	c.expect("ping")
}

func TestALB_UPG_06_07_InnerTLSIsOpaque(t *testing.T) {
	inner := loadCert(t, makeCert(t, nil, "inner.example.test"))
	me := loadCert(t, makeCert(t, nil, "me"))
	states := make(chan tls.ConnectionState, 1)
	received := make(chan []byte, 1)
	target := newStub(t, nil, switching("", func(c *client) {
		conn := tls.Server(&buffered{c}, &tls.Config{
			Certificates: []tls.Certificate{inner}, NextProtos: []string{"x-inner"}, ClientAuth: tls.RequireAnyClientCert,
		})
		b, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("inner read: %v", err)
		}
		states <- conn.ConnectionState()
		received <- b
		say(conn, "done")
		conn.Close()
	}))
	m := start(t, secure(t, target.addr), Options{})
	c, _ := m.dialTLS(&tls.Config{NextProtos: []string{"x-outer"}})
	c.send(upgradeRequest("alpn"))
	c.head()
	roots := x509.NewCertPool()
	roots.AddCert(inner.Leaf)
	conn := tls.Client(&buffered{c}, &tls.Config{
		ServerName: "inner.example.test", RootCAs: roots, NextProtos: []string{"x-inner"}, Certificates: []tls.Certificate{me},
	})
	payload := make([]byte, 300<<10)
	rand.Read(payload)
	if _, err := conn.Write(payload); err != nil {
		t.Fatal(err)
	}
	shut(t, conn)
	if b, err := io.ReadAll(conn); err != nil || string(b) != "done" {
		t.Fatalf("inner answer %q, %v", b, err)
	}
	state := <-states
	if state.ServerName != "inner.example.test" || state.NegotiatedProtocol != "x-inner" || !state.PeerCertificates[0].Equal(me.Leaf) {
		t.Errorf("target's inner TLS: SNI %q, ALPN %q", state.ServerName, state.NegotiatedProtocol)
	}
	if !bytes.Equal(<-received, payload) {
		t.Error("inner bytes changed")
	}
}

// buffered reads through the client's reader, so that nothing is lost behind a head.
type buffered struct{ *client }

func (b *buffered) Read(p []byte) (int, error) { return b.br.Read(p) }

func TestALB_UPG_08_RefusedUpgradeKeepsTheConnection(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		if has(head, "Upgrade") {
			say(c, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
			return
		}
		ok(c, head)
	})
	c := start(t, plain(target.addr), Options{}).dial()
	c.send(upgradeRequest("alpn"))
	if status, _, body := c.response(); status != 426 || body != "no" {
		t.Fatalf("status %d, body %q", status, body)
	}
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if status, _, body := c.response(); status != 200 || body != "ok" {
		t.Errorf("second request: status %d, body %q", status, body)
	}
}

func TestALB_UPG_09_14_16_TunnelBytesEarlyBytesAndLog(t *testing.T) {
	const early, behind, later = "GET /deny HTTP/1.1\r\n\r\n", "server first\x00", "more"
	got := make(chan string, 1)
	target := newStub(t, nil, switching(behind, func(c *client) {
		b, _ := io.ReadAll(c.br)
		got <- string(b)
		say(c, "bye") // the half-close came through, our direction is still open
	}))
	cfg := plain(target.addr)
	cfg.Listeners[0].Rules = []Rule{{
		Priority: 1, Conditions: []Condition{{Field: "path-pattern", Values: []string{"/deny"}}},
		Actions: []Action{{Type: "fixed-response", StatusCode: 403}},
	}}
	m := start(t, cfg, Options{})
	c := m.dial()
	request := upgradeRequest("websocket", "User-Agent: t\r\n")
	c.send(request + early)
	head := c.head()
	c.expect(behind)
	c.send(later)
	shut(t, c.Conn.(*net.TCPConn))
	if b := <-got; b != early+later {
		t.Errorf("target got %q, want %q", b, early+later)
	}
	c.expect("bye")
	if _, err := c.br.ReadByte(); err != io.EOF {
		t.Errorf("end of the tunnel: %v, want EOF", err)
	}
	lines := m.logLines(1)
	f := lines[0]
	in, out := strconv.Itoa(len(request+early+later)), strconv.Itoa(len(head+behind+"bye"))
	if len(lines) != 1 || f[0] != "ws" || f[8] != "101" || f[9] != "101" || f[10] != in || f[11] != out {
		t.Errorf("log %q, want one line of type ws, 101 101, %s received, %s sent", lines, in, out)
	}
}

func TestTunnelResetCrossesAsReset(t *testing.T) {
	for _, https := range []bool{false, true} {
		ended := make(chan error, 1)
		target := newStub(t, nil, switching("x", func(c *client) {
			_, err := c.br.ReadByte()
			ended <- err
		}))
		cfg := plain(target.addr)
		if https {
			cfg = secure(t, target.addr)
		}
		m := start(t, cfg, Options{})
		c := m.dial()
		tcp := c.Conn.(*net.TCPConn)
		if https {
			c = newClient(t, tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true}))
		}
		c.send(upgradeRequest("alpn"))
		c.head()
		c.expect("x")
		reset(tcp)
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("https %v: the target saw %v, want a reset", https, err)
		}
	}
}

func TestTunnelTLSEndWithoutCloseNotifyIsNoCleanEnd(t *testing.T) {
	for _, notify := range []bool{true, false} {
		ended := make(chan error, 1)
		target := newStub(t, nil, switching("x", func(c *client) {
			_, err := c.br.ReadByte()
			ended <- err
		}))
		m := start(t, secure(t, target.addr), Options{})
		tcp := m.dial().Conn.(*net.TCPConn)
		conn := tls.Client(tcp, &tls.Config{InsecureSkipVerify: true})
		c := newClient(t, conn)
		c.send(upgradeRequest("alpn"))
		c.head()
		c.expect("x")
		if notify {
			shut(t, conn)
		}
		shut(t, tcp)
		if err := <-ended; errors.Is(err, io.EOF) != notify {
			t.Errorf("close_notify %v: the target saw %v", notify, err)
		}
	}
}

func TestProfileWebSocketOnlyDropsOtherTokens(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := plain(target.addr)
	cfg.Profile = "websocket-only"
	c := start(t, cfg, Options{}).dial()
	c.send(upgradeRequest("alpn"))
	if status, _, _ := c.response(); status != 200 {
		t.Errorf("status %d", status)
	}
	if head := target.head(t); has(head, "Upgrade") || has(head, "Connection") {
		t.Errorf("target got %q", head)
	}
	c.send(upgradeRequest("websocket"))
	c.response()
	if head := target.head(t); !has(head, "Upgrade") || !has(head, "Connection") {
		t.Errorf("target got %q", head)
	}
}

func TestProfileALPNAlertRefusesUnknownALPN(t *testing.T) {
	cfg := secure(t, "127.0.0.1:1")
	cfg.Profile = "alpn-alert"
	m := start(t, cfg, Options{})
	_, err := tls.Dial("tcp", m.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"x-custom"}})
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err.Error() != "tls: no application protocol" {
		t.Errorf("error %v, want alert no_application_protocol", err)
	}
}
