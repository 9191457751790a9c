package selftest

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// pingsEvery changes how often the router pings, by a factor in percent.
func pingsEvery(percent int) func(t *testing.T) conformance.Target {
	return mutatedConfig(func(_ *lab, c *router.Config) {
		c.Upgrade.PingInterval = c.Upgrade.PingInterval * router.Duration(percent) / 100
	})
}

// economical leaves out a ping when there was data since the one before.
func economical(t *testing.T, address string) string {
	return faultProxy(t, address, nil, func(dst, src net.Conn) {
		head, behind, ok := header(src)
		if _, err := io.WriteString(dst, head); err != nil || !ok {
			return
		}
		src = wire.WithPrefix(src, behind)
		if !strings.EqualFold(field(head, "Upgrade"), wire.WebSocket) {
			_, _ = io.Copy(dst, src)
			return
		}
		for busy := false; ; {
			frame, err := serverFrame(src)
			if err != nil {
				return
			}
			const binary, ping = 2, 9
			skip := frame[0]&0xf == ping && busy
			busy = frame[0]&0xf == binary
			if skip {
				continue
			}
			if _, err := dst.Write(frame); err != nil {
				return
			}
		}
	})
}

// serverFrame reads a frame without a mask (RFC 6455 section 5.2), as it is.
func serverFrame(src io.Reader) ([]byte, error) {
	head := make([]byte, 2, 10)
	if _, err := io.ReadFull(src, head); err != nil {
		return nil, err
	}
	size := uint64(head[1])
	if more := map[byte]int{126: 2, 127: 8}[head[1]]; more > 0 {
		head = head[:2+more]
		if _, err := io.ReadFull(src, head[2:]); err != nil {
			return nil, err
		}
		size = 0
		for _, b := range head[2:] {
			size = size<<8 | uint64(b)
		}
	}
	frame := append(head, make([]byte, size)...)
	_, err := io.ReadFull(src, frame[len(head):])
	return frame, err
}

// pingsCount is the simulator behind a hop that speaks HTTP/2 itself, as far as PINGs go, and starts its timer again with each.
func pingsCount(t *testing.T) conformance.Target {
	target := balancerTarget(t, nil)
	ca := must(certs.NewCA("pings count"))(t)
	cert := must(ca.Issue(certs.Leaf{CommonName: albName, DNS: []string{albName}}))(t)
	path := &target.Paths[0]
	path.IdleTimeout = time.Second
	path.Upgrade.Roots = path.Upgrade.Roots.Clone()
	path.Upgrade.Roots.AppendCertsFromPEM(ca.PEM())
	path.Address = serve(t, path.Address, func(c net.Conn, dial func() net.Conn) {
		head := make([]byte, 4096)
		n, err := c.Read(head)
		if err != nil {
			return
		}
		c = wire.WithPrefix(c, head[:n])
		if hello, _, err := wire.ParseHello(head[:n]); err != nil || !slices.Contains(hello.ALPN, "h2") {
			if b := dial(); b != nil {
				defer b.Close()
				both(c, b)
			}
			return
		}
		front := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
		if _, err := io.ReadFull(front, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		framer := http2.NewFramer(front, front)
		for framer.WriteSettings() == nil {
			_ = front.SetReadDeadline(time.Now().Add(time.Second))
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			if ping, ok := frame.(*http2.PingFrame); ok {
				_ = framer.WritePing(true, ping.Data)
			}
		}
	})
	return target
}

func init() {
	addMutant("KAL-03", "leaves out pings behind traffic", func(t *testing.T) conformance.Target {
		target := reference(t)
		target.Launcher = launchedBehind{target.Launcher, t, economical, &strings.Builder{}, &sync.Mutex{}}
		return plainUpgrade(target)
	})
	addMutant("KAL-04", "counts PINGs", pingsCount)
	addMutant("KAL-03", "pings at twice the interval", pingsEvery(220)) // each interval is drawn from 0.8 to 1.0 of what is configured
	patient := simulated(func(c *albsim.Config) { c.Attributes["idle_timeout.timeout_seconds"] = 60 })
	addMutant("KAL-04", "never closes", declared(patient, time.Second))
	addMutant("KAL-04", "closes at once", declared(balancerWith(balancerBugs{idle: time.Second}), time.Second))
	addMutant("KAL-05", "waits for ever", mutatedConfig(func(_ *lab, c *router.Config) { c.Upgrade.PongTimeout = router.Duration(time.Minute) }))
}
