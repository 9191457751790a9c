package selftest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// balancerBugs are the switches of the naive load balancer. All off, it does what an ALB does as far as the checks go; it has no
// timers of its own and takes one request a connection.
type balancerBugs struct {
	showSNI, showALPN, showCert bool // what the target is shown
	keepForged, appendForged    bool // X-Forwarded-Proto and -Port of the client's
	stripAll, keepAll, drop     bool // Connection and Upgrade
	drop101                     bool // the 101 goes back without Connection
	echoALPN                    bool // confirms the first name that is offered
	refuseALPN                  bool
	textTunnel                  bool // a zero byte ends what is read at a time
	smallTunnel                 bool // tunnels carry 64 KiB each way
	plainTarget                 bool
	idle                        time.Duration
	idleReset                   bool
	expiry                      bool // looks at the dates of the target's certificate
	inspects                    bool // ends a TLS session in a tunnel, and begins its own
	readsTunnels                bool // answers what looks like a request in a tunnel

	hello  func(*tls.ClientHelloInfo, *tls.Config) error // has the last word on the handshake
	answer func(head string) string                      // rewrites the header of the answer
	h2     func(n naiveBalancer, front net.Conn, dial func() net.Conn)
}

type naiveBalancer struct {
	balancerBugs
	cert, client tls.Certificate
}

func balancerWith(b balancerBugs) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := balancerTarget(t, nil) // for the stub; its own balancer is left alone
		ca := must(certs.NewCA("naive balancer CA"))(t)
		n := naiveBalancer{b, must(ca.Issue(certs.Leaf{CommonName: albName, DNS: []string{albName}}))(t), must(ca.Issue(certs.Leaf{CommonName: "balancer", Client: true}))(t)}
		target.Balancers = nil
		path := &target.Paths[0]
		path.Address = serve(t, target.Stub.Addr().String(), func(c net.Conn, dial func() net.Conn) { n.handle(c, dial) })
		path.Upgrade.Roots = ca.Pool()
		if b.idle == 0 {
			path.IdleTimeout = 0 // it has none: checks that need one are not put to it
		}
		return target
	}
}

func (n naiveBalancer) handle(c net.Conn, dial func() net.Conn) {
	front := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{n.cert}, GetConfigForClient: n.protocols})
	defer front.Close()
	if front.Handshake() != nil {
		return
	}
	if front.ConnectionState().NegotiatedProtocol == "h2" {
		if n.h2 != nil {
			n.h2(n, front, dial)
		}
		return
	}
	head, behind, ok := header(front)
	if !ok {
		return
	}
	if n.h2 != nil && strings.HasPrefix(head, "PRI ") {
		n.h2(n, prefixed(front, head+string(behind)), dial)
		return
	}
	raw := dial()
	if raw == nil {
		return
	}
	defer raw.Close()
	back := n.target(raw)
	if _, err := back.Write(append([]byte(n.request(head)), behind...)); err != nil {
		return
	}
	answer, rest, ok := header(back)
	if !ok {
		return
	}
	if n.drop101 {
		answer = without(answer, "Connection")
	}
	if n.answer != nil {
		answer = n.answer(answer)
	}
	if _, err := front.Write(append([]byte(answer), rest...)); err != nil {
		return
	}
	n.tunnel(front, back)
}

func (n naiveBalancer) protocols(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	cfg := &tls.Config{Certificates: []tls.Certificate{n.cert}}
	for _, p := range hello.SupportedProtos {
		if p == "h2" || p == "http/1.1" || n.refuseALPN {
			cfg.NextProtos = []string{"h2", "http/1.1"}
		}
	}
	if n.echoALPN {
		cfg.NextProtos = hello.SupportedProtos
	}
	if n.hello != nil {
		return cfg, n.hello(hello, cfg)
	}
	return cfg, nil
}

func (n naiveBalancer) target(raw net.Conn) net.Conn {
	if n.plainTarget {
		return raw
	}
	cfg := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // as an ALB
	if n.showSNI {
		cfg.ServerName = albName
	}
	if n.showALPN {
		cfg.NextProtos = []string{"http/1.1"}
	}
	if n.showCert {
		conformance.Present(cfg, &n.client)
	}
	if n.expiry {
		cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			if time.Now().After(cs.PeerCertificates[0].NotAfter) {
				return errors.New("the target's certificate has expired")
			}
			return nil
		}
	}
	return tls.Client(raw, cfg)
}

func (n naiveBalancer) request(head string) string {
	switch {
	case n.appendForged:
		head = with(with(head, "X-Forwarded-Proto: https"), "X-Forwarded-Port: 443")
	case !n.keepForged || field(head, "X-Forwarded-Proto") == "":
		head = with(with(without(without(head, "X-Forwarded-Proto"), "X-Forwarded-Port"), "X-Forwarded-Proto: https"), "X-Forwarded-Port: 443")
	}
	custom := field(head, "Upgrade") != wire.WebSocket
	if custom && !n.keepAll || n.stripAll {
		head = without(head, "Connection")
	}
	if custom && n.drop {
		head = without(head, "Upgrade")
	}
	return head
}

func (n naiveBalancer) tunnel(a, b net.Conn) {
	if n.idle > 0 {
		front, back := a, b
		timer := time.AfterFunc(n.idle, func() {
			if n.idleReset {
				_ = netx.Reset(back)
			}
			_ = front.Close()
			_ = back.Close()
		})
		defer timer.Stop()
		touch := func() { timer.Reset(n.idle) }
		a, b = touching{a, touch}, touching{b, touch}
	}
	piece := func(dst, src net.Conn) { _, _ = io.Copy(dst, src) }
	switch {
	case n.inspects:
		first := make([]byte, 1<<10)
		size, err := a.Read(first)
		a = prefixed(a, string(first[:size]))
		if err == nil && first[0] == 22 {
			a = tls.Server(a, &tls.Config{Certificates: []tls.Certificate{n.cert}, NextProtos: []string{"trb-inner"}})
			b = tls.Client(b, &tls.Config{InsecureSkipVerify: true, ServerName: albName, Certificates: []tls.Certificate{n.client}}) //nolint:gosec // such boxes do
		}
	case n.readsTunnels:
		piece = func(dst, src net.Conn) {
			first := make([]byte, 1<<10)
			size, err := src.Read(first)
			if bytes.HasPrefix(first[:size], []byte("GET ")) {
				_, _ = io.WriteString(src, refusal)
				return
			}
			if _, werr := dst.Write(first[:size]); err == nil && werr == nil {
				_, _ = io.Copy(dst, src)
			}
		}
	case n.smallTunnel:
		piece = func(dst, src net.Conn) { _, _ = io.CopyN(dst, src, 64<<10) }
	case n.textTunnel:
		piece = func(dst, src net.Conn) { _, _ = io.Copy(noZeros{dst}, src) }
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		copyWith(piece, a, b)
	}()
	copyWith(piece, b, a)
	<-done
}

// noZeros leaves zero bytes out, as code does that takes bytes for text.
type noZeros struct{ io.Writer }

func (w noZeros) Write(p []byte) (int, error) {
	if _, err := w.Writer.Write(slices.DeleteFunc(bytes.Clone(p), func(b byte) bool { return b == 0 })); err != nil {
		return 0, err
	}
	return len(p), nil
}

func simulated(change func(*albsim.Config)) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target { return balancerTarget(t, change) }
}

func profile(name string) func(t *testing.T) conformance.Target {
	return simulated(func(c *albsim.Config) { c.Profile = name })
}

// oneDirection is the simulator behind a hop that counts one direction only.
func oneDirection(up, down bool) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := balancerTarget(t, nil)
		path := &target.Paths[0]
		path.IdleTimeout = time.Second
		path.Address = idleCutter(t, path.Address, path.IdleTimeout, up, down)
		return target
	}
}

// declared says another idle timeout than there is.
func declared(start func(t *testing.T) conformance.Target, idle time.Duration) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := start(t)
		target.Paths[0].IdleTimeout = idle
		return target
	}
}

func init() {
	right = append(right, conforming{
		name: "naive balancer", role: conformance.LoadBalancer, target: declared(balancerWith(balancerBugs{idle: time.Second}), time.Second),
		only: []string{
			"ALB-TLS-0[1-5]", "ALB-TLS-0[89]", "ALB-TLS-1*", "ALB-MTLS-01", "ALB-UPG-0[1-79]", "ALB-UPG-13", "ALB-UPG-15", "ALB-ERR-1[01]", "ALB-HDR-04", "ALB-IDLE-0[235]",
		},
	})
	addMutant("ALB-TLS-01", "has no h2", simulated(func(c *albsim.Config) { c.Attributes["routing.http2.enabled"] = false }))
	addMutant("ALB-TLS-03", "refuses unknown names with alert 120", profile("alpn-alert"))
	addMutant("ALB-TLS-03", "confirms any name", balancerWith(balancerBugs{echoALPN: true}))
	addMutant("ALB-UPG-01", "strips Connection from every upgrade", balancerWith(balancerBugs{stripAll: true}))
	addMutant("ALB-UPG-01", "passes the 101 on without Connection", balancerWith(balancerBugs{drop101: true}))
	addMutant("ALB-UPG-02", "keeps Connection", profile("alpn-alert"))
	addMutant("ALB-UPG-02", "keeps Connection (naive)", balancerWith(balancerBugs{keepAll: true}))
	addMutant("ALB-UPG-02", "drops Upgrade", profile("websocket-only"))
	addMutant("ALB-UPG-06", "takes bytes for text", balancerWith(balancerBugs{textTunnel: true}))
	addMutant("ALB-UPG-06", "carries 64 KiB", balancerWith(balancerBugs{smallTunnel: true}))
	addMutant("ALB-UPG-06", "drops Upgrade", balancerWith(balancerBugs{drop: true}))
	addMutant("ALB-ERR-11", "shows its target a name", balancerWith(balancerBugs{showSNI: true}))
	addMutant("ALB-ERR-11", "shows its target a protocol", balancerWith(balancerBugs{showALPN: true}))
	addMutant("ALB-ERR-11", "shows its target a certificate", balancerWith(balancerBugs{showCert: true}))
	addMutant("ALB-ERR-11", "speaks plain HTTP to its target", balancerWith(balancerBugs{plainTarget: true}))
	addMutant("ALB-HDR-04", "passes forged fields on", balancerWith(balancerBugs{keepForged: true}))
	addMutant("ALB-HDR-04", "adds its own to the forged", balancerWith(balancerBugs{appendForged: true}))
	addMutant("ALB-IDLE-02", "counts what comes from the target only", oneDirection(false, true))
	addMutant("ALB-IDLE-02", "counts what comes from the client only", oneDirection(true, false))
	addMutant("ALB-IDLE-05", "cuts early", declared(balancerWith(balancerBugs{idle: 400 * time.Millisecond}), 2*time.Second))
	addMutant("ALB-IDLE-05", "cuts late", declared(balancerWith(balancerBugs{idle: 2 * time.Second}), 500*time.Millisecond))
	addMutant("ALB-IDLE-05", "resets its target", declared(balancerWith(balancerBugs{idle: time.Second, idleReset: true}), time.Second))
}

// prefixed puts bytes that were read back in front.
func prefixed(c net.Conn, read string) net.Conn { return wire.WithPrefix(c, []byte(read)) }
