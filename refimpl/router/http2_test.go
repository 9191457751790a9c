package router

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// h2Client is a client that offers h2 and nothing else.
func (b *bench) h2Client(t *testing.T, name string) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	config := b.clientConfig(name, "h2")
	transport := &http.Transport{
		Protocols: protocols, TLSClientConfig: config,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			conn := tls.Client(b.tcp(t), config)
			return conn, conn.Handshake()
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func TestEndpointSpeaksTheH2ItConfirms(t *testing.T) {
	b := startRouter(t, Config{})
	for _, name := range []string{ownName, ""} {
		client := b.h2Client(t, name)
		for path, want := range map[string]int{"/": http.StatusNotFound, DefaultUpgradePath: http.StatusHTTPVersionNotSupported} {
			resp, err := client.Get("https://" + ownName + path)
			if err != nil {
				t.Fatalf("%q %s: %v", name, path, err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != want || resp.Proto != "HTTP/2.0" || len(body) == 0 {
				t.Errorf("%q %s: %s %s %q, %v; want %d over h2 and a word about it", name, path, resp.Proto, resp.Status, body, err, want)
			}
		}
		client.CloseIdleConnections()
		b.log.wait(t, "alpn=h2", "outcome=http")
	}
}

func TestEndpointPrefersHTTP1OverH2(t *testing.T) {
	b := startRouter(t, Config{})
	conn := secure(t, b.tcp(t), b.clientConfig(ownName, "h2", "http/1.1"))
	if got := conn.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Fatalf("ALPN %q confirmed", got)
	}
	b.upgrade(t, conn, "websocket") // which h2 could not carry
}

func TestDrainEndsAnIdleH2Connection(t *testing.T) {
	b := startRouter(t, Config{})
	resp, err := b.h2Client(t, ownName).Get("https://" + ownName + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	began := time.Now()
	if err := b.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("took %v", took)
	}
}

func TestDrainEndsAnH2ConnectionThatBeginsMeanwhile(t *testing.T) {
	b := startRouter(t, Config{})
	raw := b.tcp(t)
	_, _ = raw.Write([]byte{22})
	secure(t, b.tcp(t), b.clientConfig(ownName)).Close()
	<-b.hellos // it came later and is served: the first one was accepted
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- b.Shutdown(context.Background()) }()
	<-b.drainCtx.Done()
	conn := secure(t, &skipFirst{Conn: raw}, b.clientConfig(ownName, "h2"))
	conn.Close()
	if err := <-done; err != nil || time.Since(began) > patience/2 {
		t.Errorf("drained with %v after %v", err, time.Since(began))
	}
}

// skipFirst leaves out the first byte that is written: it has been sent before.
type skipFirst struct {
	net.Conn
	done bool
}

func (s *skipFirst) Write(p []byte) (int, error) {
	if s.done {
		return s.Conn.Write(p)
	}
	s.done = true
	n, err := s.Conn.Write(p[1:])
	return n + 1, err
}
