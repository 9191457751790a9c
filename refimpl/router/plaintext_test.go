package router

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	askSSL = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	askGSS = "\x00\x00\x00\x08\x04\xd2\x16\x30"
	cancel = "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x12\x34KEY!"
)

// exchange writes, and expects these bytes back.
func exchange(t *testing.T, conn net.Conn, say, want string) {
	t.Helper()
	if _, err := io.WriteString(conn, say); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("answer to %q: %q, %v; want %q", say, got, err, want)
	}
}

// postgresRouter has a default route "pg" with a plain backend, and a route "raw" that passes through to a server which, as
// PostgreSQL does, wants an SSLRequest before its TLS.
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
	b := startRouter(t, Config{
		Routes: []Route{
			{Name: "other", ALPN: []string{"x"}, Mode: ModePassthrough, Backend: Backend{Address: "127.0.0.1:1"}},
			{Name: "pg", Mode: ModePassthrough, Backend: Backend{Address: back.addr}},
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

func TestAnSSHBannerReachesItsRoute(t *testing.T) {
	ssh := echoBackend(t, "ssh")
	b := startRouter(t, Config{
		Routes:    []Route{{Name: "ssh", ALPN: []string{"ssh"}, Mode: ModeTerminate, Backend: Backend{Address: ssh.addr, SendProxy: Off}}},
		Plaintext: Plaintext{SSH: "ssh"},
	})
	for _, transport := range []string{"direct", "alpn"} {
		conn := b.stream(t, transport)
		exchange(t, conn, "SSH-2.0-test\r\n", "ssh\nSSH-2.0-test\r\n")
		conn.Close()
		b.log.wait(t, "route=ssh", "outcome=joined")
	}
}

// serverFirst is a router that takes a client for one of "mysql" after so long.
func serverFirst(t *testing.T, after time.Duration) (b *bench, mysql *backend) {
	t.Helper()
	mysql = echoBackend(t, "mysql")
	web := echoBackend(t, "web")
	return startRouter(t, Config{
		Routes: []Route{
			{Name: "mysql", ALPN: []string{"mysql"}, Mode: ModeTerminate, Backend: Backend{Address: mysql.addr}},
			{Name: "web", ALPN: []string{"web"}, Mode: ModeTerminate, Backend: Backend{Address: web.addr}},
		},
		Plaintext: Plaintext{ServerFirst: ServerFirst{Route: "mysql", After: Duration(after)}},
	}), mysql
}

func TestAClientThatWaitsForTheServerReachesItsRoute(t *testing.T) {
	b, _ := serverFirst(t, 20*time.Millisecond)
	conn := b.tcp(t)
	if got := readLine(t, conn); got != "mysql" {
		t.Errorf("reached %q", got)
	}
	roundTrip(t, conn, "login")
	_ = conn.CloseWrite()
	if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
		t.Errorf("after the end: read %q, %v", rest, err)
	}
	b.log.wait(t, "route=mysql", "outcome=joined", "cause=eof")
}

func TestAClientThatSaysNothingBehindItsPROXYHeaderKeepsItsAddress(t *testing.T) {
	back := echoBackend(t, "mysql")
	b := startRouter(t, Config{
		Routes:        []Route{{Name: "mysql", Mode: ModeTerminate, Backend: Backend{Address: back.addr}}},
		Plaintext:     Plaintext{ServerFirst: ServerFirst{Route: "mysql", After: Duration(20 * time.Millisecond)}},
		ProxyProtocol: ProxyProtocol{Mode: "required", Trusted: []string{"127.0.0.0/8"}},
	})
	conn := b.tcp(t)
	exchange(t, conn, "PROXY TCP4 198.51.100.7 10.0.0.1 7 443\r\n", "mysql\n")
	conn.Close()
	b.log.wait(t, "route=mysql", "source=198.51.100.7:7", "outcome=joined")
}

func TestAClientThatSpeaksInTimeIsRoutedByWhatItSays(t *testing.T) {
	b, mysql := serverFirst(t, patience/2)
	slow := b.tcp(t)
	_, _ = slow.Write([]byte{22})
	for _, stream := range []net.Conn{&skipFirst{Conn: slow}, b.stream(t, "websocket"), b.stream(t, "http alpn")} {
		if got := readLine(t, secure(t, stream, b.clientConfig("x.routes.example.test", "web"))); got != "web" {
			t.Errorf("reached %q", got)
		}
		<-b.hellos
	}
	// A port scan, or a health check, that leaves in time is nobody's client.
	b.tcp(t).Close()
	b.log.wait(t, "outcome=silent", "cause=EOF")
	if mysql.accepted.Load() != 0 {
		t.Error("reached the backend")
	}
}

func TestSilenceIsOverWithTheFirstByte(t *testing.T) {
	for name, test := range map[string]struct {
		say  time.Duration // when the first byte comes
		took time.Duration
		mute bool
	}{
		"in time":  {99 * time.Millisecond, 99 * time.Millisecond, false},
		"too late": {101 * time.Millisecond, 100 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer, conn := net.Pipe()
				defer peer.Close()
				time.AfterFunc(test.say, func() { _, _ = peer.Write([]byte{22}) })
				began := time.Now()
				conn, mute := silent(conn, 100*time.Millisecond)
				defer conn.Close()
				if took := time.Since(began); mute != test.mute || took != test.took {
					t.Errorf("silent: %v after %v", mute, took)
				}
				var one [1]byte
				if _, err := io.ReadFull(conn, one[:]); err != nil || one[0] != 22 {
					t.Errorf("then read %v, %v", one, err)
				}
			})
		})
	}
	peer, conn := net.Pipe()
	peer.Close()
	if _, mute := silent(conn, patience); mute {
		t.Error("a client that has left is silent")
	}
}

func TestH2WithoutTLSIsAnsweredLikeH2WithTLS(t *testing.T) {
	b := startRouter(t, Config{})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	for _, transport := range []string{"direct", "websocket"} {
		rt := &http.Transport{
			Protocols:   protocols,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return b.stream(t, transport), nil },
		}
		for path, want := range map[string]int{"/": http.StatusNotFound, DefaultUpgradePath: http.StatusHTTPVersionNotSupported} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ownName+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := rt.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.ProtoMajor != 2 || resp.StatusCode != want {
				t.Errorf("%s %s: HTTP/%d status %d, want %d", transport, path, resp.ProtoMajor, resp.StatusCode, want)
			}
		}
		rt.CloseIdleConnections()
		b.log.wait(t, "outcome=http", "no upgrade possible")
	}
}

func TestPlaintextRoutesAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Config){
		`plaintext.postgres: there is no route "x"`:                                   func(c *Config) { c.Plaintext.Postgres = "x" },
		`plaintext.ssh: there is no route "x"`:                                        func(c *Config) { c.Plaintext.SSH = "x" },
		`plaintext.server_first.route: there is no route "x"`:                         func(c *Config) { c.Plaintext.ServerFirst.Route = "x" },
		`plaintext.server_first.route: is required`:                                   func(c *Config) { c.Plaintext.ServerFirst.After = 1 },
		`plaintext.server_first.after: -1ns is negative`:                              func(c *Config) { c.Plaintext.ServerFirst = ServerFirst{"b", -1} },
		`plaintext.server_first.after: 10s is not shorter than limits.client_hello`:   func(c *Config) { c.Plaintext.ServerFirst = ServerFirst{"b", Duration(10 * time.Second)} },
		`plaintext.ssh: route "c" requires a client certificate`:                      func(c *Config) { c.Plaintext.SSH = "c" },
		`plaintext.server_first.route: route "c" requires a client certificate`:       func(c *Config) { c.Plaintext.ServerFirst.Route = "c" },
		`plaintext.postgres: route "b" does not take ALPN "postgresql"`:               func(c *Config) { c.Plaintext.Postgres = "b" },
		`plaintext.server_first: proxy_protocol.mode optional waits for a client's f`: func(c *Config) { c.Plaintext.ServerFirst.Route, c.ProxyProtocol.Mode = "b", "optional" },
	} {
		c := Config{Listen: ":0", Routes: []Route{
			{Name: "a", ALPN: []string{"post*"}, Mode: ModePassthrough, Backend: Backend{Address: "127.0.0.1:1"}},
			{Name: "b", ALPN: []string{"postgresql*"}, Mode: ModePassthrough, Backend: Backend{Address: "127.0.0.1:1"}},
			{Name: "c", ALPN: []string{"c"}, Mode: ModeTerminate, ClientAuth: ClientAuth{Mode: AuthRequire}, Backend: Backend{Address: "127.0.0.1:1"}},
		}}
		c.Plaintext.Postgres = "a"
		change(&c)
		if _, err := New(c, Options{}); err == nil || !strings.Contains("\n"+err.Error(), "\n"+want) {
			t.Errorf("no fault begins with %q in:\n%v", want, err)
		}
	}
	written := `{"postgres": "a", "ssh": "b", "server_first": {"route": "b", "after": "200ms"}}`
	want := Plaintext{Postgres: "a", SSH: "b", ServerFirst: ServerFirst{"b", Duration(200 * time.Millisecond)}}
	if got := decode(t, `{"plaintext": `+written+`}`).Plaintext; got != want {
		t.Errorf("%s is read as %+v", written, got)
	}
	if data, err := json.Marshal(Config{}); err != nil || bytes.Contains(data, []byte("plaintext")) {
		t.Errorf("what was left out is written as %s, %v", data, err)
	}
	if c := (Config{}).withDefaults(nil); c.Plaintext != (Plaintext{}) {
		t.Errorf("what was left out becomes %+v", c.Plaintext)
	}
	if c := (Config{Plaintext: Plaintext{ServerFirst: ServerFirst{Route: "b"}}}).withDefaults(nil); c.Plaintext.ServerFirst.After != Duration(DefaultServerFirst) {
		t.Errorf("the default silence is %s", c.Plaintext.ServerFirst.After)
	}
}
