package selftest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"regexp"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// hop is something before an address; it returns its own.
type hop func(t *testing.T, address string) string

// hops is the simulator between two hops that can read what passes: it speaks plain HTTP on either side, but for the client's when there
// is nothing before it and tls is set.
type hops struct {
	before, behind hop
	tls            bool
	change         func(*albsim.Config)
}

func (h hops) target(t *testing.T) conformance.Target {
	via := func(stub string) string {
		if h.behind != nil {
			return h.behind(t, stub)
		}
		return stub
	}
	target := balancerBefore(t, via, func(c *albsim.Config) {
		c.TargetGroups[0].Protocol = "HTTP"
		if !h.tls {
			c.Listeners[0].Protocol, c.Listeners[0].Certificates = "HTTP", nil
		}
		if h.change != nil {
			h.change(c)
		}
	})
	target.Balancers = nil // an instance would stand without the hops
	path := &target.Paths[0]
	if !h.tls {
		path.Name, path.Upgrade.TLS, path.Upgrade.Roots, path.Upgrade.ServerName = "alb-http", false, nil, ""
	}
	if h.before != nil {
		path.Address = h.before(t, path.Address)
	}
	return target
}

// spoils is a hop that spoils the first HTTP exchange of each connection.
func spoils(f front) hop {
	return func(t *testing.T, address string) string {
		return serve(t, address, func(c net.Conn, dial func() net.Conn) { f.carry(c, dial()) })
	}
}

// faults is a hop that spoils bytes.
func faults(up, down fault) hop {
	return func(t *testing.T, address string) string { return faultProxy(t, address, up, down) }
}

func before(f front) func(t *testing.T) conformance.Target { return hops{before: spoils(f)}.target }
func after(f front) func(t *testing.T) conformance.Target  { return hops{behind: spoils(f)}.target }

// attribute is the simulator with another value of one of its attributes.
func attribute(name string, value any) func(t *testing.T) conformance.Target {
	return simulated(func(c *albsim.Config) { c.Attributes[name] = value })
}

// replacing is a fault that replaces what the expression finds in one piece that is read.
func replacing(pattern, with string) fault {
	re := regexp.MustCompile(pattern)
	return func(dst, src net.Conn) {
		buf := make([]byte, 64<<10)
		for {
			n, err := src.Read(buf)
			if _, werr := dst.Write(re.ReplaceAll(buf[:n], []byte(with))); err != nil || werr != nil {
				return
			}
		}
	}
}

// swallowsEnds is a hop that does not tell the other end when the client has ended its direction.
func swallowsEnds(t *testing.T, address string) string {
	return serve(t, address, func(c net.Conn, dial func() net.Conn) {
		b := dial()
		if b == nil {
			return
		}
		done := make(chan struct{})
		go func() { defer close(done); _, _ = io.Copy(b, c) }()
		_, _ = io.Copy(c, b)
		_ = c.Close()
		_ = b.Close()
		<-done
	})
}

// h2Server speaks HTTP/2 without a table of routes: a GET is carried to the target, anything else is answered with that status.
func h2Server(status string, idle time.Duration, settings ...http2.Setting) func(naiveBalancer, net.Conn, func() net.Conn) {
	return func(n naiveBalancer, conn net.Conn, dial func() net.Conn) {
		br := bufio.NewReader(conn)
		if _, err := io.CopyN(io.Discard, br, int64(len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(conn, br)
		f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		err := f.WriteSettings(settings...)
		for err == nil {
			if idle > 0 {
				err = conn.SetReadDeadline(time.Now().Add(idle)) // whatever comes counts
			}
			var frame http2.Frame
			if err == nil {
				frame, err = f.ReadFrame()
			}
			if err != nil {
				return
			}
			switch got := frame.(type) {
			case *http2.SettingsFrame:
				if !got.IsAck() {
					err = f.WriteSettingsAck()
				}
			case *http2.PingFrame:
				err = f.WritePing(true, got.Data)
			case *http2.MetaHeadersFrame:
				answer := status
				if got.PseudoValue("method") == "GET" {
					if err = n.fetch(dial); err != nil {
						return
					}
					answer = "200"
				}
				err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: got.StreamID, BlockFragment: literal(":status", answer), EndHeaders: true, EndStream: true})
			}
		}
	}
}

// literal is a field of HPACK that enters no table (RFC 7541 section 6.2.2), with lengths below 127.
func literal(name, value string) []byte {
	out := append([]byte{0, byte(len(name))}, name...)
	return append(append(out, byte(len(value))), value...)
}

// fetch has the target answer a request.
func (n naiveBalancer) fetch(dial func() net.Conn) error {
	raw := dial()
	if raw == nil {
		return errors.New("the target is not there")
	}
	defer raw.Close()
	back := n.target(raw)
	if _, err := io.WriteString(back, "GET / HTTP/1.1\r\nHost: "+albName+"\r\n\r\n"); err != nil {
		return err
	}
	if _, _, ok := header(back); !ok {
		return errors.New("the target has not answered")
	}
	return nil
}

// renegotiating is a hop that answers a second handshake within a session with one of its own, as far as one can see from its records.
func renegotiating(t *testing.T, address string) string {
	return serve(t, address, func(c net.Conn, dial func() net.Conn) {
		b := dial()
		if b == nil {
			return
		}
		defer b.Close()
		done := make(chan struct{})
		go func() { defer close(done); copyWith(nil, c, b) }()
		copyWith(func(dst, src net.Conn) {
			for sealed, handshakes := false, 0; ; {
				rec, err := wire.ReadRecord(src)
				if err != nil {
					return
				}
				sealed = sealed || rec.Type == 20
				if sealed && rec.Type == 22 {
					handshakes++
				}
				if handshakes > 1 {
					_, _ = src.Write(wire.Record(22, 0x0303, make([]byte, 64)))
					continue
				}
				if _, err := dst.Write(wire.Record(rec.Type, rec.Version, rec.Fragment)); err != nil {
					return
				}
			}
		}, b, c)
		<-done
	})
}
