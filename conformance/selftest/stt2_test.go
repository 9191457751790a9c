package selftest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Our router speaks neither MySQL nor SMTP to a client. What does is made here of the reference and a front: it greets a client that says
// nothing, and leaves the rest to the router once TLS begins.

// greetAfter is how long a client must be silent for the server to speak first.
const greetAfter = 100 * time.Millisecond

// greeted is a router behind a front for a protocol in which the server speaks first. talk has the conversation up to TLS and returns
// what of the client's bytes goes to the router first, or false to close.
func greeted(feature string, talk func(c net.Conn) ([]byte, bool)) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := newLab(t).start(t, nil)
		target.Features = append(target.Features, feature)
		target.Launcher = frontedWhole{frontedInstances: frontedInstances{target.Launcher, t, nil}, own: true, handle: func(c net.Conn, dial func() net.Conn) {
			head := make([]byte, 4096)
			_ = c.SetReadDeadline(time.Now().Add(greetAfter))
			n, err := c.Read(head)
			_ = c.SetReadDeadline(time.Time{})
			head = head[:n]
			if n == 0 {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					return
				}
				var ok bool
				if head, ok = talk(c); !ok {
					return
				}
			}
			b := dial()
			if b == nil {
				return
			}
			defer b.Close()
			_, _ = b.Write(head)
			done := make(chan struct{})
			go func() { defer close(done); copyWith(nil, c, b) }()
			_, _ = io.Copy(b, c)
			_ = b.(*net.TCPConn).CloseWrite()
			<-done
		}}
		return target
	}
}

// mysqlTalk greets and reads an SSLRequest; glued says what becomes of what came with it.
func mysqlTalk(glued func(p []byte) ([]byte, bool)) func(c net.Conn) ([]byte, bool) {
	return func(c net.Conn) ([]byte, bool) {
		_, _ = c.Write(wire.MySQLGreeting("8.4.0"))
		request := wire.MySQLSSLRequest(1)
		buf := make([]byte, 4096)
		n, err := io.ReadAtLeast(c, buf, len(request))
		if err != nil {
			return nil, false
		}
		return glued(buf[len(request):n])
	}
}

// onlyTLS lets a ClientHello through that came with the request, and nothing else.
func onlyTLS(p []byte) ([]byte, bool) { return p, len(p) == 0 || p[0] == 22 }

// smtpTalk has the conversation of RFC 3207; glued says what becomes of what came with STARTTLS.
func smtpTalk(glued func(p []byte) ([]byte, bool)) func(c net.Conn) ([]byte, bool) {
	return func(c net.Conn) ([]byte, bool) {
		_, _ = io.WriteString(c, "220 mail.example.test ESMTP\r\n")
		var said []byte
		buf := make([]byte, 1024)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return nil, false
			}
			said = append(said, buf[:n]...)
			line, rest, whole := bytes.Cut(said, []byte("\r\n"))
			switch word := strings.ToUpper(string(line)); {
			case !whole:
			case strings.HasPrefix(word, "EHLO"):
				_, _ = io.WriteString(c, "250-mail.example.test\r\n250 STARTTLS\r\n")
				said = rest
			case word == "STARTTLS":
				_, _ = io.WriteString(c, "220 go ahead\r\n")
				return glued(rest)
			default:
				return nil, false
			}
		}
	}
}

func forgotten([]byte) ([]byte, bool) { return nil, true }

// onePacketForgotten drops a packet of MySQL's; a ClientHello may have come right behind it.
func onePacketForgotten(p []byte) ([]byte, bool) {
	if len(p) < 4 || p[0] == 22 {
		return p, true
	}
	return p[min(len(p), 4+int(p[0])):], true
}

// deaf waits for the client, who waits too.
func deaf(c net.Conn) ([]byte, bool) {
	_, _ = c.Read(make([]byte, 1))
	return nil, false
}

// executes is a server that ends TLS itself and gives its backend what was glued to STARTTLS as the first of the session.
func executes(t *testing.T) conformance.Target {
	l := newLab(t)
	target := l.start(t, nil)
	target.Features = append(target.Features, "smtp")
	backend := l.witnesses[l.fixture.WitnessA].Address
	target.Launcher = frontedWhole{frontedInstances: frontedInstances{target.Launcher, t, nil}, own: true, handle: func(c net.Conn, dial func() net.Conn) {
		head := make([]byte, 4096)
		_ = c.SetReadDeadline(time.Now().Add(greetAfter))
		n, _ := c.Read(head)
		_ = c.SetReadDeadline(time.Time{})
		if n > 0 {
			if b := dial(); b != nil {
				defer b.Close()
				_, _ = b.Write(head[:n])
				go copyWith(nil, c, b)
				_, _ = io.Copy(b, c)
			}
			return
		}
		var first []byte
		if _, ok := smtpTalk(func(p []byte) ([]byte, bool) { first = bytes.Clone(p); return nil, true })(c); !ok {
			return
		}
		b, err := net.Dial("tcp", backend)
		if err != nil {
			return
		}
		defer b.Close()
		secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{l.server}, NextProtos: []string{"trb-a"}})
		_, _ = b.Write(first)
		go copyWith(nil, secure, b)
		_, _ = io.Copy(b, secure)
	}}
	return target
}

func init() {
	right[0].skip = append(right[0].skip, "STT-07", "STT-08", "STT-09") // the router does not claim them
	right = append(right,
		conforming{name: "mysql", role: conformance.Router, target: greeted("mysql", mysqlTalk(onlyTLS)), only: []string{"STT-07", "STT-08"}},
		conforming{name: "smtp", role: conformance.Router, target: greeted("smtp", smtpTalk(forgotten)), only: []string{"STT-09"}},
	)
	addMutant("STT-07", "waits for the client", greeted("mysql", deaf))
	addMutant("STT-08", "drops what was glued and goes on", greeted("mysql", mysqlTalk(onePacketForgotten)))
	addMutant("STT-09", "executes them", executes)
}
