package albsim

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestALB_ERR_05_TargetClosingMidUploadIs502(t *testing.T) {
	target := newStub(t, nil, func(c *client, _ string) {
		c.expect("half")
		c.Close()
	})
	m := start(t, plain(target.addr), Options{})
	status, head, _ := m.request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
	if status != 502 {
		t.Errorf("got %q", head)
	}
	if f := m.logLines(1)[0]; f[8] != "502" {
		t.Errorf("log %q", f)
	}
}

func TestConnectionWithAnUnsentBodyIsNotUsedAgain(t *testing.T) {
	lazy, deaf := net.Pipe() // a write blocks until it is read
	t.Cleanup(func() { lazy.Close(); deaf.Close() })
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		b := make([]byte, 1)
		for head := ""; !strings.HasSuffix(head, "\r\n\r\nb"); head += string(b) { // the whole body is on its way then
			if _, err := io.ReadFull(deaf, b); err != nil {
				return
			}
		}
		ok(&client{Conn: deaf}, "")
	}()
	good := newStub(t, nil, ok)
	var dials atomic.Int32
	m := start(t, plain(good.addr), Options{DialTarget: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			return lazy, nil
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}})
	c := m.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
	if status, _, body := c.response(); status != 200 || body != "ok" {
		t.Fatalf("early answer: status %d, body %q", status, body)
	}
	<-answered
	m.logLines(1)
	if status, head, _ := m.request(plainGet); status != 200 || dials.Load() != 2 {
		t.Errorf("next request: %d dials, got %q", dials.Load(), head)
	}
}

func TestOnlyWhatIsSafeIsSentAgain(t *testing.T) {
	for _, c := range []struct {
		name, request, answer string
		want, heads           int
	}{
		{"GET, closed", "GET /second HTTP/1.1\r\nHost: a\r\n\r\n", "", 200, 2},
		{"POST, closed", "POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "", 502, 1},
		{"GET, half a head", "GET /second HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 2", 502, 1},
		{"GET, head too long", "GET /second HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", 502, 1},
	} {
		var seen atomic.Int32
		target := newStub(t, nil, func(cl *client, head string) {
			if strings.Contains(head, "/second") && seen.Add(1) == 1 {
				say(cl, c.answer)
				cl.Close()
				return
			}
			ok(cl, head)
		})
		m := start(t, plain(target.addr), Options{})
		m.request(plainGet)
		m.logLines(1) // the connection is back in the pool
		if status, head, _ := m.request(c.request); status != c.want {
			t.Errorf("%s: got %q", c.name, head)
		}
		if got := int(seen.Load()); got != c.heads {
			t.Errorf("%s: the target was asked %d times, want %d", c.name, got, c.heads)
		}
	}
}

func TestStalledTLSTargetDelaysNothingBeyondTheTimeout(t *testing.T) {
	cfg := plain("127.0.0.1:1")
	cfg.TargetGroups[0].Protocol = "HTTPS"
	cfg.Attributes["idle_timeout.timeout_seconds"] = 2
	c := start(t, cfg, Options{TimeScale: tenth.TimeScale, DialTarget: deafTarget(t, "")}).dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
	begun := time.Now()
	if status, head, _ := c.response(); status != 504 || time.Since(begun) > 2*time.Second {
		t.Errorf("after %v got %q", time.Since(begun), head)
	}
}

// deafTarget is a TLS target that reads a head, answers with that text and then reads nothing any more. It is a pipe: a
// write to it blocks at once, close_notify too.
func deafTarget(t *testing.T, answer string) func(context.Context, string, string) (net.Conn, error) {
	cert := loadCert(t, makeCert(t, nil, "target"))
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		ended := make(chan struct{})
		t.Cleanup(func() { near.Close(); far.Close(); <-ended })
		go func() {
			defer close(ended)
			conn := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{cert}})
			if _, err := rawHead(bufio.NewReader(conn)); err != nil {
				t.Errorf("target: %v", err)
			}
			if _, err := io.WriteString(conn, answer); err != nil {
				t.Errorf("target: %v", err)
			}
		}()
		return near, nil
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestAPagesDeadlineDoesNotOutliveIt(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		<-time.After(120 * time.Millisecond)
		switching("", echo)(c, head)
	})
	cfg := plain(target.addr)
	cfg.Attributes["idle_timeout.timeout_seconds"] = 2
	cfg.Listeners[0].Rules = []Rule{fixed(1, 200, Condition{Field: "path-pattern", Values: []string{"/page"}})}
	c := start(t, cfg, tenth).dial()
	c.send("GET /page HTTP/1.1\r\nHost: a\r\n\r\n")
	c.response()
	<-time.After(120 * time.Millisecond)
	c.send(upgradeRequest("alpn")) // answered 240 ms behind the page, whose writing had 200 ms
	c.head()
	c.send("ping")
	c.expect("ping")
}

func TestUndelimitedBodyCutShortIsNotPassedOffAsWhole(t *testing.T) {
	chunked := newStub(t, nil, func(c *client, _ string) {
		say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
		c.Close()
	})
	c := start(t, plain(chunked.addr), Options{}).dial()
	c.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n") // gets the body without chunks, until the end of the connection
	c.head()
	if b, err := io.ReadAll(c.br); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("HTTP/1.0 client got %q, %v; want a reset", b, err)
	}

	cert := loadCert(t, makeCert(t, nil, "target"))
	truncated := newStub(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(c *client, _ string) {
		say(c, "HTTP/1.1 200 OK\r\n\r\nhalf")
		if err := c.Conn.(*tls.Conn).NetConn().(*net.TCPConn).CloseWrite(); err != nil { // no close_notify
			t.Error(err)
		}
	})
	cfg := plain(truncated.addr)
	cfg.TargetGroups[0].Protocol = "HTTPS"
	c = start(t, cfg, Options{}).dial()
	c.send(plainGet)
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("a body truncated below TLS is passed off as whole: %q", b)
	}
}

func TestEarlyAnswerReachesAClientThatIsStillSending(t *testing.T) {
	target := newStub(t, nil, func(c *client, _ string) {
		say(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
	})
	c := start(t, plain(target.addr), Options{}).dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
	if status, head, body := c.response(); status != 413 || body != "no" || fieldOf(head, "Connection") != "close" {
		t.Errorf("got %q %q", head, body)
	}
}

func TestRequestsPipelinedBeforeAnUpgradeKeepTheirOrder(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		if has(head, "Upgrade") {
			switching("", echo)(c, head)
			return
		}
		ok(c, head)
	})
	c := start(t, plain(target.addr), Options{}).dial()
	c.send(plainGet + "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + upgradeRequest("alpn") + "early")
	if status, _, body := c.response(); status != 200 || body != "ok" {
		t.Errorf("first: %d %q", status, body)
	}
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 200 ") || fieldOf(head, "Content-Length") != "2" {
		t.Errorf("HEAD: %q", head)
	}
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Errorf("upgrade: %q", head)
	}
	c.expect("early")
}

func TestAnswersWithoutABodyKeepTheConnectionInStep(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		status := strings.TrimPrefix(strings.Fields(head)[1], "/")
		say(c, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 "+status+" X\r\n\r\n")
	})
	m := start(t, plain(target.addr), Options{})
	for _, http10 := range []bool{false, true} {
		c := m.dial()
		for _, status := range []string{"204", "304", "204"} {
			version, keep := "HTTP/1.1", ""
			if http10 {
				version, keep = "HTTP/1.0", "Connection: keep-alive\r\n"
			}
			c.send("GET /" + status + " " + version + "\r\nHost: a\r\n" + keep + "\r\n")
			head := c.head()
			if !strings.HasPrefix(head, "HTTP/1.1 "+status+" X\r\n") || fieldOf(head, "Connection") != "keep-alive" || has(head, "Transfer-Encoding") {
				t.Errorf("%s: got %q", version, head)
			}
		}
	}
}

// TestConnectionIsAsGoodAfterABodyAsBefore holds that an answer which overtakes the end of the request's last write leaves no
// deadline behind on the connection that the next request gets.
func TestConnectionIsAsGoodAfterABodyAsBefore(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	defer target.Close()
	m := start(t, plain(target.Listener.Addr().String()), Options{})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range 2000 {
		resp, err := client.Post("http://"+m.addr, "text/plain", strings.NewReader("abc"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(body) != "abc" {
			t.Fatalf("request %d: %d %q, %v", i, resp.StatusCode, body, err)
		}
	}
}
