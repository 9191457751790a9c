package selftest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// desync is the simulator with another mode of its desync mitigation.
func desync(mode string) func(t *testing.T) conformance.Target {
	return simulated(func(c *albsim.Config) { c.Attributes["routing.http.desync_mitigation_mode"] = mode })
}

// handlesAtOnce is a hop before address that handles so many connections at a time; the others wait.
func handlesAtOnce(t *testing.T, address string, n int) string {
	places := make(chan struct{}, n)
	over := make(chan struct{})
	at := serve(t, address, func(c net.Conn, dial func() net.Conn) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		case <-over:
			return
		}
		if b := dial(); b != nil {
			defer b.Close()
			both(c, b)
		}
	})
	t.Cleanup(func() { close(over) }) // before the hop's own end, which waits
	return at
}

// hopBefore puts a hop in front of the reference router.
func hopBefore(hop func(t *testing.T, address string) string) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := newLab(t).start(t, nil)
		address := hop(t, target.Paths[0].Address)
		for i := range target.Paths {
			target.Paths[i].Address = address
		}
		return target
	}
}

// launchedBehind starts instances behind a hop, and lets it say what it likes in their log.
type launchedBehind struct {
	conformance.Launcher
	t   *testing.T
	hop func(t *testing.T, address string) string
	log *strings.Builder
	mu  *sync.Mutex
}

func (l launchedBehind) Launch(ctx context.Context, doc door.Router) (conformance.Instance, error) {
	i, err := l.Launcher.Launch(ctx, doc)
	if err != nil {
		return nil, err
	}
	return talkative{behindFront{i, l.hop(l.t, i.Address())}, l}, nil
}

type talkative struct {
	behindFront
	from launchedBehind
}

func (i talkative) Logs(ctx context.Context) (string, error) {
	text, err := i.behindFront.Logs(ctx)
	i.from.mu.Lock()
	defer i.from.mu.Unlock()
	return text + i.from.log.String(), err
}

func instancesBehindHop(hop func(t *testing.T, address string) string) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := newLab(t).start(t, nil)
		target.Launcher = launchedBehind{target.Launcher, t, hop, &strings.Builder{}, &sync.Mutex{}}
		return target
	}
}

// prints logs names in a way of its own.
func prints(as func(sni string) string) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := newLab(t).start(t, nil)
		l := launchedBehind{Launcher: target.Launcher, t: t, log: &strings.Builder{}, mu: &sync.Mutex{}}
		l.hop = func(t *testing.T, address string) string {
			return faultProxy(t, address, first(func(head []byte) []byte {
				if hello, _, err := wire.ParseHello(head); err == nil {
					l.mu.Lock()
					fmt.Fprintf(l.log, "sni=%s\n", as(hello.SNI))
					l.mu.Unlock()
				}
				return head
			}), nil)
		}
		target.Launcher = l
		return target
	}
}

// dialsNames is a hop that takes the SNI for an address; where it has no port, for one at the hop's own port.
func dialsNames(t *testing.T, address string) string {
	var own atomic.Pointer[string]
	at := serve(t, address, func(c net.Conn, dial func() net.Conn) {
		head := make([]byte, 4096)
		n, err := c.Read(head)
		if err != nil {
			return
		}
		hello, _, err := wire.ParseHello(head[:n])
		host, port, bad := net.SplitHostPort(hello.SNI)
		if bad != nil {
			host = hello.SNI
			_, port, _ = net.SplitHostPort(*own.Load())
		}
		var b net.Conn
		if ip := net.ParseIP(host); err == nil && ip.IsLoopback() && net.JoinHostPort(host, port) != *own.Load() {
			b, _ = net.Dial("tcp", net.JoinHostPort(host, port))
		} else {
			b = dial()
		}
		if b == nil {
			return
		}
		defer b.Close()
		both(wire.WithPrefix(c, head[:n]), b)
	})
	own.Store(&at)
	return at
}

// connects is a hop that grants every CONNECT to loopback.
func connects(t *testing.T, address string) string {
	return serve(t, address, func(c net.Conn, dial func() net.Conn) {
		br := bufio.NewReader(c)
		if verb, err := br.Peek(8); err == nil && string(verb) == "CONNECT " {
			line, _ := br.ReadString('\n')
			host, _, _ := net.SplitHostPort(strings.Fields(line)[1])
			if net.ParseIP(host).IsLoopback() {
				if b, err := net.Dial("tcp", strings.Fields(line)[1]); err == nil {
					defer b.Close()
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				}
			}
			return
		}
		b := dial()
		if b == nil {
			return
		}
		defer b.Close()
		ahead, _ := br.Peek(br.Buffered())
		both(wire.WithPrefix(c, ahead), b)
	})
}

// waitsForMore leaves what it cannot parse open, also when its client has ended.
func waitsForMore(t *testing.T, address string) string {
	over := make(chan struct{})
	at := serve(t, address, func(c net.Conn, dial func() net.Conn) {
		var head []byte
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			head = append(head, buf[:n]...)
			_, _, parsed := wire.ParseHello(head)
			if parsed == nil {
				break
			}
			if err != nil || !errors.Is(parsed, wire.ErrNeedMore) {
				select {
				case <-over:
				case <-time.After(time.Minute):
				}
				return
			}
		}
		if b := dial(); b != nil {
			defer b.Close()
			both(wire.WithPrefix(c, head), b)
		}
	})
	t.Cleanup(func() { close(over) })
	return at
}

// dialsFirst dials a backend for whatever comes.
func dialsFirst(t *testing.T) conformance.Target {
	l := newLab(t)
	target := l.start(t, nil)
	backend := l.witnesses[l.fixture.WitnessA].Address
	target.Launcher = launchedBehind{target.Launcher, t, func(t *testing.T, address string) string {
		return faultProxy(t, address, func(dst, src net.Conn) {
			if c, err := net.Dial("tcp", backend); err == nil {
				defer c.Close()
			}
			copyWith(nil, dst, src)
		}, nil)
	}, &strings.Builder{}, &sync.Mutex{}}
	return target
}

func init() {
	right = append(right, conforming{name: "strict balancer", role: conformance.LoadBalancer, only: []string{"SEC-*"}, target: desync("strictest")})
	addMutant("SEC-01", "routes what is severe", desync("monitor"))
	addMutant("SEC-01", "passes bytes on as they come", balancerWith(balancerBugs{}))
	addMutant("SEC-02", "takes the wish for the upgrade", balancerWith(balancerBugs{}))

	patient := mutatedConfig(func(_ *lab, c *router.Config) { c.Limits.ClientHelloTimeout = router.Duration(time.Minute) })
	few := hopBefore(func(t *testing.T, address string) string { return handlesAtOnce(t, address, 50) })
	addMutant("SEC-03", "waits for ever", patient)
	addMutant("SEC-03", "handles 50 at a time", few)
	addMutant("SEC-04", "waits for ever", patient)
	addMutant("SEC-04", "handles 50 at a time", few)
	addMutant("SEC-04", "gives up early", mutatedConfig(func(_ *lab, c *router.Config) { c.Limits.ClientHelloTimeout = router.Duration(helloTimeout / 3) }))

	addMutant("SEC-06", "has no limits", mutatedConfig(func(_ *lab, c *router.Config) { c.Limits.Connections, c.Limits.ConnectionsPerIP = 0, 0 }))
	addMutant("SEC-06", "counts addresses only", mutatedConfig(func(_ *lab, c *router.Config) { c.Limits.Connections = 0 }))
	addMutant("SEC-06", "lets them wait", instancesBehindHop(func(t *testing.T, address string) string { return handlesAtOnce(t, address, 8) }))
	addMutant("SEC-06", "never gives a place back", instancesBehindHop(func(t *testing.T, address string) string {
		var taken atomic.Int64
		return serve(t, address, func(c net.Conn, dial func() net.Conn) {
			if b := dial(); b != nil && taken.Add(1) <= 10 {
				defer b.Close()
				both(c, b)
			}
		})
	}))

	addMutant("SEC-07", "takes any ALPN", naiveWith(bugs{ignoreALPN: true}))
	addMutant("SEC-07", "leads strangers to the first route", naiveWith(bugs{defaultRoute: true, ignoreALPN: true}))
	addMutant("SEC-08", "dials the SNI", hopBefore(dialsNames))
	addMutant("SEC-08", "grants CONNECT", func(t *testing.T) conformance.Target { return plainUpgrade(hopBefore(connects)(t)) })
	addMutant("SEC-09", "prints names", prints(func(sni string) string { return sni }))
	addMutant("SEC-09", "escapes line feeds only", prints(func(sni string) string { return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(sni) }))

	addMutant("SEC-10", "dials first", dialsFirst)
	addMutant("SEC-10", "waits for more", instancesBehindHop(waitsForMore))
}
