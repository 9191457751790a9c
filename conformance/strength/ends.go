package strength

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// FINForRST shows every end as a regular one.
func FINForRST(dst, src net.Conn) error {
	_, _ = io.Copy(dst, src)
	return nil
}

var errReset = errors.New("a reset in place of the end")

// dialLate opens the connection to the target when the first byte comes.
func dialLate(c net.Conn, dial func() net.Conn) {
	first := make([]byte, 4096)
	n, err := c.Read(first)
	if err != nil {
		return
	}
	b := dial()
	if b == nil {
		_ = netx.Reset(c)
		return
	}
	defer b.Close()
	if _, err := b.Write(first[:n]); err == nil {
		join(c, b, nil, nil)
	}
}

// holdTime is longer than any wait of a check on loopback.
const holdTime = 5 * time.Second

// hold waits for the time, or until the other direction has brought dst to its end.
func hold(dst net.Conn) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for over := time.Now().Add(holdTime); time.Now().Before(over) && dst.SetWriteDeadline(time.Time{}) == nil; {
		<-tick.C
	}
}

// crossing gives of two connections that are open at a time each the answers of the other: the first waits for the second only
// for its own answers.
func crossing() Handler {
	var mu sync.Mutex // guards waiting
	var waiting *crossed
	return func(c net.Conn, dial func() net.Conn) {
		b := dial()
		if b == nil {
			_ = netx.Reset(c)
			return
		}
		defer b.Close()
		mine := &crossed{client: c}
		mu.Lock()
		mine.other = waiting
		if waiting != nil {
			waiting.set(mine)
			mine.set(waiting)
			waiting = nil
		} else {
			waiting = mine
		}
		mu.Unlock()
		join(c, b, nil, mine.down)
		mu.Lock()
		if waiting == mine {
			waiting = nil
		}
		mu.Unlock()
	}
}

type crossed struct {
	client net.Conn
	mu     sync.Mutex // guards other
	other  *crossed
}

func (x *crossed) set(other *crossed) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.other = other
}

func (x *crossed) down(dst, src net.Conn) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		x.mu.Lock()
		to := dst
		if x.other != nil {
			to = x.other.client
		}
		x.mu.Unlock()
		if _, werr := to.Write(buf[:n]); werr != nil {
			return werr
		}
		if err != nil {
			return ended(err)
		}
	}
}

// A FIN for a reset is no fault here: to TLS, an end without close_notify is an abort however it comes (RFC 9846 section 6.1), and nothing
// that a check sees may tell the two apart. A reset for a FIN is none either where it comes behind close_notify, for all has been read by
// then; that it comes in place of close_notify is half-close-is-close.
var endFaults = []Fault{
	{
		Name: "dials-late", About: "connects to the target when the client's first byte comes",
		Layer: Wire, New: func() Handler { return dialLate },
		Checks: []string{"DET-13"},
	},
	{
		Name: "crossed", About: "of two connections at a time gives each the answers of the other",
		Layer: Wire, New: crossing,
		Checks: []string{"OPS-03"},
	},
}
