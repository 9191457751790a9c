package router

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
)

// maxH2Streams is what one client may ask at once of an endpoint that has nothing to give.
const maxH2Streams = 16

// http2 serves a client that offered h2 without http/1.1: what was confirmed must be spoken. HTTP/2 has no Upgrade (RFC 9113 section
// 8.6), so all there is to say is where the way in is. net/http speaks it, and gives a client 10 s for its preface.
// conn is a *tls.Conn, or begins with the preface where there is no TLS.
func (c *session) http2(conn net.Conn) {
	c.end(outcomeHTTP, "h2: no upgrade possible")
	listener := &oneListener{conn: conn, gone: make(chan struct{})}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler:        http.HandlerFunc(c.pointToHTTP1),
		Protocols:      protocols,
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: maxH2Streams},
		ReadTimeout:    c.timeout(),
		WriteTimeout:   c.timeout(),
		IdleTimeout:    keepAlive,
		MaxHeaderBytes: c.policy.config.Limits.HeaderBytes,
		ErrorLog:       slog.NewLogLogger(c.server.log.Handler(), slog.LevelDebug),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				listener.leave()
			}
		},
	}
	told := make(chan struct{})
	stop := context.AfterFunc(c.server.drainCtx, func() {
		defer close(told)
		_ = server.Shutdown(c.server.cutCtx) // a GOAWAY; an error means that cutCtx has ended and the connection with it
	})
	_ = server.Serve(listener)        // says only that the listener is at its end
	listener.first.Do(listener.leave) // draining was faster: the connection was not taken
	<-listener.gone
	if !stop() {
		<-told
	}
}

func (c *session) pointToHTTP1(w http.ResponseWriter, r *http.Request) {
	status, text := http.StatusNotFound, "nothing here but the upgrade path\n"
	if r.URL.Path == c.policy.config.Upgrade.Path {
		// RFC 9110 section 15.6.6: the answer says why, and what would do. 426 names it in Upgrade, which HTTP/2 forbids.
		status, text = http.StatusHTTPVersionNotSupported, "the upgrade needs HTTP/1.1: offer http/1.1 in ALPN\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // a client that has left
}

// oneListener hands out one connection and then waits for its end.
type oneListener struct {
	conn  net.Conn
	gone  chan struct{} // closed when the connection is over
	first sync.Once
	last  sync.Once
}

func (l *oneListener) Accept() (conn net.Conn, err error) {
	l.first.Do(func() { conn = l.conn })
	if conn != nil {
		return conn, nil
	}
	<-l.gone
	return nil, net.ErrClosed
}

func (l *oneListener) leave() { l.last.Do(func() { close(l.gone) }) }

// Close does nothing: a draining server closes its listeners first, and the connection is still to be told.
func (l *oneListener) Close() error { return nil }

func (l *oneListener) Addr() net.Addr { return l.conn.LocalAddr() }
