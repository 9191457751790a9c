package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDialContextBoundsTheDialOnly(t *testing.T) {
	for name, handle := range map[string]func(p *path, conn net.Conn, n int){"direct": router, "upgraded": front{}.handle} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, handle)
			d := p.dialer()
			d.Timeout, d.StepTimeout = time.Second, time.Second
			ctx, cancel := context.WithCancel(t.Context())
			conn, err := d.Dial(ctx)
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			<-time.After(1100 * time.Millisecond) // every timer of the dial has passed
			exchange(t, conn)
		})
	}
}

func TestDialObservesWrapsAndLogsKeys(t *testing.T) {
	p := listen(t, front{}.handle)
	d := p.dialer()
	var phases []string
	add := func(name string) func(time.Duration) {
		return func(took time.Duration) {
			if phases = append(phases, name); took <= 0 {
				t.Errorf("%s took %v", name, took)
			}
		}
	}
	d.Trace = &Trace{TCP: add("tcp"), OuterTLS: add("outer"), Upgrade: add("upgrade"), InnerTLS: add("inner")}
	var inner, outer lockedBuffer
	d.InnerKeyLog, d.OuterKeyLog = &inner, &outer
	wrapped := 0
	d.WrapTunnel = func(c net.Conn) net.Conn { wrapped++; return c }
	conn, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"tcp", "outer", "upgrade", "inner"}, phases); diff != "" || wrapped != 1 {
		t.Errorf("phases %s, wrapped %d times", diff, wrapped)
	}
	const line = "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
	if i, o := strings.Count(inner.String(), line), strings.Count(outer.String(), line); i != 2 || o != 1 {
		t.Errorf("%d sessions in the inner key log, %d in the outer", i, o)
	}
	if conn.ConnectionState().NegotiatedProtocol != service || conn.Unwrap() == nil {
		t.Error("the connection does not show its session")
	}
	exchange(t, conn)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestConnTellsATruncationFromAnEnd(t *testing.T) {
	for name, upgraded := range map[string]string{"direct": Direct, "websocket": "websocket", "alpn": "alpn", "alpn-ping": "alpn-ping"} {
		for _, clean := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/clean %v", name, clean), func(t *testing.T) {
				ended := make(chan struct{})
				end := func(s *tls.Conn, below net.Conn) {
					defer close(ended)
					_, _ = io.WriteString(s, "answer")
					if clean {
						_ = s.CloseWrite()
					}
					below.Close()
				}
				p := listen(t, func(p *path, conn net.Conn, n int) {
					if upgraded == Direct {
						if s, err := p.tls("router", conn, p.routerConfig()); err == nil {
							end(s, conn)
						}
						return
					}
					// crypto/tls looks at the next record before it returns data, where TLS 1.2 shows that it is an alert.
					front{end: end, tls: func(p *path) *tls.Config {
						return &tls.Config{Certificates: []tls.Certificate{p.outer.leaf(outerName)}, MaxVersion: tls.VersionTLS12}
					}}.handle(p, conn, n)
				})
				d := p.dialer()
				d.Upgrade = upgraded
				conn, err := d.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				// Everything is there before the first Read: the layers then hand out the last bytes together with the end.
				<-ended
				want := io.ErrUnexpectedEOF
				if clean {
					want = nil
				}
				if got, err := io.ReadAll(conn); string(got) != "answer" || !errors.Is(err, want) {
					t.Errorf("read %q, %v, want %v", got, err, want)
				}
			})
		}
	}
}

func TestCloseSpendsOneGraceOnAllLayers(t *testing.T) {
	// No tickets: a pipe holds nothing, and nobody reads behind the handshake. The bubble's clock is no certificate's.
	server := &tls.Config{Certificates: []tls.Certificate{newAuthority(t, "inner").leaf(innerName)}, SessionTicketsDisabled: true}
	client := &tls.Config{InsecureSkipVerify: true}
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		// A load balancer and a router that read their handshakes, and nothing behind them.
		done := make(chan error, 1)
		go func() {
			outer := tls.Server(far, server)
			done <- errors.Join(outer.Handshake(), tls.Server(outer, server).Handshake())
		}()
		inner := tls.Client(tls.Client(near, client), client)
		if err := errors.Join(inner.Handshake(), <-done); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		(&Conn{Conn: inner}).Close()
		if took := time.Since(began); took != closeGrace {
			t.Errorf("took %v, want %v", took, closeGrace)
		}
	})
}

func TestAddressIsUnderstood(t *testing.T) {
	tests := []struct {
		in, dial, host string // Host field for the address's own name
		plaintext, bad bool
	}{
		{in: "lb.example.test:8443", dial: "lb.example.test:8443", host: "lb.example.test:8443"},
		{in: "lb.example.test", dial: "lb.example.test:443", host: "lb.example.test"},
		{in: "https://lb.example.test/", dial: "lb.example.test:443", host: "lb.example.test"},
		{in: "http://lb.example.test", dial: "lb.example.test:80", host: "lb.example.test", plaintext: true},
		{in: "http://127.0.0.1:8080", dial: "127.0.0.1:8080", host: "127.0.0.1:8080", plaintext: true},
		{in: "[::1]:443", dial: "[::1]:443", host: "[::1]"},
		{in: "::1", dial: "[::1]:443", host: "[::1]"},
		{in: "ftp://a", bad: true},
		{in: "http://a/b/c", bad: true},
		{in: "", bad: true},
	}
	for _, tt := range tests {
		a, err := parseAddress(tt.in)
		if (err != nil) != tt.bad {
			t.Errorf("%q: error %v", tt.in, err)
		}
		if err == nil && (a.dial != tt.dial || a.hostField(a.host) != tt.host || a.plaintext != tt.plaintext) {
			t.Errorf("%q: %+v, Host %q", tt.in, a, a.hostField(a.host))
		}
	}
	for _, d := range []*Dialer{
		{Address: "a:1", Upgrade: "h2c"}, {Address: "a:1", Types: []string{"x"}}, {Address: "http://a", Upgrade: Direct},
	} {
		if _, err := d.Dial(t.Context()); err == nil {
			t.Errorf("%+v was dialled", d)
		}
	}
}
