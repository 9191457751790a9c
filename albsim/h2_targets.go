package albsim

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
)

// h2Targets is net/http's transport to the h2 targets of one listener, with what has to be closed at the end. The connections
// are the server's own, TLS included, so that net/http takes all of them for h2 by prior knowledge.
type h2Targets struct {
	http.Transport
	life context.Context //nolint:containedctx // of the dials, which net/http lets outlive the request that began them
	end  context.CancelFunc
	wg   sync.WaitGroup // of dials and of connections that are not closed

	mu    sync.Mutex // guards conns, and wg against an Add behind the Wait
	conns map[*h2TargetConn]struct{}
}

type h2TargetConn struct {
	*meteredConn
	once   sync.Once
	closed func()
}

func (c *h2TargetConn) Close() error {
	err := c.meteredConn.Close()
	c.once.Do(c.closed)
	return err
}

// sniKey is the name for a ClientHello, in the context of a request. A connection is shared whatever name it was opened with.
type sniKey struct{}

func (s *Server) newH2Targets(front policy) *h2Targets {
	h := &h2Targets{conns: map[*h2TargetConn]struct{}{}}
	h.life, h.end = context.WithCancel(context.Background())
	dial := func(secure bool) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, _, address string) (net.Conn, error) {
			return h.open(ctx, func(ctx context.Context) (*meteredConn, error) {
				sni, _ := ctx.Value(sniKey{}).(string)
				return s.reach(ctx, address, sni, secure, front, []string{http2ALPN})
			})
		}
	}
	h.Transport = http.Transport{
		DialContext: dial(false), DialTLSContext: dial(true), Protocols: new(http.Protocols), DisableCompression: true,
		IdleConnTimeout: s.scaled(s.plan.set.idle), MaxResponseHeaderBytes: int64(s.plan.profile.MaxResponseHeaders),
	}
	h.Protocols.SetUnencryptedHTTP2(true)
	return h
}

const http2ALPN = "h2"

func (h *h2Targets) open(ctx context.Context, reach func(context.Context) (*meteredConn, error)) (net.Conn, error) {
	h.mu.Lock()
	if h.life.Err() != nil {
		h.mu.Unlock()
		return nil, net.ErrClosed
	}
	h.wg.Add(1)
	h.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.life, cancel)()
	c, err := reach(ctx)
	if err != nil {
		h.wg.Done()
		return nil, err
	}
	out := &h2TargetConn{meteredConn: c}
	out.closed = func() {
		h.mu.Lock()
		delete(h.conns, out)
		h.mu.Unlock()
		h.wg.Done()
	}
	if t, ok := below[*tls.Conn](c); ok && t.ConnectionState().NegotiatedProtocol != http2ALPN {
		_ = out.Close()
		return nil, &dialError{502, errors.New("the target did not agree on h2")}
	}
	h.mu.Lock()
	h.conns[out] = struct{}{}
	over := h.life.Err() != nil
	h.mu.Unlock()
	if over {
		_ = out.Close()
		return nil, net.ErrClosed
	}
	return out, nil
}

// close ends every connection; nothing may be under way.
func (h *h2Targets) close() {
	h.mu.Lock()
	h.end()
	conns := make([]*h2TargetConn, 0, len(h.conns))
	for c := range h.conns {
		conns = append(conns, c)
	}
	h.mu.Unlock()
	h.CloseIdleConnections()
	for _, c := range conns {
		_ = c.Close()
	}
	h.wg.Wait()
}
