package router

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/route"
)

// TestRouterFollowsTheTable is the table of DESIGN.md, section 5, over every transport.
func TestRouterFollowsTheTable(t *testing.T) {
	pg, ssh, web := echoBackend(t, "pg"), echoBackend(t, "ssh"), echoBackend(t, "web")
	b := startRouter(t, Config{Routes: []Route{
		{
			Name: "pg", SNI: []string{"pg.routes.example.test"}, ALPN: []string{"teleport-postgres", "other"},
			Mode: ModeTerminate, Backend: Backend{Address: pg.addr},
		},
		{
			Name: "web", SNI: []string{"*.routes.example.test"}, ALPN: []string{"http/1.1"}, Mode: ModeTerminate,
			Backend: Backend{Address: web.addr},
		},
		{Name: "ssh", ALPN: []string{"teleport-proxy-ssh"}, Mode: ModeTerminate, Backend: Backend{Address: ssh.addr}},
	}})
	for _, test := range []struct {
		name string
		sni  string
		alpn []string
		want string // the backend, or "" when refused
		back string // the ALPN that is confirmed
		code uint8
	}{
		{"name and ALPN of a route", "pg.routes.example.test", []string{"teleport-postgres"}, "pg", "teleport-postgres", 0},
		{"the case of a name means nothing", "PG.Routes.example.TEST", []string{"other"}, "pg", "other", 0},
		{"the client's order decides", "pg.routes.example.test", []string{"nobody", "other", "teleport-postgres"}, "pg", "other", 0},
		{"ALPN of a route without sni, unknown name", "what.ever.test", []string{"teleport-proxy-ssh"}, "ssh", "teleport-proxy-ssh", 0},
		{"ALPN of a route without sni, no name", "", []string{"teleport-proxy-ssh"}, "ssh", "teleport-proxy-ssh", 0},
		{"a route's name and nobody's ALPN", "pg.routes.example.test", []string{"nobody"}, "", "", 120},
		{"no ALPN counts as http/1.1 and is not confirmed", "a.routes.example.test", nil, "web", "", 0},
		{"a name nobody knows", "nobody.example.test", []string{"http/1.1"}, "", "", 112},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, transport := range transports {
				before := pg.accepted.Load() + ssh.accepted.Load() + web.accepted.Load()
				config := b.clientConfig(test.sni, test.alpn...)
				config.InsecureSkipVerify = true // the names of the last rows are in no certificate
				conn := tls.Client(b.stream(t, transport), config)
				err := conn.Handshake()
				event := <-b.hellos
				if event.SNI != test.sni || event.Route != test.want || event.Tunnel != (transport != "direct") {
					t.Errorf("%s: hello event %+v", transport, event)
				}
				if test.want == "" {
					if got := alertOf(err); got != test.code {
						t.Errorf("%s: got %v, want alert %d", transport, got, test.code)
					}
					if after := pg.accepted.Load() + ssh.accepted.Load() + web.accepted.Load(); after != before {
						t.Errorf("%s: a backend was dialled", transport)
					}
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", transport, err)
				}
				if got := conn.ConnectionState().NegotiatedProtocol; got != test.back {
					t.Errorf("%s: ALPN %q confirmed, want %q", transport, got, test.back)
				}
				if got := readLine(t, conn); got != test.want {
					t.Errorf("%s: reached %q, want %q", transport, got, test.want)
				}
				roundTrip(t, conn, "hello")
				conn.Close()
			}
		})
	}
}

func TestRouterConfirmsTheProbeForAnyName(t *testing.T) {
	pass := echoBackend(t, "pass")
	b := startRouter(t, Config{Routes: []Route{
		{Name: "pass", SNI: []string{"pass.routes.example.test"}, Mode: ModePassthrough, Backend: Backend{Address: pass.addr}},
	}})
	for _, name := range []string{"", ownName, "nobody.knows.test", "pass.routes.example.test"} {
		config := b.clientConfig(name, route.ProbeALPN)
		config.InsecureSkipVerify = true
		conn := secure(t, b.tcp(t), config)
		if got := conn.ConnectionState().NegotiatedProtocol; got != route.ProbeALPN {
			t.Errorf("%q: ALPN %q confirmed", name, got)
		}
		_ = conn.CloseWrite()
		// Politely means with close_notify: anything else is an error here.
		if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
			t.Errorf("%q: read %q, %v", name, rest, err)
		}
	}
	if pass.accepted.Load() != 0 {
		t.Error("a probe reached a backend")
	}
}

// recorder keeps what was written.
type recorder struct {
	net.Conn
	sent bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.sent.Write(p)
	return r.Conn.Write(p)
}

func TestPassthroughReplaysTheHelloUnmodified(t *testing.T) {
	got := make(chan [32]byte, 1)
	b := startRouter(t, Config{})
	cert := b.ca.leaf(t, "pass.routes.example.test")
	back := serveBackend(t, func(conn net.Conn) {
		rec := &readRecorder{Conn: conn}
		secure := tls.Server(rec, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"x"}})
		if secure.Handshake() != nil {
			return
		}
		first := rec.got.Bytes()
		n := 5 + int(first[3])<<8 + int(first[4]) // the first record is the whole hello here
		got <- sha256.Sum256(first[:n])
		echo(secure, "pass")
	})
	config := b.config
	config.Routes = []Route{{
		Name: "pass", SNI: []string{"pass.routes.example.test"}, Mode: ModePassthrough, Backend: Backend{Address: back.addr},
	}}
	if err := b.Reload(config); err != nil {
		t.Fatal(err)
	}
	for _, transport := range transports {
		rec := &recorder{Conn: b.stream(t, transport)}
		conn := secure(t, rec, b.clientConfig("pass.routes.example.test", "x"))
		sent := rec.sent.Bytes()
		n := 5 + int(sent[3])<<8 + int(sent[4])
		if sum := <-got; sum != sha256.Sum256(sent[:n]) {
			t.Errorf("%s: the backend read another ClientHello than the client wrote", transport)
		}
		if name := readLine(t, conn); name != "pass" {
			t.Errorf("%s: reached %q", transport, name)
		}
		roundTrip(t, conn, "through")
		if e := <-b.hellos; e.ClientCert || e.Route != "pass" {
			t.Errorf("%s: hello event %+v", transport, e)
		}
		conn.Close()
	}
}

type readRecorder struct {
	net.Conn
	got bytes.Buffer
}

func (r *readRecorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.got.Write(p[:n])
	return n, err
}

// dribble sends every Write in pieces, each a TLS record and a segment of its own where it carries handshake messages.
type dribble struct {
	net.Conn
	records, segments int
}

func (d *dribble) Write(p []byte) (int, error) {
	out := p
	if d.records > 0 && p[0] == 22 {
		out = nil
		body := p[5 : 5+(int(p[3])<<8|int(p[4]))]
		rest := p[5+len(body):]
		for len(body) > 0 {
			n := min(d.records, len(body))
			out = append(append(out, p[0], p[1], p[2], byte(n>>8), byte(n)), body[:n]...)
			body = body[n:]
		}
		out = append(out, rest...)
	}
	for len(out) > 0 {
		n := min(d.segments, len(out))
		if _, err := d.Conn.Write(out[:n]); err != nil {
			return 0, err
		}
		out = out[n:]
	}
	return len(p), nil
}

func TestRouterReadsASplitClientHello(t *testing.T) {
	pg := echoBackend(t, "pg")
	b := startRouter(t, Config{Routes: []Route{
		{
			Name: "pg", SNI: []string{"pg.routes.example.test"}, ALPN: []string{"pg"}, Mode: ModeTerminate,
			Backend: Backend{Address: pg.addr},
		},
	}})
	for _, test := range []struct {
		name              string
		records, segments int
	}{
		{"segments of 100", 0, 100},
		{"segments of 1", 0, 1},
		{"records of 700", 700, 4096},
		{"records of 3 in segments of 7", 3, 7},
		{"records of 1", 1, 4096},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, transport := range []string{"direct", "websocket", "http alpn"} {
				conn := secure(t, &dribble{b.stream(t, transport), test.records, test.segments}, b.clientConfig("pg.routes.example.test", "pg"))
				if got := readLine(t, conn); got != "pg" {
					t.Errorf("%s: reached %q", transport, got)
				}
				<-b.hellos
			}
		})
	}
}

func TestRouterClosesWhatItDoesNotKnow(t *testing.T) {
	b := startRouter(t, Config{Limits: Limits{ClientHelloTimeout: Duration(150 * time.Millisecond)}})
	for _, opener := range []string{
		"SSH-2.0-x\r\n", "\x00\x00\x00\x08\x04\xd2\x16\x2f", "\x00\x00\x00\x08\x04\xd2\x16\x30",
		"\x00\x00\x00\x10\x04\xd2\x16\x2e12345678",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "\x01\x02\x03\x04\x05", "", "\x16\x03\x01\x02\x00\x01",
	} {
		conn := b.tcp(t)
		if _, err := io.WriteString(conn, opener); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
			t.Errorf("%q: read %q, %v", opener, rest, err)
		}
	}
}
