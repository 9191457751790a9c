package router

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	proxyproto "github.com/pires/go-proxyproto"

	"github.com/tlsroute/tlsroute-bench/refimpl/route"
)

func TestSendProxySaysWhereTheClientIs(t *testing.T) {
	for _, version := range []string{ProxyV1, ProxyV2} {
		for _, mode := range []string{ModeTerminate, ModePassthrough} {
			headers := make(chan *proxyproto.Header, 1)
			var cert tls.Certificate
			back := serveBackend(t, func(conn net.Conn) {
				br := bufio.NewReader(conn)
				header, err := proxyproto.Read(br)
				if err != nil {
					t.Errorf("%s %s: %v", version, mode, err)
				}
				headers <- header
				if mode == ModePassthrough {
					// The ClientHello comes right behind it.
					_ = tls.Server(&bufConn{conn, br}, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
					return
				}
				_, _ = io.Copy(conn, br)
			})
			r := Route{Name: "r", SNI: []string{"r.routes.example.test"}, Mode: mode, Backend: Backend{Address: back.addr, SendProxy: version}}
			b := startRouter(t, Config{Routes: []Route{r}})
			cert = b.ca.leaf(t, "r.routes.example.test")
			tcp := b.tcp(t)
			conn := secure(t, tcp, b.clientConfig("r.routes.example.test"))
			header := <-headers
			if header == nil || header.SourceAddr.String() != tcp.LocalAddr().String() ||
				header.DestinationAddr.String() != tcp.RemoteAddr().String() {
				t.Errorf("%s %s: %+v", version, mode, header)
			}
			if want := version[1] - '0'; header.Version != want {
				t.Errorf("version %d, want %d", header.Version, want)
			}
			if mode == ModeTerminate {
				roundTrip(t, conn, "x")
			}
			conn.Close()
		}
	}
}

// TestProxyHeadersAreChained holds that both ends that an incoming header tells go on to the backend.
func TestProxyHeadersAreChained(t *testing.T) {
	got := make(chan string, 1)
	back := serveBackend(t, func(conn net.Conn) {
		line, _ := bufio.NewReader(conn).ReadString('\n')
		got <- line
		_, _ = io.Copy(io.Discard, conn)
	})
	r := echoRoute(back.addr)
	r.Backend.SendProxy = ProxyV1
	b := startRouter(t, Config{Routes: []Route{r}, ProxyProtocol: ProxyProtocol{Mode: "required", Trusted: []string{"127.0.0.0/8"}}})
	for _, header := range []string{"PROXY TCP4 9.8.7.6 1.2.3.4 1111 2222\r\n", "PROXY TCP6 2001:db8::1 2001:db8::2 1111 2222\r\n"} {
		conn := secure(t, &headed{Conn: b.tcp(t), header: header}, b.clientConfig("echo.routes.example.test", "echo"))
		if line := <-got; line != header {
			t.Errorf("the backend read %q, want %q", line, header)
		}
		conn.Close()
	}
}

type bufConn struct {
	net.Conn
	br *bufio.Reader
}

func (c *bufConn) Read(p []byte) (int, error) { return c.br.Read(p) }

func TestBackendTLSIsVerified(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.leaf(t, "127.0.0.1")
	protocols := make(chan string, 1)
	serve := func(conn net.Conn) {
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1", "h2"}})
		if secure.Handshake() == nil {
			protocols <- secure.ConnectionState().NegotiatedProtocol
			echo(secure, "tls")
		}
	}
	plain := serveBackend(t, serve)
	postgres := serveBackend(t, func(conn net.Conn) {
		var request [8]byte
		_, _ = io.ReadFull(conn, request[:])
		if binary.BigEndian.Uint32(request[4:]) != 80877103 {
			t.Errorf("the backend read %x, want an SSLRequest", request)
			return
		}
		_, _ = io.WriteString(conn, "S")
		serve(conn)
	})
	refusing := serveBackend(t, func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, 8))
		_, _ = io.WriteString(conn, "N")
	})
	stranger := serveBackend(t, func(conn net.Conn) {
		other := newAuthority(t).leaf(t, "127.0.0.1")
		_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{other}}).Handshake()
	})
	entry := func(name, addr, mode string) Route {
		return Route{Name: name, ALPN: []string{name}, Mode: ModeTerminate, Backend: Backend{Address: addr, TLS: mode}}
	}
	b := startRouter(t, Config{Routes: []Route{
		entry("http/1.1", plain.addr, TLSOn), entry("plain", plain.addr, TLSOn), entry("pg", postgres.addr, StartTLSPostgres),
		entry("refusing", refusing.addr, StartTLSPostgres), entry("stranger", stranger.addr, TLSOn),
	}}, func(o *Options) { o.BackendRoots = ca.pool() })
	for name, protocol := range map[string]string{"http/1.1": "http/1.1", "plain": "", "pg": ""} {
		conn := secure(t, b.tcp(t), b.clientConfig("x.routes.example.test", name))
		if got := readLine(t, conn); got != "tls" {
			t.Errorf("%s: reached %q", name, got)
		}
		if got := <-protocols; got != protocol {
			t.Errorf("%s: ALPN %q to the backend, want %q", name, got, protocol)
		}
		roundTrip(t, conn, "x")
		_ = conn.CloseWrite()
		if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
			t.Errorf("%s: after the half-close: %q, %v", name, rest, err)
		}
	}
	for name, cause := range map[string]string{"refusing": "does not offer TLS", "stranger": "x509: "} {
		conn := secure(t, b.tcp(t), b.clientConfig("x.routes.example.test", name))
		if _, err := io.ReadAll(conn); err == nil {
			t.Errorf("%s: a clean end", name)
		}
		b.log.wait(t, "route="+name, "outcome=dial_failed", cause)
	}
}

func TestPingALPNIsFramedAndPinged(t *testing.T) {
	back := echoBackend(t, "echo")
	r := echoRoute(back.addr)
	r.ALPN = []string{"echo-ping"}
	b := startRouter(t, Config{Routes: []Route{r}, Upgrade: Upgrade{PingInterval: Duration(50 * time.Millisecond)}})
	conn := secure(t, b.tcp(t), b.clientConfig("echo.routes.example.test", "echo-ping"))
	_, _ = io.WriteString(conn, "\x00\x00\x00\x02hi\x00\x00\x00\x00\x00\x00\x00\x01!")
	var data strings.Builder
	pings := 0
	for pings < 2 || data.String() != "echo\nhi!" {
		var head [4]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			t.Fatalf("%d pings, %q: %v", pings, data.String(), err)
		}
		n := binary.BigEndian.Uint32(head[:])
		if n == 0 {
			pings++
		}
		if _, err := io.CopyN(&data, conn, int64(n)); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.CloseWrite()
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("after the half-close: %v", err)
	}
}

func TestProxyHeadersAreTakenFromTrustedPeers(t *testing.T) {
	back := echoBackend(t, "echo")
	v2 := &proxyproto.Header{
		Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr: &net.TCPAddr{IP: net.IP{198, 51, 100, 7}, Port: 7}, DestinationAddr: &net.TCPAddr{IP: net.IP{10, 0, 0, 1}, Port: 443},
	}
	raw, err := v2.Format()
	if err != nil {
		t.Fatal(err)
	}
	const v1 = "PROXY TCP4 198.51.100.7 10.0.0.1 7 443\r\n"
	for _, test := range []struct {
		mode, trusted, header string
		source                string // empty: closed
	}{
		{"required", "127.0.0.0/8", v1, "198.51.100.7:7"},
		{"required", "127.0.0.0/8", string(raw), "198.51.100.7:7"},
		{"required", "127.0.0.0/8", "", ""},
		{"required", "10.0.0.0/8", v1, ""},
		{"optional", "127.0.0.0/8", v1, "198.51.100.7:7"},
		{"optional", "127.0.0.0/8", "", "127.0.0.1"},
		{"optional", "10.0.0.0/8", v1, ""},
		{"off", "127.0.0.0/8", v1, ""},
	} {
		name := test.mode + " " + test.trusted + " " + strings.SplitN(test.header, " ", 2)[0]
		b := startRouter(t, Config{
			Routes:        []Route{echoRoute(back.addr)},
			ProxyProtocol: ProxyProtocol{Mode: test.mode, Trusted: []string{test.trusted}},
			Limits:        Limits{ClientHelloTimeout: Duration(time.Second)},
		})
		for _, transport := range []string{"direct", "alpn"} {
			tcp := b.tcp(t)
			var conn net.Conn = &headed{Conn: tcp, header: test.header}
			if transport == "alpn" {
				conn = &gluedConn{Conn: conn, before: upgradeRequest}
			}
			inner := tls.Client(conn, b.clientConfig("echo.routes.example.test", "echo"))
			err := inner.Handshake()
			if test.source == "" {
				if err == nil {
					t.Errorf("%s, %s: let in", name, transport)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s, %s: %v", name, transport, err)
				continue
			}
			// Inside a tunnel no header is asked for: the address is inherited.
			if e := <-b.hellos; !strings.HasPrefix(e.Source.String(), test.source) {
				t.Errorf("%s, %s: hello event %+v", name, transport, e)
			}
			readLine(t, inner)
		}
	}
}

// headed puts a header into the same segment as the first write.
type headed struct {
	net.Conn
	header string
}

func (h *headed) Write(p []byte) (int, error) {
	_, err := h.Conn.Write(append([]byte(h.header), p...))
	h.header = ""
	return len(p), err
}

func TestProbeIsNotEatenByARouteWithoutALPN(t *testing.T) {
	back := echoBackend(t, "any")
	b := startRouter(t, Config{Routes: []Route{{Name: "any", Mode: ModeTerminate, Backend: Backend{Address: back.addr}}}})
	conn := secure(t, b.tcp(t), b.clientConfig(ownName, route.ProbeALPN))
	if got := conn.ConnectionState().NegotiatedProtocol; got != route.ProbeALPN {
		t.Errorf("ALPN %q confirmed", got)
	}
}
