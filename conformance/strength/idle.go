package strength

import (
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// idleTime is the idle timeout that the faults of this file give the path: four pings of a router as the lab sets it up.
const idleTime = 2 * time.Second

// idle cuts a connection in which nothing passed for idleTime, as a load balancer does. What passes counts when it is passed on, in the
// directions that count.
type idle struct {
	exchange
	up, down bool
}

func (i idle) handler() Handler { return i.carry }

func (i idle) carry(c net.Conn, dial func() net.Conn) {
	b := dial()
	if b == nil {
		_ = netx.Reset(c)
		return
	}
	timer := time.AfterFunc(idleTime, func() { cut(c); cut(b) })
	defer timer.Stop()
	touch := func(counts bool) func() {
		return func() {
			if counts {
				timer.Reset(idleTime)
			}
		}
	}
	i.exchange.carry(touched{c, touch(i.down)}, func() net.Conn { return touched{b, touch(i.up)} })
}

// touched calls touch for everything that is written.
type touched struct {
	net.Conn
	touch func()
}

func (t touched) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	if n > 0 {
		t.touch()
	}
	return n, err
}

func (t touched) CloseWrite() error { return netx.CloseWrite(t.Conn) }
func (t touched) Unwrap() net.Conn  { return t.Conn }

var idleFaults = []Fault{
	{
		Name: "pings-swallowed", About: "swallows the target's pings, and cuts what is silent for 2 s",
		Layer: HTTP, Idle: idleTime, New: idle{exchange{down: noPings}, true, true}.handler,
		Checks: []string{"KAL-01"},
	},
	{
		Name: "idle-up-only", About: "cuts what sends nothing up for 2 s",
		Layer: HTTP, Idle: idleTime, New: idle{up: true}.handler,
		Checks: []string{"KAL-06"},
	},
	{
		Name: "idle-down-only", About: "cuts what sends nothing down for 2 s",
		Layer: HTTP, Idle: idleTime, New: idle{down: true}.handler,
		Checks: []string{"KAL-06"},
	},
}
