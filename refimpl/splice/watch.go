package splice

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// Watched is a connection that remembers whether a Read met its end. See WatchEOF.
type Watched struct {
	net.Conn
	saw  atomic.Bool
	late error // came along with bytes; only Read uses it
}

// WatchEOF wraps the connection that goes under a tls.Conn:
//
//	raw := splice.WatchEOF(conn)
//	c := tls.Server(raw, config)
//
// tls.Conn.Read returns io.EOF for a close_notify and also for a bare FIN between two records ("popular web sites seem to do
// this", crypto/tls/conn.go, readRecordOrCCS). After a close_notify it never reads again, so a bare end is one that the connection
// below has seen. Join asks for that by itself; others compare an io.EOF of the tls.Conn with SawEOF.
func WatchEOF(conn net.Conn) *Watched { return &Watched{Conn: conn} }

// Read hands an end that comes along with the last bytes on by itself, in the next call: those bytes may hold the close_notify,
// and only a reader who still wants more after them has met the end.
func (w *Watched) Read(p []byte) (int, error) {
	if err := w.late; err != nil {
		w.note(err)
		return 0, err
	}
	n, err := w.Conn.Read(p)
	if n > 0 && err != nil && errors.Is(err, io.EOF) {
		w.late = err
		return n, nil
	}
	if err != nil {
		w.note(err)
	}
	return n, err
}

func (w *Watched) note(err error) {
	if errors.Is(err, io.EOF) {
		w.saw.Store(true)
	}
}

// SawEOF tells whether a Read returned io.EOF.
func (w *Watched) SawEOF() bool { return w.saw.Load() }

// Unwrap returns the connection below.
func (w *Watched) Unwrap() net.Conn { return w.Conn }

// CloseWrite ends the sending side of the connection below.
func (w *Watched) CloseWrite() error { return CloseWrite(w.Conn) }
