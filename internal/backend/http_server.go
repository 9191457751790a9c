package backend

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
)

// webServer is what the backends that speak HTTP share. net/http lets go of upgraded connections; this server ends those too, by their
// request's context, and its close waits for every handler and connection.
type webServer struct {
	handler http.Handler

	mu     sync.Mutex // guards closed
	closed bool
	wg     sync.WaitGroup // handlers at work, and connections: net/http lingers half a second over one that it refused a body of
}

// serveHTTP listens, with TLS unless config is nil, and adds its end to r.
func serveHTTP(spec Spec, r *Running, handler http.Handler, config *tls.Config) error {
	ln, err := net.Listen("tcp", cmp.Or(spec.Listen, "127.0.0.1:0"))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	r.Address = ln.Addr().String()
	if spec.WrapListener != nil {
		ln = spec.WrapListener(ln)
	}
	s := &webServer{handler: handler}
	life, end := context.WithCancel(context.Background())
	server := &http.Server{
		Handler: s, TLSConfig: config, Protocols: new(http.Protocols),
		BaseContext: func(net.Listener) context.Context { return life }, ConnState: s.count,
		ReadHeaderTimeout: loginTimeout, IdleTimeout: idleTimeout, ReadTimeout: idleTimeout, WriteTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(spec.Logger.Handler(), slog.LevelDebug),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(config != nil)
	server.Protocols.SetUnencryptedHTTP2(config == nil) // with prior knowledge
	served := make(chan error, 1)
	go func() {
		if config != nil {
			served <- server.ServeTLS(ln, "", "")
		} else {
			served <- server.Serve(ln)
		}
	}()
	r.OnClose(func(context.Context) error {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		end()
		err := server.Close()
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		s.wg.Wait()
		return err
	})
	return nil
}

func (s *webServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	s.handler.ServeHTTP(w, r)
}

func (s *webServer) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew: // before Serve returns
		s.wg.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.wg.Done()
	case http.StateActive, http.StateIdle:
	}
}
