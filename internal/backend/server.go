package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// maxConns bounds the connections that one embedded server holds; more are closed at once.
	maxConns = 16384
	// loginTimeout bounds everything before a client has said who it is, from the accept on.
	loginTimeout = 60 * time.Second
	// idleTimeout ends a connection that was silent for so long; it is there to bound, not to be met.
	idleTimeout = time.Hour
)

// server is the part that all embedded backends share: one listener, a goroutine a connection, an end that waits for all.
type server struct {
	log    *slog.Logger
	ln     net.Listener
	handle func(net.Conn) // returns when the connection is over; the server closes it
	// quit is closed when the server ends, for handlers that wait for something else than their connection.
	quit chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	conns  map[net.Conn]struct{}
	closed bool
}

// serve listens, hands each connection to handle, and adds its end to r.
func serve(spec Spec, r *Running, s *server) error {
	ln, err := net.Listen("tcp", cmp.Or(spec.Listen, "127.0.0.1:0"))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	r.Address = ln.Addr().String()
	if spec.WrapListener != nil {
		ln = spec.WrapListener(ln)
	}
	s.log, s.ln = spec.Logger, ln
	s.quit, s.conns = make(chan struct{}), make(map[net.Conn]struct{})
	s.wg.Add(1)
	go s.accept()
	r.OnClose(s.close)
	return nil
}

func (s *server) accept() {
	defer s.wg.Done()
	for {
		c, err := s.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors, most likely: give way instead of spinning, as net/http does.
			s.log.Warn("accept failed", "err", err)
			select {
			case <-s.quit:
				return
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		if !s.add(c) {
			c.Close()
			continue
		}
		go func() {
			defer s.wg.Done()
			defer s.remove(c)
			s.handle(c)
		}()
	}
}

func (s *server) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= maxConns {
		return false
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	return true
}

func (s *server) remove(c net.Conn) {
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// close ends the listener and all connections and waits for the handlers, which need no longer than a failing read.
func (s *server) close(context.Context) error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	if first {
		close(s.quit)
	}
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	err := s.ln.Close()
	s.wg.Wait()
	return err
}

// idleConn renews a read deadline for each read, so that a silent connection ends by itself.
type idleConn struct {
	net.Conn
	limit time.Duration
}

func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}
