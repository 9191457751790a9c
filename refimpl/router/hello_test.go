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

// A HelloRetryRequest brings a second ClientHello. It is the router's own on a terminate route and the backend's on a passthrough one, and
// is not routed again: one connection reaches one backend, whichever of the two asked.
func TestAHelloRetryRequestDialsOneBackend(t *testing.T) {
	taken := []tls.CurveID{tls.CurveP521} // crypto/tls sends no share of it unless it has nothing else
	b := startRouter(t, Config{TLS: TLS{Curves: []string{"P-521"}}})
	cert := b.ca.leaf(t, "passthrough.routes.example.test")
	backends := map[string]*backend{
		ModeTerminate: echoBackend(t, ModeTerminate),
		ModePassthrough: serveBackend(t, func(conn net.Conn) {
			server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: taken})
			if server.Handshake() == nil {
				echo(server, ModePassthrough)
			}
		}),
		"other": echoBackend(t, "other"), // takes what is not routed by the whole name
	}
	config := b.config
	config.Routes = []Route{{
		Name: "other", SNI: []string{"*.routes.example.test"}, Mode: ModePassthrough, Backend: Backend{Address: backends["other"].addr},
	}}
	for _, mode := range []string{ModeTerminate, ModePassthrough} {
		config.Routes = append(config.Routes, Route{
			Name: mode, SNI: []string{mode + ".routes.example.test"}, Mode: mode, Backend: Backend{Address: backends[mode].addr},
		})
	}
	if err := b.Reload(config); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{ModeTerminate, ModePassthrough} {
		for _, transport := range transports {
			for _, want := range []bool{true, false} {
				client := b.clientConfig(mode + ".routes.example.test")
				if !want {
					client.CurvePreferences = taken
				}
				dialled := backends[mode].accepted.Load()
				conn := secure(t, b.stream(t, transport), client)
				if got := conn.ConnectionState().HelloRetryRequest; got != want {
					t.Errorf("%s, %s: HelloRetryRequest %v, want %v", mode, transport, got, want)
				}
				if got := readLine(t, conn); got != mode {
					t.Errorf("%s, %s: reached %q", mode, transport, got)
				}
				roundTrip(t, conn, "and on")
				conn.Close()
				if e := <-b.hellos; e.Route != mode {
					t.Errorf("%s, %s: hello event %+v", mode, transport, e)
				}
				select {
				case e := <-b.hellos:
					t.Errorf("%s, %s: the second hello was routed: %+v", mode, transport, e)
				default:
				}
				if n := backends[mode].accepted.Load() - dialled; n != 1 {
					t.Errorf("%s, %s: the backend was dialled %d times", mode, transport, n)
				}
			}
		}
	}
	if n := backends["other"].accepted.Load(); n != 0 {
		t.Errorf("another backend was dialled %d times", n)
	}
}

// An inner ClientHello (RFC 9849 section 7) is a backend's business. crypto/tls would confirm it to whoever sends one.
func TestAnInnerClientHelloFromTheNetworkIsRefused(t *testing.T) {
	back := echoBackend(t, "any")
	b := startRouter(t, Config{Routes: []Route{
		{Name: "terminate", ALPN: []string{"end"}, Mode: ModeTerminate, Backend: Backend{Address: back.addr}},
		{Name: "pass", ALPN: []string{"pass"}, Mode: ModePassthrough, Backend: Backend{Address: back.addr}},
	}})
	for alpn, want := range map[string]string{"end": "\x15\x03\x03\x00\x02\x02\x2f", "nobody": "\x15\x03\x03\x00\x02\x02\x2f", "pass": "any"} {
		ours, theirs := net.Pipe()
		go func() {
			_ = tls.Client(theirs, &tls.Config{ServerName: "inner.routes.example.test", NextProtos: []string{alpn}}).Handshake()
		}()
		record := make([]byte, 5)
		if _, err := io.ReadFull(ours, record); err != nil {
			t.Fatal(err)
		}
		hello := make([]byte, int(record[3])<<8|int(record[4]))
		if _, err := io.ReadFull(ours, hello); err != nil {
			t.Fatal(err)
		}
		_ = ours.Close()
		conn := b.stream(t, "direct")
		if _, err := conn.Write(inner(hello)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); string(got) != want || err != nil {
			t.Errorf("%s: read %q, %v; want %q", alpn, got, err, want)
		}
	}
	if n := back.accepted.Load(); n != 1 {
		t.Errorf("%d backends dialled, want that of the passthrough route", n)
	}
}

// inner adds the extension to a hello and returns it as a record.
func inner(hello []byte) []byte {
	grow := func(b []byte, by int) {
		n := int(b[0])<<8 | int(b[1])
		b[0], b[1] = byte((n+by)>>8), byte(n+by)
	}
	ext := "\xfe\x0d\x00\x01\x01"
	at := 4 + 2 + 32
	at += 1 + int(hello[at])
	at += 2 + (int(hello[at])<<8 | int(hello[at+1]))
	at += 1 + int(hello[at])
	grow(hello[at:], len(ext))
	grow(hello[2:], len(ext))
	hello = append(hello, ext...)
	return append([]byte{22, 3, 1, byte(len(hello) >> 8), byte(len(hello))}, hello...)
}
