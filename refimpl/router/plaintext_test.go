package router

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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
	_ = conn.CloseWrite()
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
	_ = b.tcp(t).Close()
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
		for path, want := range map[string]int{"/": http.StatusNotFound, DefaultUpgradePath: http.StatusHTTPVersionNotSupported} {
			rt := &http.Transport{ // one a request: it would dial for a second one and not wait for it to be done
				Protocols:   protocols,
				DialContext: func(context.Context, string, string) (net.Conn, error) { return b.stream(t, transport), nil },
			}
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
			rt.CloseIdleConnections()
		}
		b.log.wait(t, "outcome=http", "no upgrade possible")
	}
}

func TestPlaintextRoutesAreChecked(t *testing.T) {
	first := func(route string, after time.Duration) func(*Config) {
		return func(c *Config) { c.Plaintext.ServerFirst = ServerFirst{route, Duration(after)} }
	}
	postgres := func(route string) func(*Config) { return func(c *Config) { c.Plaintext.Postgres = route } }
	ssh := func(route string) func(*Config) { return func(c *Config) { c.Plaintext.SSH = route } }
	for want, change := range map[string]func(*Config){
		`plaintext.postgres: there is no route "x"`:                                 postgres("x"),
		`plaintext.postgres: route "b" does not take ALPN "postgresql"`:             postgres("b"),
		`plaintext.ssh: there is no route "x"`:                                      ssh("x"),
		`plaintext.ssh: route "c" requires a client certificate`:                    ssh("c"),
		`plaintext.ssh: route "d" asks its backend for the TLS of the client`:       ssh("d"),
		`plaintext.server_first.route: there is no route "x"`:                       first("x", 0),
		`plaintext.server_first.route: route "c" requires a client certificate`:     first("c", 0),
		`plaintext.server_first.route: is required`:                                 first("", 1),
		`plaintext.server_first.after: -1ns is negative`:                            first("b", -1),
		`plaintext.server_first.after: 10s is not shorter than limits.client_hello`: first("b", DefaultClientHelloTimeout),
		`plaintext.server_first: proxy_protocol.mode optional waits for a client's f`: func(c *Config) {
			c.Plaintext.ServerFirst.Route, c.ProxyProtocol.Mode = "b", "optional"
		},
	} {
		nowhere := Backend{Address: "127.0.0.1:1"}
		c := Config{Listen: ":0", Routes: []Route{
			{Name: "a", ALPN: []string{"post*"}, Mode: ModePassthrough, Backend: nowhere},
			{Name: "b", ALPN: []string{"postgresql*"}, Mode: ModePassthrough, Backend: nowhere},
			{Name: "c", ALPN: []string{"c"}, Mode: ModeTerminate, ClientAuth: ClientAuth{Mode: AuthRequire}, Backend: nowhere},
			{Name: "d", ALPN: []string{"d"}, Mode: ModePassthrough, Backend: Backend{Address: nowhere.Address, TLS: StartTLSPostgres}},
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
	c := Config{Plaintext: Plaintext{ServerFirst: ServerFirst{Route: "b"}}}.withDefaults(nil)
	if after := c.Plaintext.ServerFirst.After; after != Duration(DefaultServerFirst) {
		t.Errorf("the default silence is %s", after)
	}
}
