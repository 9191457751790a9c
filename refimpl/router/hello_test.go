package router

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Whatever is wrong with a ClientHello, nobody behind the router hears of it. A route that takes everything makes sure that it is not
// for want of a route.
func TestABadHelloIsAnsweredByTheRightAlertAndReachesNoBackend(t *testing.T) {
	back := echoBackend(t, "any")
	b := startRouter(t, Config{
		Routes: []Route{{Name: "any", Mode: ModePassthrough, Backend: Backend{Address: back.addr}}},
		Limits: Limits{ClientHelloTimeout: Duration(time.Second), ClientHelloBytes: 4 << 10},
	})
	record := func(body string) string {
		return "\x16\x03\x01" + string([]byte{byte(len(body) >> 8), byte(len(body))}) + body
	}
	alert := func(code byte) string { return "\x15\x03\x03\x00\x02\x02" + string([]byte{code}) }
	for _, test := range []struct{ name, say, want string }{
		{"a ServerHello", record("\x02\x00\x00\x26" + strings.Repeat("x", 38)), alert(10)},
		{"an alert", "\x15\x03\x03\x00\x02\x02\x28", alert(10)},
		{"an empty record", record(""), alert(10)},
		{"a record of more than 2^14 bytes", "\x16\x03\x01\x40\x01", alert(22)},
		{"a body that ends too soon", record("\x01\x00\x00\x02\x03\x03"), alert(50)},
		{"a length beyond the limit", record("\x01\x00\x10\x01"), alert(47)},
		{"records beyond the limit", record("\x01\x00\x0f\x00") + strings.Repeat(record("x"), 1000), alert(47)},
		{"half a hello and silence", record("\x01\x00\x01\x00" + strings.Repeat("x", 100))[:50], ""},
	} {
		for _, transport := range []string{"direct", "http alpn"} {
			conn := b.stream(t, transport)
			_, _ = io.WriteString(conn, test.say)
			if got, err := io.ReadAll(conn); string(got) != test.want || err != nil {
				t.Errorf("%s, %s: read %q, %v; want %q", test.name, transport, got, err, test.want)
			}
		}
	}
	if n := back.accepted.Load(); n != 0 {
		t.Errorf("%d backends dialled", n)
	}
}

// A HelloRetryRequest brings a second ClientHello, which is the backend's and is not routed again.
func TestAHelloRetryRequestCrosses(t *testing.T) {
	b := startRouter(t, Config{})
	retried := make(chan bool, 1)
	cert := b.ca.leaf(t, "pass.routes.example.test")
	back := serveBackend(t, func(conn net.Conn) {
		server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: []tls.CurveID{tls.CurveP521}})
		if server.Handshake() == nil {
			retried <- server.ConnectionState().HelloRetryRequest
			echo(server, "pass")
		}
	})
	config := b.config
	config.Routes = []Route{{Name: "pass", SNI: []string{"pass.routes.example.test"}, Mode: ModePassthrough, Backend: Backend{Address: back.addr}}}
	if err := b.Reload(config); err != nil {
		t.Fatal(err)
	}
	for _, transport := range transports {
		conn := secure(t, b.stream(t, transport), b.clientConfig("pass.routes.example.test"))
		if got := readLine(t, conn); got != "pass" || !<-retried {
			t.Errorf("%s: reached %q without a HelloRetryRequest", transport, got)
		}
		<-b.hellos
		select {
		case e := <-b.hellos:
			t.Errorf("%s: the second hello was routed: %+v", transport, e)
		default:
		}
		conn.Close()
	}
}
