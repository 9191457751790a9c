package upgrade

import (
	"net"
	"os"
	"sync"
	"time"
)

// writeDeadline is the deadline of a tunnel's owner for its own frames. It lies on the connection below only while one of them is
// being written. crypto/tls leaves a deadline in the past behind its close_notify (Conn.closeNotify), and a ping that met it would
// end the writing half of the TLS session below for good: but the keep-alive has to go on after a half-close.
type writeDeadline struct {
	mu      sync.Mutex // guards what follows, and the connection's write deadline
	at      time.Time
	writing bool
	closing bool // the deadline on the connection is the last one
}

func (d *writeDeadline) set(conn net.Conn, at time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
	if !d.writing || d.closing {
		return nil
	}
	return conn.SetWriteDeadline(at)
}

// begin comes before the owner's frames. One whose deadline has passed does not touch the connection.
func (d *writeDeadline) begin(conn net.Conn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.at.IsZero() && !d.closing {
		if !time.Now().Before(d.at) {
			return os.ErrDeadlineExceeded
		}
		if err := conn.SetWriteDeadline(d.at); err != nil {
			return err
		}
	}
	d.writing = true
	return nil
}

// end comes behind them.
func (d *writeDeadline) end(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writing = false
	if !d.at.IsZero() && !d.closing {
		conn.SetWriteDeadline(time.Time{})
	}
}

// last puts a deadline on the connection that stays.
func (d *writeDeadline) last(conn net.Conn, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closing = true
	conn.SetWriteDeadline(at)
}
