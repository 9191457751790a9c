package client

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// host is a service that is told when to go on.
type host struct {
	farewell chan struct{} // closed: the answer to a half-close may be sent
	release  chan struct{} // closed: who was told to hold ends
	ended    <-chan struct{}
}

// serve sends lines back, stops reading for good at "hold", and sends a last line behind a half-close.
func (h *host) serve(s *tls.Conn, below net.Conn) {
	defer below.Close()
	br := bufio.NewReader(s)
	for {
		line, err := br.ReadString('\n')
		switch {
		case errors.Is(err, io.EOF):
			select {
			case <-h.farewell:
			case <-h.ended:
			}
			_, _ = io.WriteString(s, "goodbye")
			_ = s.CloseWrite()
			_, _ = below.Read(make([]byte, 1)) // the client closes last
			return
		case err != nil:
			return
		case line == "hold\n":
			select {
			case <-h.release:
			case <-h.ended:
			}
			return
		}
		_, _ = io.WriteString(s, line)
	}
}

func TestEveryKindOfConnKeepsDeadlinesAndHalfClose(t *testing.T) {
	kinds := map[string]func(p *path, d *Dialer){
		"direct":              func(_ *path, d *Dialer) { d.Upgrade = Direct },
		"websocket":           func(_ *path, d *Dialer) { d.Upgrade = "websocket" },
		"alpn":                func(_ *path, d *Dialer) { d.Upgrade = "alpn" },
		"alpn-ping":           func(_ *path, d *Dialer) { d.Upgrade = "alpn-ping" },
		"plaintext websocket": func(p *path, d *Dialer) { d.Upgrade, d.Address = "websocket", "http://"+p.addr },
		"plaintext alpn":      func(p *path, d *Dialer) { d.Upgrade, d.Address = "alpn", "http://"+p.addr },
		"plaintext alpn-ping": func(p *path, d *Dialer) { d.Upgrade, d.Address = "alpn-ping", "http://"+p.addr },
	}
	for kind, set := range kinds {
		for _, proxy := range []string{"no proxy", "http", "https", "socks5"} {
			t.Run(kind+"/"+proxy, func(t *testing.T) {
				h := &host{farewell: make(chan struct{}), release: make(chan struct{}), ended: t.Context().Done()}
				p := listen(t, func(p *path, conn net.Conn, n int) {
					if kind == "direct" {
						if s, err := p.tls("router", conn, p.routerConfig()); err == nil {
							h.serve(s, conn)
						}
						return
					}
					front{end: h.serve, plaintext: strings.HasPrefix(kind, "plaintext"), ping: time.Millisecond}.handle(p, conn, n)
				})
				d := p.dialer()
				d.Timeout, d.StepTimeout = 10*time.Second, 5*time.Second
				d.Ping = true
				set(p, d)
				if proxy != "no proxy" {
					startRelay(t, proxy, nil).use(d)
				}
				t.Run("read", func(t *testing.T) { keepsReadDeadlines(t, d, h) })
				t.Run("write", func(t *testing.T) { keepsWriteDeadlines(t, d, h) })
			})
		}
	}
}

func keepsReadDeadlines(t *testing.T, d *Dialer, h *host) {
	conn, err := d.DialContext(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	br := bufio.NewReader(conn)
	echoed := func(when string) {
		t.Helper()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(conn, "hello\n"); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if line, err := br.ReadString('\n'); line != "hello\n" || err != nil {
			t.Fatalf("%s: read %q, %v", when, line, err)
		}
		conn.SetDeadline(time.Time{})
	}
	timesOut := func(when string, err error) {
		t.Helper()
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Fatalf("%s: %v, want a timeout", when, err)
		}
	}
	echoed("at first")
	conn.SetReadDeadline(time.Unix(1, 0))
	_, err = br.ReadByte()
	timesOut("a deadline in the past", err)
	echoed("behind a deadline in the past")

	conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err = br.ReadByte()
	timesOut("a deadline that comes", err)
	echoed("behind a deadline that came")

	freed := make(chan error)
	go func() { _, err := br.ReadByte(); freed <- err }()
	conn.SetReadDeadline(time.Unix(1, 0)) // as net/http's Hijack frees its background read
	timesOut("a Read that another goroutine frees", <-freed)
	echoed("behind a Read that was freed")

	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("written behind CloseWrite")
	}
	conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err = br.ReadByte()
	timesOut("a deadline behind the half-close", err)
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	close(h.farewell)
	if rest, err := io.ReadAll(br); string(rest) != "goodbye" || err != nil {
		t.Errorf("behind the half-close: %q, %v", rest, err)
	}
}

func keepsWriteDeadlines(t *testing.T, d *Dialer, h *host) {
	conn, err := d.DialContext(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer close(h.release)
	if _, err := io.WriteString(conn, "hold\n"); err != nil {
		t.Fatal(err)
	}
	conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	// More than the kernels hold on the way.
	n, err := conn.Write(make([]byte, 64<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 64<<20 {
		t.Errorf("wrote %d bytes to a peer that does not read, %v, want a timeout", n, err)
	}
}
