package albsim

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// tenth makes a second of the document a tenth of one.
var tenth = Options{TimeScale: 0.1}

func TestALB_IDLE_01_05_TunnelCutIsEOFAtTheTarget(t *testing.T) {
	const idle = 300 * time.Millisecond
	ended := make(chan error, 1)
	target := newStub(t, nil, switching("x", func(c *client) {
		_, err := c.br.ReadByte()
		ended <- err
	}))
	cfg := plain(target.addr)
	cfg.Attributes["idle_timeout.timeout_seconds"] = 3
	c := start(t, cfg, tenth).dial()
	c.send(upgradeRequest("alpn"))
	c.head()
	c.expect("x")
	begun := time.Now()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the target saw %v, want EOF", err)
	}
	if took := time.Since(begun); took < idle-50*time.Millisecond || took > idle+500*time.Millisecond {
		t.Errorf("cut after %v, want %v", took, idle)
	}
	if _, err := c.br.ReadByte(); err != io.EOF {
		t.Errorf("the client saw %v, want EOF", err)
	}
}

func TestALB_IDLE_02_AnyByteEitherWayResets(t *testing.T) {
	for _, from := range []string{"client", "target"} {
		const idle = 300 * time.Millisecond
		feed := func(w io.Writer) error { // three idle timeouts long, a byte every third of one
			tick := time.NewTicker(idle / 3)
			defer tick.Stop()
			for range 9 {
				<-tick.C
				if _, err := w.Write([]byte("b")); err != nil {
					return err
				}
			}
			return nil
		}
		target := newStub(t, nil, switching("", func(c *client) {
			if from == "target" {
				if err := feed(c); err != nil {
					t.Errorf("bytes from the target: %v", err)
				}
				return
			}
			discard(c.br, 9)
			say(c, "bbbbbbbbb")
		}))
		cfg := plain(target.addr)
		cfg.Attributes["idle_timeout.timeout_seconds"] = 3
		c := start(t, cfg, tenth).dial()
		c.send(upgradeRequest("alpn"))
		c.head()
		if from == "client" {
			if err := feed(c); err != nil {
				t.Errorf("bytes from the client: %v", err)
			}
		}
		c.expect("bbbbbbbbb")
	}
}

func TestALB_IDLE_06_SilentTargetIs504(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) { rest(c) })
	cfg := plain(target.addr)
	cfg.Attributes["idle_timeout.timeout_seconds"] = 2
	c := start(t, cfg, tenth).dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if status, head, body := c.response(); status != 504 || len(body) != 132 {
		t.Errorf("got %q %q", head, body)
	}
}

func TestALB_IDLE_07_HalfRequestIs408(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) { rest(c) })
	cfg := plain(target.addr)
	cfg.Attributes["idle_timeout.timeout_seconds"] = 2
	m := start(t, cfg, tenth)
	for name, half := range map[string]string{
		"head": "GET / HTTP/1.1\r\nHos",
		"body": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
	} {
		c := m.dial()
		c.send(half)
		if status, head, _ := c.response(); status != 408 || fieldOf(head, "Connection") != "close" {
			t.Errorf("%s: got %q", name, head)
		}
	}
}

func TestALB_IDLE_03_TCPKeepAliveDoesNotReset(t *testing.T) {
	ended := make(chan error, 1)
	target := newStub(t, nil, switching("x", func(c *client) {
		_, err := c.br.ReadByte()
		ended <- err
	}))
	cfg := plain(target.addr)
	cfg.Attributes["idle_timeout.timeout_seconds"] = 13
	c := start(t, cfg, tenth).dial()
	least := net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second} // that the kernel takes
	if err := c.Conn.(*net.TCPConn).SetKeepAliveConfig(least); err != nil {
		t.Fatal(err)
	}
	c.send(upgradeRequest("alpn"))
	c.head()
	c.expect("x")
	begun := time.Now()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the target saw %v, want EOF", err)
	}
	if took := time.Since(begun); took > 1800*time.Millisecond {
		t.Errorf("cut after %v, want 1.3s whatever the keep-alive at 1s", took)
	}
}
