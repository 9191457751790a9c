// Package reportserver shows reports to a browser: a folder of stored runs, or one run while it goes on. It only reads. Without
// JavaScript, without state, and for this machine unless it is told to listen elsewhere.
package reportserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// The bounds of a connection. Writing may take a while: a report of 3 MiB over a slow line.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = time.Minute
	idleTimeout  = 2 * time.Minute
	headerBytes  = 16 << 10
	closeTimeout = 5 * time.Second
)

// Server answers on one listener until it is closed.
type Server struct {
	http  *http.Server
	addr  net.Addr
	ended chan struct{} // closed when Serve has returned
	err   error         // of Serve, to be read after ended
}

// Start answers with h on l, which belongs to the server from now on. Names are what may stand in a Host field besides addresses and
// localhost.
func Start(l net.Listener, h http.Handler, names ...string) *Server {
	s := &Server{addr: l.Addr(), ended: make(chan struct{})}
	s.http = &http.Server{
		Handler: guard(h, names), ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: headerBytes,
	}
	go func() {
		defer close(s.ended)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.err = err
		}
	}()
	return s
}

// URL is where the server answers.
func (s *Server) URL() string { return "http://" + s.addr.String() + "/" }

// Ended is closed when the server has ended, by Close or by itself.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Close lets requests under way end, for a bounded time, and returns what ended the server when it was not Close.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // the requests that hang are cut off
	}
	<-s.ended
	if s.err != nil {
		return fmt.Errorf("report server: %w", s.err)
	}
	return nil
}

// policy lets a page have its own style, and a form that leads to this server; nothing else, scripts included.
const policy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// guard lets only reading requests through that a person's browser made for this server.
func guard(next http.Handler, names []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "this server only shows reports: GET", http.StatusMethodNotAllowed)
		case !knownHost(r.Host, names):
			http.Error(w, "this server does not answer to that name", http.StatusMisdirectedRequest)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// knownHost refuses names of others: a page of theirs could give its own name our address and then read reports (DNS rebinding).
func knownHost(host string, names []string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	for _, n := range append([]string{"localhost"}, names...) {
		if strings.EqualFold(name, n) {
			return true
		}
	}
	return false
}
