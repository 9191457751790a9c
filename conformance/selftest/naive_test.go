package selftest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// bugs are the switches of the naive router. All off, it conforms as far as the direct path goes.
type bugs struct {
	firstSegment, firstRecord bool // decide on what the first read, or the first record, holds
	impatient                 int  // give up after so many reads
	buffer                    int  // bytes of a ClientHello that fit
	oldVersionOnly            bool // insist on 0x0301 in the record header
	skipOddRecords            bool // pass over empty and foreign records between the fragments
	noTimeout, shortTimeout   bool
	silent                    bool // close in place of an alert
	noHTTP                    bool // take everything for TLS
	reframe                   bool // replay the ClientHello in records of its own making
	dialFirst                 bool // dial before the client's handshake is done
	nothingBehind             bool // what comes with the hello, behind it, is an error
	behindFirst               bool // or is passed on before it
	holdsHTTP, httpToDefault  bool // what is no TLS is waited with, or handed to a backend

	ignoreSNI, caseSensitive, lazySuffix, shortestFirst bool
	caseSensitiveAuth                                   bool
	defaultRoute                                        bool // unknown and absent names go to the first route
	cString                                             bool // a name ends at its first NUL
	ignoreALPN, ignoreALPNWithout                       bool // any, or no, ALPN goes to the name's first route
	unconfirmed, firstOnly, eitherMatches               bool
	anyCert, anyDate                                    bool // certificates are demanded and not verified, or but for their dates
	longRecords                                         bool // records of any length are taken
	keepOpen                                            bool // an alert is not followed by the end of the connection
	wildcardFirst                                       bool // a wildcard wins over the exact name
	tls2                                                     // see naive_tls_test.go
}

// naive is a router of the sort that people write in an afternoon.
type naive struct {
	*lab
	bugs
	ln    net.Listener
	wg    sync.WaitGroup
	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	auth  map[string]door.ClientAuth // by route, once it has been set up anew
}

func init() {
	right = append(right, conforming{
		name: "naive router", role: conformance.Router, only: []string{"DET-*", "TLS-*", "MTL-*"}, tolerated: true, target: naiveWith(bugs{}),
	})
}

func naiveWith(b bugs) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		n := newLab(t).naive(t, b)
		return n.target(n.ln.Addr().String(), false)
	}
}

// naive starts one; the test's cleanup ends it.
func (l *lab) naive(t *testing.T, b bugs) *naive {
	n := &naive{lab: l, bugs: b, conns: map[net.Conn]bool{}}
	n.ln = must(net.Listen("tcp", "127.0.0.1:0"))(t)
	n.wg.Go(n.accept)
	t.Cleanup(func() {
		_ = n.ln.Close()
		n.mu.Lock()
		for c := range n.conns {
			_ = c.Close()
		}
		n.mu.Unlock()
		n.wg.Wait()
	})
	return n
}

func (n *naive) accept() {
	for {
		c, err := n.ln.Accept()
		if err != nil {
			return
		}
		n.keep(c)
		n.wg.Go(func() {
			defer n.drop(c)
			n.handle(c)
		})
	}
}

func (n *naive) keep(c net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[c] = true
}

func (n *naive) drop(c net.Conn) {
	_ = c.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

func (n *naive) handle(c net.Conn) {
	raw, hello, err := n.read(c)
	if len(raw) > 0 && raw[0] != 22 {
		if n.holdsHTTP {
			_ = c.SetDeadline(time.Time{})
			_, _ = io.Copy(io.Discard, c)
		}
		if n.httpToDefault {
			n.pass(c, raw, hello, conformance.FixtureRoutes(n.fixture)[1])
		}
		if !n.noHTTP {
			_, _ = io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
		return
	}
	var bad *wire.MalformedError
	switch {
	case errors.As(err, &bad):
		code := uint8(50)
		if strings.Contains(bad.Reason, "bytes") {
			code = 22
		} else if strings.Contains(bad.Reason, "record") {
			code = 10
		}
		n.alert(c, code)
		return
	case err != nil && !errors.Is(err, errGuess):
		return
	}
	if n.nothingBehind && len(raw) > len(hello.Raw) {
		n.alert(c, 10)
		return
	}
	if n.split(c, raw, hello) {
		return
	}
	if n.cString {
		hello.SNI, _, _ = strings.Cut(hello.SNI, "\x00")
	}
	route, alpn, code := n.decide(hello)
	if code != 0 {
		n.alert(c, code)
		return
	}
	_ = c.SetDeadline(time.Time{})
	if route.Mode == conformance.ModePassthrough {
		n.pass(c, raw, hello, route)
		return
	}
	n.terminate(c, raw, hello, route, alpn)
}

// errGuess says that what there is of the hello has to do.
var errGuess = errors.New("guessing")

func (n *naive) read(c net.Conn) ([]byte, wire.Hello, error) {
	timeout := helloTimeout
	if n.noTimeout {
		timeout = time.Minute
	}
	if n.shortTimeout {
		timeout = helloTimeout / 4
	}
	_ = c.SetDeadline(time.Now().Add(timeout))
	var raw []byte
	buf := make([]byte, 32<<10)
	for reads := 1; ; reads++ {
		m, err := c.Read(buf)
		raw = append(raw, buf[:m]...)
		if err != nil {
			return raw, wire.Hello{}, err
		}
		if raw[0] != 22 {
			return raw, wire.Hello{}, nil
		}
		if n.buffer > 0 && len(raw) > n.buffer {
			return raw, wire.Hello{}, io.ErrShortBuffer
		}
		if n.oldVersionOnly && len(raw) > 2 && raw[2] != 1 {
			return raw, wire.Hello{}, &wire.MalformedError{Reason: "version"}
		}
		look := raw
		if n.skipOddRecords {
			look = withoutOdd(raw)
		}
		if n.longRecords {
			look = cutLong(raw)
		}
		hello, _, err := wire.ParseHello(look)
		if !errors.Is(err, wire.ErrNeedMore) {
			if n.firstRecord && hello.Records > 1 {
				return raw, wire.Hello{}, errGuess
			}
			return raw, hello, err
		}
		if n.firstSegment || n.impatient > 0 && reads >= n.impatient {
			return raw, wire.Hello{}, errGuess
		}
	}
}

// withoutOdd leaves out the records that a handshake message cannot be made of.
func withoutOdd(raw []byte) []byte {
	var out []byte
	for len(raw) >= 5 {
		size := 5 + int(raw[3])<<8 + int(raw[4])
		if len(raw) < size {
			break
		}
		if raw[0] == 22 && size > 5 {
			out = append(out, raw[:size]...)
		}
		raw = raw[size:]
	}
	return append(out, raw...)
}

// cutLong divides a record that is too long.
func cutLong(raw []byte) []byte {
	if len(raw) < 5 || int(raw[3])<<8+int(raw[4]) <= wire.MaxFragment || len(raw) < 5+int(raw[3])<<8+int(raw[4]) {
		return raw
	}
	return slices.Concat(wire.Record(raw[0], 0x0301, raw[5:5+wire.MaxFragment]), wire.Record(raw[0], 0x0301, raw[5+wire.MaxFragment:]))
}

func (n *naive) alert(c net.Conn, code uint8) {
	if !n.silent {
		_, _ = c.Write(wire.Record(21, 0x0303, []byte{2, code}))
	}
	linger := 100 * time.Millisecond // a reset would overtake the alert
	if n.keepOpen {
		linger = time.Minute
	} else {
		_ = netx.CloseWrite(c)
	}
	_ = c.SetReadDeadline(time.Now().Add(linger))
	_, _ = io.Copy(io.Discard, c)
}

func (n *naive) pass(c net.Conn, raw []byte, h wire.Hello, route conformance.FixtureRoute) {
	if n.behindFirst {
		raw = slices.Concat(raw[len(h.Raw):], h.Raw)
	}
	if n.reframe {
		raw = append(slices.Concat(wire.Records(h.Message)...), raw[len(h.Raw):]...)
	}
	b, err := net.Dial("tcp", n.address(route))
	if err != nil {
		return
	}
	n.join(wire.WithPrefix(c, raw), b)
}

func (n *naive) terminate(c net.Conn, raw []byte, h wire.Hello, route conformance.FixtureRoute, alpn string) {
	if n.earlyData(c, raw, h, route, alpn) {
		return
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{n.server}, SessionTicketsDisabled: true, MinVersion: tls.VersionTLS12}
	before := n.own(cfg, h)
	if alpn != "" && !n.unconfirmed {
		cfg.NextProtos = []string{alpn}
	}
	file, demanded := n.demands(route)
	demanded = demanded && (!n.caseSensitiveAuth || h.SNI == strings.ToLower(h.SNI))
	if demanded {
		pem, _ := os.ReadFile(file)
		cfg.ClientCAs = x509.NewCertPool()
		cfg.ClientCAs.AppendCertsFromPEM(pem)
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
		if n.anyCert || n.anyDate {
			cfg.ClientAuth = tls.RequireAnyClientCert
		}
		if n.anyDate {
			cfg.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
				cert, err := x509.ParseCertificate(raw[0])
				if err == nil {
					_, err = cert.Verify(x509.VerifyOptions{Roots: cfg.ClientCAs, CurrentTime: cert.NotAfter.Add(-time.Minute), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
				}
				return err
			}
		}
	}
	n.asksOnce(cfg)
	var b net.Conn
	if n.dialFirst {
		var err error
		if b, err = net.Dial("tcp", n.address(route)); err != nil {
			return
		}
		defer b.Close()
	}
	input := raw
	if n.skipOddRecords {
		input = withoutOdd(raw)
	}
	if n.longRecords {
		input = cutLong(raw)
	}
	conn := tls.Server(wire.WithPrefix(c, input), cfg)
	if conn.Handshake() != nil {
		return
	}
	route = n.afterwards(conn, route, *before)
	if n.requests(conn, h, route) {
		return
	}
	if b == nil {
		var err error
		if b, err = net.Dial("tcp", n.address(route)); err != nil {
			return
		}
	}
	n.join(conn, b)
}

// join copies both ways, half-closing each.
func (n *naive) join(a, b net.Conn) {
	n.keep(b)
	defer n.drop(b)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(a, b)
		_ = netx.CloseWrite(a)
	}()
	_, _ = io.Copy(b, a)
	_ = netx.CloseWrite(b)
	<-done
}
