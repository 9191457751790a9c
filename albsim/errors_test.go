package albsim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// request sends raw bytes on a new connection and returns the status and the whole answer.
func (m *sim) request(raw string) (int, string, string) {
	m.t.Helper()
	c := m.dial()
	c.send(raw)
	return c.response()
}

const plainGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestALB_ERR_01_02_PagesByteForByte(t *testing.T) {
	cfg := plain("127.0.0.1:1")
	cfg.TargetGroups[0].Targets = nil
	m := start(t, cfg, Options{})
	status, head, body := m.request(plainGet)
	const title = "503 Service Temporarily Unavailable"
	want := "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>" + title + "</h1></center>\r\n</body>\r\n</html>\r\n"
	if status != 503 || body != want || len(body) != 162 {
		t.Errorf("status %d, %d bytes %q", status, len(body), body)
	}
	if got := names(head); !slices.Equal(got, []string{"Server", "Date", "Content-Type", "Content-Length", "Connection"}) ||
		fieldOf(head, "Server") != "awselb/2.0" || fieldOf(head, "Content-Type") != "text/html" || fieldOf(head, "Connection") != "keep-alive" {
		t.Errorf("head %q", head)
	}
	for code, size := range map[int]int{400: 122, 403: 118, 301: 134, 502: 122, 504: 132} { // alb.md section 7
		if _, b := page(new(awsALB()), code); len(b) != size {
			t.Errorf("page %d has %d bytes, want %d", code, len(b), size)
		}
	}
}

func TestALB_ERR_03_RefusedIs502(t *testing.T) {
	if status, _, body := start(t, plain(closedPort(t)), Options{}).request(plainGet); status != 502 || len(body) != 122 {
		t.Errorf("status %d, %d bytes", status, len(body))
	}
}

func TestALB_ERR_04_ConnectTimeoutIs504(t *testing.T) {
	var waited time.Duration
	m := start(t, plain("192.0.2.1:80"), Options{TimeScale: 0.01, DialTarget: func(ctx context.Context, _, _ string) (net.Conn, error) {
		begun := time.Now()
		<-ctx.Done() // a black hole: the SYN is never answered
		waited = time.Since(begun)
		return nil, ctx.Err()
	}})
	if status, _, _ := m.request(plainGet); status != 504 || waited < 90*time.Millisecond {
		t.Errorf("status %d after %v, want 504 after 100ms (10 s scaled)", status, waited)
	}
}

func TestALB_ERR_05_BrokenAnswersAre502(t *testing.T) {
	for name, answer := range map[string]string{
		"closes":           "",
		"closes in a head": "HTTP/1.1 200 OK\r\nConte",
		"garbage":          "SSH-2.0-OpenSSH_9\r\n\r\n",
		"bad length":       "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
		"CR in the reason": "HTTP/1.1 200 OK\rX: y\r\nContent-Length: 0\r\n\r\n",
		"two lengths":      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
		"unasked 101":      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
	} {
		target := newStub(t, nil, func(c *client, head string) { say(c, answer); c.Close() })
		if status, head, _ := start(t, plain(target.addr), Options{}).request(plainGet); status != 502 {
			t.Errorf("%s: got %q", name, head)
		}
	}
}

func TestShortBodyIsNotPassedOffAsWhole(t *testing.T) {
	for _, framing := range []string{"Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"} {
		target := newStub(t, nil, func(c *client, head string) { say(c, "HTTP/1.1 200 OK\r\n"+framing); c.Close() })
		c := start(t, plain(target.addr), Options{}).dial()
		c.send(plainGet)
		c.head()
		b, err := io.ReadAll(c.br)
		if err != nil || strings.HasSuffix(string(b), "0\r\n\r\n") || !strings.Contains(string(b), "half") {
			t.Errorf("client got %q, %v", b, err)
		}
	}
}

func TestALB_ERR_06_MethodsEncodingsVersions(t *testing.T) {
	target := newStub(t, nil, func(c *client, _ string) { rest(c) }) // no answer that could overtake a broken body
	m := start(t, plain(target.addr), Options{})
	for _, c := range []struct {
		raw  string
		want int
	}{
		{"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
		{"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
		{"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
		{"GET / HTTX\r\nHost: a\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400},
		{"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
	} {
		if status, _, _ := m.request(c.raw); status != c.want {
			t.Errorf("%q: status %d, want %d", c.raw, status, c.want)
		}
	}
}

func TestALB_ERR_07_ClientLeavingIs460InTheLogOnly(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) { rest(c) })
	m := start(t, plain(target.addr), Options{})
	c := m.dial()
	c.send(plainGet)
	target.head(t)
	c.Close()
	if f := m.logLines(1)[0]; f[8] != "460" {
		t.Errorf("log %q", f)
	}
}

func TestALB_LIM_01_02_RequestLimits(t *testing.T) {
	target := newStub(t, nil, ok)
	m := start(t, plain(target.addr), Options{})
	pad := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name, raw string
		want      int
	}{
		{"LIM-01 long path", "GET /" + pad(17000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		{"path within", "GET /" + pad(16000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 200},
		{"LIM-02 one header", "GET / HTTP/1.1\r\nHost: a\r\nA: " + pad(16384-3) + "\r\n\r\n", 400},
		{"one header within", "GET / HTTP/1.1\r\nHost: a\r\nA: " + pad(16383-3) + "\r\n\r\n", 200},
		{"LIM-02 all headers", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("A: "+pad(15<<10)+"\r\n", 5) + "\r\n", 400},
	} {
		if status, _, _ := m.request(c.raw); status != c.want {
			t.Errorf("%s: status %d, want %d", c.name, status, c.want)
		}
	}
}

func TestALB_LIM_03_TargetHeadersOver32KAre502(t *testing.T) {
	for size, want := range map[int]int{31 << 10: 200, 33 << 10: 502} {
		half := strings.Repeat("x", size/2)
		target := newStub(t, nil, func(c *client, _ string) {
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: "+half+"\r\nB: "+half+"\r\n\r\n")
		})
		if status, _, _ := start(t, plain(target.addr), Options{}).request(plainGet); status != want {
			t.Errorf("%d bytes: status %d, want %d", size, status, want)
		}
	}
}

func TestALB_ERR_10_11_HTTPSTargetSeesNoSNINoALPNAndIsNotVerified(t *testing.T) {
	expired := loadCert(t, makeCert(t, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(time.Minute) }, "target"))
	var sawSNI string
	var sawALPN []string
	target := newStub(t, &tls.Config{
		Certificates: []tls.Certificate{expired}, ClientAuth: tls.RequestClientCert,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			sawSNI, sawALPN = h.ServerName, h.SupportedProtos
			return nil, nil
		},
	}, func(c *client, head string) {
		say(c, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", len(c.Conn.(*tls.Conn).ConnectionState().PeerCertificates)))
	})
	cfg := secure(t, target.addr)
	cfg.TargetGroups[0].Protocol = "HTTPS"
	var hello HelloEvent
	m := start(t, cfg, Options{OnTargetHello: func(e HelloEvent) { hello = e }})
	c, _ := m.dialTLS(&tls.Config{ServerName: "alb.example.test", NextProtos: []string{"http/1.1"}})
	c.send("GET / HTTP/1.1\r\nHost: alb.example.test\r\n\r\n")
	if status, _, certs := c.response(); status != 200 || certs != "0" {
		t.Errorf("status %d, client certificates %s", status, certs)
	}
	if sawSNI != "" || len(sawALPN) != 0 {
		t.Errorf("the target saw SNI %q, ALPN %q", sawSNI, sawALPN)
	}
	if hello.SNI != "" || len(hello.ALPN) != 0 || hello.ClientCert || hello.Err != nil || hello.Remote != target.addr || len(hello.Versions) == 0 {
		t.Errorf("the hook was told %+v", hello)
	}
}

func TestALB_ERR_12_TargetTLSFailureIs502(t *testing.T) {
	cert := loadCert(t, makeCert(t, nil, "target"))
	for name, target := range map[string]*stub{
		"wants a certificate": newStub(t, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert}, ok),
		"speaks no TLS":       newStub(t, nil, ok),
	} {
		cfg := plain(target.addr)
		cfg.TargetGroups[0].Protocol = "HTTPS"
		if name == "speaks no TLS" {
			cfg.TargetGroups[0].Targets[0] = echoServer(t)
		}
		if status, head, _ := start(t, cfg, Options{}).request(plainGet); status != 502 {
			t.Errorf("%s: got %q", name, head)
		}
	}
}

// echoServer is a port that answers a ClientHello with itself.
func echoServer(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(patience))
			_, _ = io.CopyN(conn, conn, 64)
			conn.Close()
		}
	}()
	return ln.Addr().String()
}

func TestFixedResponseThatHasNoBodyKeepsTheConnectionInStep(t *testing.T) {
	c := start(t, ruled([]Rule{fixed(1, 204, Condition{Field: "path-pattern", Values: []string{"/empty"}})}), Options{}).dial()
	for _, want := range []int{204, 404, 204} {
		path := map[int]string{204: "/empty", 404: "/"}[want]
		c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if status, head, _ := c.response(); status != want || want == 204 && has(head, "Content-Length") {
			t.Errorf("got %q, want %d", head, want)
		}
	}
}
