package client

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// single is a listener with one connection.
type single struct {
	net.Conn
	conns chan net.Conn
}

func (l *single) Accept() (net.Conn, error) {
	if conn, ok := <-l.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l *single) Addr() net.Addr { return l.LocalAddr() }

// serveOne is a web server for one session, h2 where that was negotiated.
func serveOne(s *tls.Conn, handler http.Handler) {
	l := &single{s, make(chan net.Conn, 1)}
	l.conns <- s
	server := &http.Server{Handler: handler, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(l.conns)
		}
	}}
	_ = server.Serve(l)
}

// TestTransportSpeaksWhatWasNegotiated also shows that the response knows its TLS state, which net/http takes from a *tls.Conn alone.
func TestTransportSpeaksWhatWasNegotiated(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello "+r.Host) })
	for alpn, proto := range map[string]string{"h2": "HTTP/2.0", "http/1.1": "HTTP/1.1"} {
		for _, mode := range []string{Direct, "websocket", "alpn", "alpn-ping"} {
			t.Run(alpn+"/"+mode, func(t *testing.T) {
				serve := func(s *tls.Conn, _ net.Conn) { serveOne(s, answer) }
				config := func(p *path) *tls.Config {
					return &tls.Config{Certificates: []tls.Certificate{p.inner.leaf(innerName)}, NextProtos: []string{"h2", "http/1.1"}}
				}
				p := listen(t, func(p *path, conn net.Conn, n int) {
					if mode == Direct {
						if s, err := p.tls("router", conn, config(p)); err == nil {
							serve(s, conn)
						}
						return
					}
					front{inside: config, end: serve}.handle(p, conn, n)
				})
				d := p.dialer()
				d.ALPN, d.Upgrade = []string{alpn}, mode
				transport := &http.Transport{DialTLSContext: d.DialTLSContext, ForceAttemptHTTP2: true}
				defer transport.CloseIdleConnections()
				resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://app.example.test/")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if resp.Proto != proto || string(body) != "hello app.example.test" || err != nil {
					t.Errorf("%s, %q, %v", resp.Proto, body, err)
				}
				if resp.TLS == nil || resp.TLS.NegotiatedProtocol != alpn {
					t.Errorf("TLS state %+v", resp.TLS)
				}
			})
		}
	}
}

// A body that lasts until the end of the connection is whole only with a close_notify behind it.
func TestTransportMeetsATruncationAsAnError(t *testing.T) {
	p := listen(t, func(p *path, conn net.Conn, _ int) {
		if s, err := p.tls("router", conn, p.routerConfig()); err == nil {
			_, _ = s.Read(make([]byte, 8192))
			_, _ = io.WriteString(s, "HTTP/1.1 200 x\r\nConnection: close\r\n\r\nhalf of ")
		}
	})
	d := p.dialer()
	transport := &http.Transport{DialTLSContext: d.DialTLSContext}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://app.example.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "half of " || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v, want an unexpected end", body, err)
	}
}
