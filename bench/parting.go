package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// parting is a connection that is closed as a careful client does it: when the session has said its goodbye and calls Close, the
// sending side is ended (close_notify, where there is TLS) and the peer's end is waited for. That is the close phase: from the call
// of the session's Close until the peer has ended its side too. A peer that does not within closeTimeout, or resets, has none, and
// is closed as ever.
//
// It is only for tunnels whose connection can end one side. Its own reads beside a session's are harmless: whoever meets the
// end first, the other does too.
type parting struct {
	net.Conn
	half   interface{ CloseWrite() error }
	once   sync.Once
	ended  time.Time   // when the peer's end came; written once, in Close
	polite atomic.Bool // set before the session is closed; a session may close by itself, on another goroutine
}

// newParting is conn itself where that cannot end one side alone.
func newParting(conn net.Conn) net.Conn {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return &parting{Conn: conn, half: half}
	}
	return conn
}

// CloseWrite ends the sending side.
func (p *parting) CloseWrite() error { return p.half.CloseWrite() }

func (p *parting) Close() error {
	p.once.Do(func() {
		if p.polite.Load() && p.half.CloseWrite() == nil {
			if _, err := io.Copy(io.Discard, io.LimitReader(p.Conn, 1<<20)); err == nil || errors.Is(err, io.EOF) {
				p.ended = time.Now()
			}
		}
	})
	return p.Conn.Close()
}

// partingDial makes the connections of an arm such.
func partingDial(dial Dial) Dial {
	return func(ctx context.Context, observe func(string, time.Duration)) (net.Conn, error) {
		conn, err := dial(ctx, observe)
		if err != nil {
			return nil, err
		}
		return newParting(conn), nil
	}
}

// part closes a tunnel and says how long the peer took to end it, false where that was not seen. ctx bounds the wait too.
func (t *tunnel) part(ctx context.Context) (time.Duration, bool) {
	p, ok := t.conn.(*parting)
	if !ok {
		t.close()
		return 0, false
	}
	p.polite.Store(true)
	stop := unblock(ctx, t.conn)
	defer stop()
	began := time.Now()
	t.close()
	return p.ended.Sub(began), !p.ended.IsZero()
}
