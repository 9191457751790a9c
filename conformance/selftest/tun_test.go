package selftest

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// closesBoth takes the end of one direction for the end of the connection.
func closesBoth(dst, src net.Conn) {
	_, _ = io.Copy(dst, src)
	_ = dst.Close()
	_ = src.Close()
}

// keepsEnd passes the bytes on, and their end never: it waits until the proxy closes dst.
func keepsEnd(dst, src net.Conn) {
	_, _ = io.Copy(dst, src)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for dst.SetWriteDeadline(time.Time{}) == nil {
		<-tick.C
	}
}

// resetsAtEnd closes on the end, with what is still queued thrown away.
func resetsAtEnd(dst, src net.Conn) {
	_, _ = io.Copy(dst, src)
	_ = netx.Reset(dst)
}

// buffersAll reads on whether or not anybody takes the bytes.
func buffersAll(dst, src net.Conn) {
	var mu sync.Mutex // guards queue and over
	more := sync.NewCond(&mu)
	var queue [][]byte
	over := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			mu.Lock()
			for len(queue) == 0 && !over {
				more.Wait()
			}
			if len(queue) == 0 {
				mu.Unlock()
				return
			}
			piece := queue[0]
			queue = queue[1:]
			mu.Unlock()
			if _, err := dst.Write(piece); err != nil {
				_ = src.Close()
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		mu.Lock()
		queue = append(queue, slices.Clone(buf[:n]))
		over = err != nil
		more.Signal()
		mu.Unlock()
		if err != nil {
			break
		}
	}
	<-done
}

// deadIs leads the route of the dead backend somewhere.
func deadIs(where func(t *testing.T, l *lab) string) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		l := newLab(t)
		address := where(t, l)
		return l.start(t, func(c *router.Config) { routeNamed(c, "dead").Backend.Address = address })
	}
}

// directOnly leaves the first path only, for mutants that are waited for.
func directOnly(start func(t *testing.T) conformance.Target) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := start(t)
		target.Paths = target.Paths[:1]
		return target
	}
}

func init() {
	addMutant("TUN-01", "loses a byte on the way to the backend", spoiledBehind("a", "byte-dropped-up"))
	addMutant("TUN-01", "doubles a byte on the way to the client", spoiledBehind("a", "byte-doubled-down"))
	addMutant("TUN-01", "flips a bit on the way to the backend", spoiledBehind("a", "bit-flipped-up"))
	addMutant("TUN-01", "swaps pieces on the way to the client", spoiledBehind("a", "pieces-swapped-down"))
	addMutant("TUN-01", "flips a bit of a passed-through session", spoiledBehind("pass", "bit-flipped-up"))
	addMutant("TUN-02", "forgets the buffer of the HTTP parser", spoiled(front{dropBehind: true}))
	addMutant("TUN-04", "closes both directions with the first", behind("a", closesBoth, nil))
	addMutant("TUN-04", "keeps the end to itself", directOnly(behind("a", keepsEnd, nil)))
	addMutant("TUN-04", "closes both directions of a passed-through session", behind("pass", closesBoth, nil))
	addMutant("TUN-05", "closes both directions with the first", behind("a", nil, closesBoth))
	addMutant("TUN-06", "shows every end as a regular one", behind("a", nil, nil))
	addMutant("TUN-06", "joins with io.Copy", naiveWith(bugs{}))
	addMutant("TUN-07", "takes the end of TCP for the end of TLS", naiveWith(bugs{}))
	addMutant("TUN-07", "shows every end as a regular one", behind("a", nil, nil))
	addMutant("TUN-08", "loses what it holds at the end, to the client", spoiledBehind("a", "tail-lost-down"))
	addMutant("TUN-08", "loses what it holds at the end, to the backend", spoiledBehind("a", "tail-lost-up"))
	addMutant("TUN-08", "throws away the queue at the end", behind("a", resetsAtEnd, nil))
	addMutant("TUN-09", "keeps all that comes for the client", behind("a", nil, buffersAll))
	addMutant("TUN-09", "keeps all that comes for the backend", behind("a", buffersAll, nil))
	addMutant("TUN-13", "waits for a backend that says nothing", directOnly(deadIs(func(t *testing.T, _ *lab) string {
		ln := must(net.Listen("tcp", "127.0.0.1:0"))(t) // its queue accepts, nobody answers
		t.Cleanup(func() { _ = ln.Close() })
		return ln.Addr().String()
	})))
	addMutant("TUN-13", "falls back to another backend", deadIs(func(_ *testing.T, l *lab) string { return l.witnesses[l.fixture.WitnessA].Address }))
}
