package selftest

import (
	"net"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// idleCutter is a hop before address that cuts what has been silent for the time. It looks at the directions it is told to.
func idleCutter(t *testing.T, address string, idle time.Duration, up, down bool) string {
	return serve(t, address, func(c net.Conn, dial func() net.Conn) {
		b := dial()
		if b == nil {
			return
		}
		defer b.Close()
		timer := time.AfterFunc(idle, func() {
			_ = c.Close()
			_ = b.Close()
		})
		defer timer.Stop()
		seen := func(count bool, c net.Conn) net.Conn {
			if !count {
				return c
			}
			return touching{c, func() { timer.Reset(idle) }}
		}
		both(seen(up, c), seen(down, b))
	})
}

// touching calls touch for everything that is read.
type touching struct {
	net.Conn
	touch func()
}

func (c touching) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.touch()
	}
	return n, err
}

func (c touching) CloseWrite() error { return netx.CloseWrite(c.Conn) }
func (c touching) Unwrap() net.Conn  { return c.Conn }

// cutAfter is far above pingInterval and above what a busy machine pauses.
const cutAfter = time.Second

// cutIdle is the reference router behind an idle cutter, on the upgraded path only.
func cutIdle(start func(t *testing.T) conformance.Target, up, down bool) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := start(t)
		path := target.Paths[1]
		path.Address, path.IdleTimeout = idleCutter(t, path.Address, cutAfter, up, down), cutAfter
		target.Paths = []conformance.Path{path}
		return target
	}
}

func reference(t *testing.T) conformance.Target { return newLab(t).start(t, nil) }

func init() {
	// The cutter leaves alone what is not silent: the mutants are told by what they do not count.
	right = append(right, conforming{
		name: "idle cutter", role: conformance.Router, only: []string{"KAL-*"}, target: cutIdle(reference, true, true),
	})
	rarely := mutatedConfig(func(_ *lab, c *router.Config) { c.Upgrade.PingInterval = router.Duration(2 * time.Second) })
	addMutant("KAL-01", "pings less often than the path allows", cutIdle(rarely, true, true))
	addMutant("KAL-02", "shows the cut to the backend as a regular end", cutIdle(behind("a", nil, nil), true, true))
	addMutant("KAL-06", "wants to see answers", cutIdle(reference, false, true))
	addMutant("KAL-06", "wants to see requests", cutIdle(reference, true, false))
}
