package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
)

// Conn is a connection to the service: the inner TLS session, over whatever it took to get there. CloseWrite sends the inner
// close_notify, which crosses every load balancer as data. Deadlines are those of crypto/tls: a Read goes on
// behind one that has passed, a Write does not.
//
// The end of the stream without a close_notify is an io.ErrUnexpectedEOF to errors.Is, also between two records, where crypto/tls by
// itself says io.EOF: whatever cut the stream off, it was not the service that ended it.
type Conn struct {
	*tls.Conn
	info Info
}

// closeGrace is what Close may spend on a peer that does not read: crypto/tls's own time for one close_notify.
const closeGrace = 5 * time.Second

// Close closes every layer, with the goodbye of each.
func (c *Conn) Close() error {
	closed := make(chan struct{})
	grace := time.AfterFunc(closeGrace, func() {
		defer close(closed)
		bottom(c).Close() // or every TLS session on the way down would wait for as long
	})
	err := c.Conn.Close()
	if !grace.Stop() {
		<-closed
	}
	return err
}

// bottom is the connection under every layer.
func bottom(conn net.Conn) net.Conn {
	for {
		switch c := conn.(type) {
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		case interface{ Unwrap() net.Conn }:
			conn = c.Unwrap()
		default:
			return conn
		}
	}
}

// Info is what the dial found out.
type Info struct {
	Class      probe.Class `json:"class"`
	Reason     string      `json:"reason"`
	Upgrade    string      `json:"upgrade"`    // the type in use, "" on a direct path
	Negotiated string      `json:"negotiated"` // ALPN of the inner session; as long as there is none, of the probe
	Steps      []Step      `json:"steps"`
}

// Step is one thing that was tried: "direct" is the probe, "tls" a connection for the upgrades behind it, otherwise an upgrade type.
type Step struct {
	Try    string        `json:"try"`
	Status int           `json:"status,omitempty"` // of the HTTP answer, 0 for none
	Err    error         `json:"-"`                // nil for the step that led to the connection
	Took   time.Duration `json:"took"`
}

func (s Step) String() string {
	switch {
	case s.Err != nil:
		return fmt.Sprintf("%s: %v", s.Try, s.Err)
	case s.Status != 0:
		return fmt.Sprintf("%s: status %d", s.Try, s.Status)
	}
	return s.Try + ": ok"
}

// Info tells how the connection came about.
func (c *Conn) Info() Info { return c.info }

// Unwrap returns the connection below the inner TLS session. It must not be read or written.
func (c *Conn) Unwrap() net.Conn { return c.NetConn() }

// DialError is a dial that failed, with every step it took.
type DialError struct {
	Address string
	Info    Info
	Err     error // the last step's, or what stopped the dial
}

func (e *DialError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dial %s: %v", e.Address, e.Err)
	if e.Info.Class != "" {
		fmt.Fprintf(&b, "; path %s: %s", e.Info.Class, e.Info.Reason)
	}
	if len(e.Info.Steps) > 0 {
		b.WriteString("; tried ")
		for i, s := range e.Info.Steps {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(s.String())
		}
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *DialError) Unwrap() error { return e.Err }

// Timeout reports a dial that ran out of time.
func (e *DialError) Timeout() bool {
	var t net.Error
	return errors.As(e.Err, &t) && t.Timeout()
}

// timeoutError is one of our own timers, a cause of a context.
type timeoutError struct {
	step  string
	after time.Duration
}

func (e *timeoutError) Error() string   { return fmt.Sprintf("%s took longer than %v", e.step, e.after) }
func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return true }
