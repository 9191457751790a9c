package albsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// connState is one connection in front.
type connState struct {
	l           *listener
	conn        net.Conn
	cancel      context.CancelFunc // cuts it
	established time.Time
	traceID     string
	cert        string // the ARN of the certificate that was presented, once the handshake is over
	work        cutSet // targets at work on its requests
	idle        bool   // no request under way; guarded by Server.mu
	goAway      func() // ends an h2 connection behind its last stream; nil for HTTP/1; guarded by Server.mu
}

func (s *Server) accept(ctx context.Context, l *listener, n *node) error {
	for {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		case <-s.stopped:
			return nil
		}
		conn, err := n.Accept()
		if err != nil {
			<-s.slots
			if errors.Is(err, net.ErrClosed) || ctx.Err() != nil || s.isDraining() {
				return nil //nolint:nilerr // the listener was closed because it is over
			}
			if passing(err) {
				s.log.Warn("accept failed, trying again", "err", err)
				select {
				case <-time.After(50 * time.Millisecond):
					continue
				case <-ctx.Done():
					return nil
				}
			}
			return fmt.Errorf("accept on %s: %w", n.Addr(), err)
		}
		s.wg.Go(func() {
			defer func() { <-s.slots }()
			s.serveConn(ctx, l, conn)
		})
	}
}

// passing tells whether Accept may succeed again: descriptors come back as connections end, and a client that has left
// before it was accepted is no fault of the listener's.
func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return timedOut(err)
}

func (s *Server) serveConn(ctx context.Context, l *listener, conn net.Conn) {
	raw := &rawConn{Conn: conn, wire: s.board.wire("client", "", l.plan.secure, conn)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &connState{l: l, conn: raw, cancel: cancel, established: time.Now(), traceID: newConnTrace(), idle: true}
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		c.conn.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.count.newConnections.Add(1)
	s.count.activeConnections.Add(1)
	// A cut closes below TLS: close_notify could wait for a client that reads nothing.
	release := context.AfterFunc(ctx, func() {
		c.conn.Close()
		c.work.end()
	})
	defer func() {
		release()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.count.activeConnections.Add(-1)
		c.conn.Close()
	}()
	l.plan.serve(s, ctx, c, raw)
}

// servePlain is what an HTTP listener does with a connection.
func (s *Server) servePlain(ctx context.Context, c *connState, raw *rawConn) {
	s.connectionLog(c, nil, 0, "-")
	s.serveH1(ctx, c, raw, nil)
}
