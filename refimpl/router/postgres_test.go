package router

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
)

const (
	askSSL = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	askGSS = "\x00\x00\x00\x08\x04\xd2\x16\x30"
	cancel = "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x12\x34KEY!"
)

// postgresRouter has a default route "pg" with a plain backend, and two, "raw" and "asked", that pass through to a server which, as
// PostgreSQL does, wants an SSLRequest before its TLS; "asked" sends one for clients that have not.
func postgresRouter(t *testing.T) (b *bench, pg, raw *backend) {
	t.Helper()
	pg = echoBackend(t, "pg")
	var cert tls.Certificate
	raw = serveBackend(t, func(conn net.Conn) {
		request := make([]byte, 8)
		if _, err := io.ReadFull(conn, request); err != nil || string(request) != askSSL {
			return
		}
		_, _ = io.WriteString(conn, "S")
		echo(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{postgresALPN}}), "raw")
	})
	web := echoBackend(t, "web")
	b = startRouter(t, Config{
		Routes: []Route{
			{
				Name: "pg", SNI: []string{"pg.routes.example.test"}, ALPN: []string{"teleport-postgres", "postgresql"},
				Mode: ModeTerminate, Backend: Backend{Address: pg.addr},
			},
			{
				Name: "raw", SNI: []string{"raw.routes.example.test"}, ALPN: []string{"postgresql"},
				Mode: ModePassthrough, Backend: Backend{Address: raw.addr},
			},
			{
				Name: "asked", SNI: []string{"asked.routes.example.test"}, ALPN: []string{"postgresql"},
				Mode: ModePassthrough, Backend: Backend{Address: raw.addr, TLS: StartTLSPostgres},
			},
			{
				Name: "web", SNI: []string{"web.routes.example.test"}, ALPN: []string{"http/1.1"},
				Mode: ModeTerminate, Backend: Backend{Address: web.addr},
			},
		},
		Plaintext: Plaintext{Postgres: "pg"},
	})
	cert = b.ca.leaf(t, "raw.routes.example.test") // no connection has been made yet
	return b, pg, raw
}

func TestPostgresClientsAreAnsweredAndRoutedByTheirHello(t *testing.T) {
	b, pg, raw := postgresRouter(t)
	for _, test := range []struct {
		name, sni string
		alpn      []string
		want      string // the backend, or "" when refused
		back      string // the ALPN that is confirmed
		code      uint8
	}{
		{"psql before 17: a name and no ALPN", "pg.routes.example.test", nil, "pg", "", 0},
		{"psql 17: a name and postgresql", "pg.routes.example.test", []string{"postgresql"}, "pg", "postgresql", 0},
		{"another name", "raw.routes.example.test", []string{"postgresql"}, "raw", "postgresql", 0},
		{"another name, no ALPN", "raw.routes.example.test", nil, "raw", "", 0},
		{"a backend that is asked anyway is not asked twice", "asked.routes.example.test", nil, "raw", "", 0},
		{"an address for a host, so no name", "", nil, "pg", "", 0},
		{"the same of psql 17", "", []string{"postgresql"}, "pg", "postgresql", 0},
		{"the router's own name", ownName, []string{"postgresql"}, "pg", "postgresql", 0},
		{"the router's own name, no ALPN", ownName, nil, "pg", "", 0},
		{"a name of no database", "web.routes.example.test", nil, "", "", 120},
		{"ALPN of nobody", "", []string{"nobody"}, "", "", 120},
		{"a name nobody knows", "nobody.test", nil, "", "", 112},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, transport := range []string{"direct", "websocket", "http alpn"} {
				before := pg.accepted.Load() + raw.accepted.Load()
				stream := b.stream(t, transport)
				exchange(t, stream, askGSS, "N")
				exchange(t, stream, askSSL, "S")
				config := b.clientConfig(test.sni, test.alpn...)
				config.InsecureSkipVerify = true // the name of the last row is in no certificate
				conn := tls.Client(stream, config)
				err := conn.Handshake()
				<-b.hellos
				if test.want == "" {
					if got := alertOf(err); got != test.code {
						t.Errorf("%s: got %v, want alert %d", transport, got, test.code)
					}
					if pg.accepted.Load()+raw.accepted.Load() != before {
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
				roundTrip(t, conn, "select")
				conn.Close()
			}
		})
	}
}

func TestPostgresClientMayGoOnWithoutWaiting(t *testing.T) {
	b, _, _ := postgresRouter(t)
	// The answer stands before the server's first record, and the hello in the segment of the request.
	conn := tls.Client(&headed{Conn: &skipRead{Conn: b.tcp(t), n: 1}, header: askSSL}, b.clientConfig("pg.routes.example.test"))
	if got := readLine(t, conn); got != "pg" {
		t.Errorf("reached %q", got)
	}
	<-b.hellos
	// PostgreSQL 17, sslnegotiation=direct.
	direct := secure(t, b.tcp(t), b.clientConfig("pg.routes.example.test", "postgresql"))
	if got := readLine(t, direct); got != "pg" {
		t.Errorf("direct TLS reached %q", got)
	}
	<-b.hellos
	// The rule for a hello without ALPN is for the one behind an SSLRequest alone.
	plain := tls.Client(b.tcp(t), b.clientConfig("pg.routes.example.test"))
	if got := alertOf(plain.Handshake()); got != uint8(120) {
		t.Errorf("without SSLRequest and ALPN: %v", got)
	}
	<-b.hellos
}

// A client behind a tunnel, such as one of ours, begins with its ClientHello: on a route that says so the backend is asked for TLS first.
func TestPostgresServersAreAskedForTLSByARouteThatSaysSo(t *testing.T) {
	b, _, raw := postgresRouter(t)
	for _, transport := range []string{"direct", "websocket", "http alpn"} {
		config := b.clientConfig("asked.routes.example.test", "postgresql")
		config.InsecureSkipVerify = true // the certificate is for another name
		conn := secure(t, b.stream(t, transport), config)
		if got := readLine(t, conn); got != "raw" {
			t.Errorf("%s: reached %q", transport, got)
		}
		roundTrip(t, conn, "select")
		<-b.hellos
	}
	// Without the word the server meets a ClientHello that it does not expect: the client learns of an end, and not of a success.
	before := raw.accepted.Load()
	config := b.clientConfig("raw.routes.example.test", "postgresql")
	if err := tls.Client(b.tcp(t), config).Handshake(); err == nil {
		t.Error("a server that waits for an SSLRequest has taken a ClientHello")
	}
	<-b.hellos
	if raw.accepted.Load() != before+1 {
		t.Error("it was not the server that refused")
	}
}

// skipRead takes n bytes out of what comes first.
type skipRead struct {
	net.Conn
	n int
}

func (s *skipRead) Read(p []byte) (int, error) {
	for ; s.n > 0; s.n-- {
		if _, err := io.ReadFull(s.Conn, make([]byte, 1)); err != nil {
			return 0, err
		}
	}
	return s.Conn.Read(p)
}

// CVE-2021-23214 and CVE-2021-23222: a startup message in the clear, before TLS or instead of it, reaches nobody.
func TestPlaintextBehindAnSSLRequestReachesNoBackend(t *testing.T) {
	b, pg, raw := postgresRouter(t)
	startup := "\x00\x00\x00\x13\x00\x03\x00\x00user\x00eve\x00\x00"
	for _, test := range []struct{ say, want string }{
		{askSSL + startup, "S"},
		{askSSL + askSSL, "S"},
		{askSSL + cancel, "S"},
		{askSSL + "GET / HTTP/1.1\r\n\r\n", "S"},
		{askGSS + startup, "N"},
		{askGSS + askGSS, "N"},
		{askGSS + "\x16\x03\x01", "N"},
		{startup, ""},
	} {
		conn := b.tcp(t)
		_, _ = io.WriteString(conn, test.say)
		if got, err := io.ReadAll(conn); string(got) != test.want || err != nil {
			t.Errorf("%q: read %q, %v; want %q", test.say, got, err, test.want)
		}
	}
	// Behind a proper handshake's ClientHello it breaks the handshake.
	conn := b.tcp(t)
	exchange(t, conn, askSSL, "S")
	inner := tls.Client(&inserted{Conn: conn, junk: startup}, b.clientConfig("pg.routes.example.test"))
	if err := inner.Handshake(); err == nil {
		_, err = io.ReadAll(inner)
		if err == nil {
			t.Error("a startup message in the clear is taken along")
		}
	}
	<-b.hellos
	if n := pg.accepted.Load() + raw.accepted.Load(); n != 0 {
		t.Errorf("%d backends dialled", n)
	}
}

// inserted puts junk behind the first write.
type inserted struct {
	net.Conn
	junk string
}

func (i *inserted) Write(p []byte) (int, error) {
	_, err := i.Conn.Write(append(bytes.Clone(p), i.junk...))
	i.junk = ""
	return len(p), err
}

func TestACancelRequestReachesTheDefaultRouteAndNothingBehindItDoes(t *testing.T) {
	got := make(chan string, 1)
	release := make(chan struct{})
	back := serveBackend(t, func(conn net.Conn) {
		request := make([]byte, 64)
		n, _ := io.ReadAtLeast(conn, request, len(cancel))
		got <- string(request[:n])
		<-release // as PostgreSQL, which closes once the signal is sent
	})
	for _, asks := range []string{Off, StartTLSPostgres} { // for the TLS of clients; there is none here
		b := startRouter(t, Config{
			Routes: []Route{
				{Name: "other", ALPN: []string{"x"}, Mode: ModePassthrough, Backend: Backend{Address: "127.0.0.1:1"}},
				{Name: "pg", Mode: ModePassthrough, Backend: Backend{Address: back.addr, TLS: asks}},
			},
			Plaintext: Plaintext{Postgres: "pg"},
		})
		for _, say := range []string{cancel, askGSS + cancel, cancel + "more"} {
			conn := b.tcp(t)
			_, _ = io.WriteString(conn, say)
			if request := <-got; request != cancel {
				t.Errorf("%q: the backend read %q", say, request)
			}
			release <- struct{}{}
			if rest, err := io.ReadAll(conn); strings.Trim(string(rest), "N") != "" || err != nil && !strings.HasSuffix(say, "more") {
				t.Errorf("%q: read %q, %v", say, rest, err)
			}
		}
		b.log.wait(t, "route=pg", "outcome=joined", "cause=CancelRequest", "in=16")
	}
}
