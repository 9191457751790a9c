package selftest

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

func init() {
	addMutant("ALB-IDLE-03", "counts keep-alives", countsKeepAlives)
}

// countsKeepAlives is the naive balancer with a timer that any segment from the client starts again, as a network load balancer's does.
func countsKeepAlives(t *testing.T) conformance.Target {
	const idle = 2 * time.Second
	target := balancerWith(balancerBugs{})(t)
	path := &target.Paths[0]
	path.IdleTimeout = idle
	path.Address = serve(t, path.Address, func(c net.Conn, dial func() net.Conn) {
		b := dial()
		if b == nil {
			return
		}
		defer b.Close()
		tcp, ok := wire.TCP(c)
		if !ok {
			return
		}
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for seen, last := segments(tcp), time.Now(); ; {
				select {
				case <-stop:
					return
				case <-time.After(idle / 20):
				}
				if now := segments(tcp); now != seen {
					seen, last = now, time.Now()
				}
				if time.Since(last) > idle {
					_ = c.Close()
					_ = b.Close()
				}
			}
		}()
		both(c, b)
		close(stop)
		<-done
	})
	return target
}

// segments is how many have come on a connection.
func segments(c *net.TCPConn) (n uint32) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Segs_in
		}
	})
	return n
}
