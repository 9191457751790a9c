package router

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	proxyproto "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// proxyWitness reads the header of each connection and then echoes.
func proxyWitness(t *testing.T) (*backend, <-chan *proxyproto.Header) {
	headers := make(chan *proxyproto.Header, 1)
	return serveBackend(t, func(conn net.Conn) {
		br := bufio.NewReader(conn)
		header, err := proxyproto.Read(br)
		if err != nil {
			t.Errorf("the backend read no PROXY header: %v", err)
			return
		}
		headers <- header
		_, _ = io.Copy(conn, br)
	}), headers
}

func TestProxyHeaderTellsWhatTheClientsTLSWas(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.leaf(t, "alice")
	back, headers := proxyWitness(t)
	entry := func(name, mode, version string, auth ClientAuth) Route {
		return Route{
			Name: name, SNI: []string{name + ".routes.example.test"}, Mode: mode, ClientAuth: auth,
			Backend: Backend{Address: back.addr, SendProxy: version},
		}
	}
	verify := ClientAuth{Mode: AuthRequest, CA: ca.caFile(t)}
	b := startRouter(t, Config{Routes: []Route{
		entry("verified", ModeTerminate, ProxyV2, verify),
		entry("requested", ModeTerminate, ProxyV2, ClientAuth{Mode: AuthRequest}),
		entry("open", ModeTerminate, ProxyV2, ClientAuth{}),
		entry("one", ModeTerminate, ProxyV1, verify),
		entry("pass", ModePassthrough, ProxyV2, ClientAuth{}),
	}})
	const (
		ssl      = tlvparse.PP2_BITFIELD_CLIENT_SSL
		withCert = ssl | tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN | tlvparse.PP2_BITFIELD_CLIENT_CERT_SESS
	)
	type told struct {
		Authority, ALPN, Version, CN string
		Client                       uint8
		Verified                     bool
	}
	name := func(route string) string { return route + ".routes.example.test" }
	for _, test := range []struct {
		route, alpn string
		version     uint16
		cert        bool
		want        told
	}{
		{"verified", "x", tls.VersionTLS13, true, told{name("verified"), "x", "TLSv1.3", "alice", withCert, true}},
		{"verified", "x", tls.VersionTLS12, true, told{name("verified"), "x", "TLSv1.2", "alice", withCert, true}},
		{"verified", "x", tls.VersionTLS13, false, told{name("verified"), "x", "TLSv1.3", "", ssl, false}},
		// A certificate that nobody verified names nobody.
		{"requested", "x", tls.VersionTLS13, true, told{name("requested"), "x", "TLSv1.3", "", withCert, false}},
		{"open", "", tls.VersionTLS13, false, told{name("open"), "", "TLSv1.3", "", ssl, false}},
		{"one", "x", tls.VersionTLS13, true, told{}},
		// What the backend's own TLS will be is not known, and that it is still there must not be hidden.
		{"pass", "x", tls.VersionTLS13, false, told{Authority: name("pass")}},
	} {
		config := b.clientConfig(name(test.route))
		if test.alpn != "" {
			config.NextProtos = []string{test.alpn}
		}
		config.MaxVersion = test.version
		if test.cert {
			config.Certificates = []tls.Certificate{cert}
		}
		tcp := b.tcp(t)
		if test.route == "pass" {
			_, _ = tcp.Write([]byte(recordHello(t, config)))
		} else {
			secure(t, tcp, config)
		}
		header := <-headers
		tlvs, err := header.TLVs()
		if err != nil {
			t.Fatal(err)
		}
		var got told
		for _, tlv := range tlvs {
			switch tlv.Type {
			case proxyproto.PP2_TYPE_AUTHORITY:
				got.Authority = string(tlv.Value)
			case proxyproto.PP2_TYPE_ALPN:
				got.ALPN = string(tlv.Value)
			case proxyproto.PP2_TYPE_SSL:
				s, err := tlvparse.SSL(tlv)
				if err != nil {
					t.Fatal(err)
				}
				got.Client, got.Verified = s.Client, s.Verified()
				got.Version, _ = s.SSLVersion()
				got.CN, _ = s.ClientCN()
			default:
				t.Errorf("%s: TLV %#x", test.route, tlv.Type)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s, %s, certificate %v: %s", test.route, tls.VersionName(test.version), test.cert, diff)
		}
		_ = tcp.Close()
	}
}

// recordHello is the ClientHello of a configuration.
func recordHello(t *testing.T, config *tls.Config) string {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(theirs, config).Handshake()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(ours, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(ours, body); err != nil {
		t.Fatal(err)
	}
	ours.Close()
	<-done
	return string(head) + string(body)
}

// A name of any length may be sent; it is not the host's fault, and must not count against it.
func TestANameTooLongForAHostIsNotTold(t *testing.T) {
	tlvs, err := proxyTLVs(strings.Repeat("a", 60000), nil)
	if err != nil || len(tlvs) != 0 {
		t.Errorf("%d TLVs, %v", len(tlvs), err)
	}
}

// TestTheSourceThatIsKnownIsSent holds that a backend is told of the client, whoever told us: a PROXY header, X-Forwarded-For, or both.
func TestTheSourceThatIsKnownIsSent(t *testing.T) {
	back, headers := proxyWitness(t)
	for _, version := range []string{ProxyV1, ProxyV2} {
		r := echoRoute(back.addr)
		r.Backend.SendProxy = version
		b := startRouter(t, Config{
			Routes:        []Route{r},
			ProxyProtocol: ProxyProtocol{Mode: "optional", Trusted: []string{"127.0.0.0/8"}},
			ForwardedFor:  ForwardedFor{Trusted: []string{"127.0.0.0/8", "10.0.0.0/8"}},
		})
		const proxy = "PROXY TCP4 10.0.0.7 192.0.2.1 1111 443\r\n" // of a hop that is trusted with X-Forwarded-For
		for _, test := range []struct{ name, before, source string }{
			{"X-Forwarded-For", forwardedRequest("203.0.113.9"), "203.0.113.9:0"},
			{"the rightmost that is not trusted", forwardedRequest("6.6.6.6, 203.0.113.9, 10.1.1.1"), "203.0.113.9:0"},
			{"IPv6, to an IPv4 address", forwardedRequest("2001:db8::9"), "[2001:db8::9]:0"},
			{"PROXY", strings.Replace(proxy, "10.0.0.7", "198.51.100.7", 1) + upgradeRequest, "198.51.100.7:1111"},
			{"PROXY, not trusted with X-Forwarded-For", strings.Replace(proxy, "10.0.0.7", "198.51.100.7", 1) + forwardedRequest("203.0.113.9"), "198.51.100.7:1111"},
			{"PROXY and X-Forwarded-For", proxy + forwardedRequest("203.0.113.9"), "203.0.113.9:0"},
		} {
			conn := secure(t, &gluedConn{Conn: b.tcp(t), before: test.before}, b.clientConfig("echo.routes.example.test", "echo"))
			if header := <-headers; header.SourceAddr.String() != test.source {
				t.Errorf("%s, %s: the backend was told %s, want %s", version, test.name, header.SourceAddr, test.source)
			}
			if e := <-b.hellos; e.Source.String() != test.source {
				t.Errorf("%s, %s: hello event %s, want %s", version, test.name, e.Source, test.source)
			}
			roundTrip(t, conn, "x")
			conn.Close()
			b.log.wait(t, "route=echo", "source="+test.source)
		}
	}
}

// forwardedRequest is an upgrade as a load balancer passes it on.
func forwardedRequest(from string) string {
	return strings.Replace(upgradeRequest, "Host:", "X-Forwarded-For: "+from+"\r\nHost:", 1)
}
