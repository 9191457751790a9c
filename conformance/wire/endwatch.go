package wire

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// EndWatch stands below a TLS session and remembers that the stream itself has ended. crypto/tls answers io.EOF both to a
// close_notify and to a FIN at a record boundary, but it reads on below only while no close_notify has come: so an end below
// that was met means that there was none.
type EndWatch struct {
	net.Conn
	ended atomic.Bool
}

// NewEndWatch wraps the connection below a tls.Conn.
func NewEndWatch(c net.Conn) *EndWatch { return &EndWatch{Conn: c} }

func (w *EndWatch) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		w.ended.Store(true)
	}
	return n, err
}

// Ended says whether a Read has met the end of the stream.
func (w *EndWatch) Ended() bool { return w.ended.Load() }

// SetWriteDeadline passes a deadline on, but takes off one that has passed. crypto/tls leaves such a one behind its close_notify, and
// a pong of a tunnel below that met it would end the writing half of the hop's TLS session.
func (w *EndWatch) SetWriteDeadline(at time.Time) error {
	if !at.After(time.Now()) {
		at = time.Time{}
	}
	return w.Conn.SetWriteDeadline(at)
}

// CloseWrite passes through.
func (w *EndWatch) CloseWrite() error { return CloseWrite(w.Conn) }

// Unwrap returns the connection below.
func (w *EndWatch) Unwrap() net.Conn { return w.Conn }
