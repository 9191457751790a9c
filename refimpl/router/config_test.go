package router

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// document is that of DESIGN.md, section 5, as JSON.
const document = `{
	"listen": "127.0.0.1:8443",
	"admin": "127.0.0.1:8444",
	"certificates": [{"cert": "web.pem", "key": "web.key"}],
	"upgrade": {"path": "/webapi/connectionupgrade", "types": ["websocket", "alpn", "alpn-ping"], "ping_interval": "30s"},
	"routes": [{
		"name": "postgres", "sni": ["pg.example.test"], "alpn": ["teleport-postgres", "teleport-postgres-ping"], "mode": "terminate",
		"client_auth": {"mode": "require", "ca": "clients.pem"},
		"backend": {"address": "127.0.0.1:5432", "tls": "off", "send_proxy": "off"}
	}],
	"proxy_protocol": {"mode": "off", "trusted": ["127.0.0.0/8"]},
	"forwarded_for": {"trusted": ["127.0.0.0/8"]},
	"limits": {"client_hello_timeout": "10s", "client_hello_bytes": 65536, "connections": 0, "connections_per_ip": 0, "header_bytes": 32768},
	"drain": {"timeout": "30s"}
}`

func decode(t *testing.T, text string) Config {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	var c Config
	if err := decoder.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigIsTheDocumentOfTheDesign(t *testing.T) {
	got := decode(t, document)
	want := Config{
		Listen: "127.0.0.1:8443", Admin: "127.0.0.1:8444",
		Certificates: []Certificate{{"web.pem", "web.key"}},
		Upgrade:      Upgrade{"/webapi/connectionupgrade", []string{"websocket", "alpn", "alpn-ping"}, Duration(30 * time.Second), 0, false},
		Routes: []Route{{
			Name: "postgres", SNI: []string{"pg.example.test"}, ALPN: []string{"teleport-postgres", "teleport-postgres-ping"},
			Mode:       "terminate",
			ClientAuth: ClientAuth{"require", "clients.pem"}, Backend: Backend{Address: "127.0.0.1:5432", TLS: "off", SendProxy: "off"},
		}},
		ProxyProtocol: ProxyProtocol{"off", []string{"127.0.0.0/8"}},
		ForwardedFor:  ForwardedFor{[]string{"127.0.0.0/8"}},
		Limits:        Limits{Duration(10 * time.Second), 65536, 0, 0, 32768},
		Drain:         Drain{Duration(30 * time.Second)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, decode(t, string(data))); diff != "" {
		t.Errorf("written and read back: %s", diff)
	}
}

func TestDefaultsAreThoseOfTheDesign(t *testing.T) {
	short := decode(t, `{"listen": "127.0.0.1:8443", "admin": "127.0.0.1:8444",
		"certificates": [{"cert": "web.pem", "key": "web.key"}],
		"routes": [{"name": "r", "mode": "passthrough", "backend": {"address": "127.0.0.1:5432"}}]}`)
	full := decode(t, document)
	full.Routes = []Route{{
		Name: "r", Mode: "passthrough", ClientAuth: ClientAuth{Mode: "none"},
		Backend: Backend{Address: "127.0.0.1:5432", DialTimeout: Duration(10 * time.Second), TLS: "off", SendProxy: "off"},
	}}
	full.TLS.MinVersion, full.TLS.SessionTickets = "1.2", "on"
	full.ProxyProtocol.Trusted, full.ForwardedFor.Trusted = nil, nil
	full.Upgrade.PongTimeout = Duration(5 * time.Minute)
	if diff := cmp.Diff(full, short.withDefaults([]string{"websocket", "alpn", "alpn-ping"})); diff != "" {
		t.Error(diff)
	}
}

func TestDurationsAreStrings(t *testing.T) {
	for _, bad := range []string{`30`, `"30"`, `"soon"`, `null1`} {
		var d Duration
		if err := json.Unmarshal([]byte(bad), &d); err == nil {
			t.Errorf("%s is taken for %v", bad, d)
		}
	}
}

func TestResolveLeavesAbsolutePathsAlone(t *testing.T) {
	c := Config{
		Certificates: []Certificate{{Cert: "a.pem", Key: "/b.key"}},
		Routes:       []Route{{ClientAuth: ClientAuth{CA: "sub/ca.pem"}}, {}},
	}
	c.Resolve("/etc/router")
	got := []string{c.Certificates[0].Cert, c.Certificates[0].Key, c.Routes[0].ClientAuth.CA, c.Routes[1].ClientAuth.CA}
	if diff := cmp.Diff([]string{"/etc/router/a.pem", "/b.key", "/etc/router/sub/ca.pem", ""}, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryFaultIsNamedAtOnce(t *testing.T) {
	good := pair(t, newAuthority(t).leaf(t, "a.test"))
	route := func(change func(*Route)) Route {
		r := Route{Name: "r", Mode: ModeTerminate, Backend: Backend{Address: "127.0.0.1:1"}}
		change(&r)
		return r
	}
	missing := filepath.Join(t.TempDir(), "x.pem")
	_, err := New(Config{
		Listen:       "nowhere",
		Certificates: []Certificate{good, {Cert: missing, Key: good.Key}, {Cert: good.Key, Key: good.Key}, {}},
		Upgrade:      Upgrade{Path: "x", Types: []string{"alpn", "alpn", "h2c"}, PingInterval: -1, PongTimeout: -1},
		Routes: []Route{
			route(func(r *Route) { r.Name = "" }),
			route(func(r *Route) { r.Mode, r.ALPN = "tunnel", []string{"a", ""} }),
			route(func(r *Route) { r.SNI = []string{"a b"} }),
			route(func(r *Route) {
				r.Name, r.ALPN, r.ClientAuth = "ca", []string{"b"}, ClientAuth{Mode: AuthRequire, CA: missing}
			}),
			route(func(r *Route) { r.Name, r.ALPN, r.ClientAuth = "noca", []string{"c"}, ClientAuth{Mode: AuthRequire} }),
			route(func(r *Route) { r.Name, r.ALPN, r.ClientAuth = "idle", []string{"d"}, ClientAuth{CA: good.Cert} }),
			route(func(r *Route) {
				r.Name, r.ALPN, r.Mode, r.ClientAuth, r.Backend.TLS = "pass", []string{"e"}, ModePassthrough, ClientAuth{Mode: AuthRequest}, TLSOn
			}),
			route(func(r *Route) {
				r.Name, r.ALPN, r.Backend = "b", []string{"f"}, Backend{Address: "127.0.0.1", TLS: "maybe", SendProxy: "v3"}
			}),
			route(func(r *Route) { r.Name, r.ALPN, r.Backend = "z", []string{"g"}, Backend{Address: "127.0.0.1:0"} }),
			route(func(r *Route) {
				r.Name, r.ALPN, r.Mode, r.Backend.TLS, r.Backend.ServerName = "ask", []string{"h"}, ModePassthrough, StartTLSPostgres, "x"
			}),
		},
		ProxyProtocol: ProxyProtocol{Mode: "required"},
		ForwardedFor:  ForwardedFor{Trusted: []string{"10.0.0.1", "10.0.0.0/40"}},
		Limits:        Limits{ClientHelloTimeout: -1, ClientHelloBytes: -1, Connections: -1, ConnectionsPerIP: -1, HeaderBytes: -1},
		Drain:         Drain{Timeout: -1},
	}, Options{})
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{
		"listen: ", "certificates[1].cert: open " + missing + ": no such file or directory", "certificates[2]: ",
		"certificates[3].cert: is required", "certificates[3].key: is required",
		"upgrade.path: ", "upgrade.types[1]: ", "upgrade.types[2]: ", "upgrade.ping_interval: ", "upgrade.pong_timeout: ",
		"routes[0].name: ", "routes[1].mode: ", "routes[1].alpn[1]: ", "routes[2].name: ", "routes[2].sni[0]: ",
		"routes[3].client_auth.ca: open " + missing + ": no such file or directory", "routes[4].client_auth.ca: is required",
		"routes[5].client_auth.mode: ", "routes[6].client_auth.mode: ", "routes[6].backend.tls: ",
		"routes[7].backend.address: ", "routes[7].backend.tls: ", "routes[7].backend.send_proxy: ", "routes[8].backend.address: ",
		"routes[9].backend.tls: a passthrough route sends the client's own TLS to the backend: ca, cert",
		"proxy_protocol.trusted: ", "forwarded_for.trusted[1]: ",
		"limits.client_hello_timeout: ", "limits.client_hello_bytes: ", "limits.connections: ", "limits.connections_per_ip: ",
		"limits.header_bytes: ", "drain.timeout: ",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+want) {
			t.Errorf("no fault begins with %q", want)
		}
	}
	if t.Failed() {
		t.Logf("the faults:\n%v", err)
	}
	if _, err := New(Config{Listen: ":0", Admin: ":0"}, Options{}); err == nil || !strings.HasPrefix(err.Error(), "admin: ") {
		t.Errorf("an admin port without a handler: %v", err)
	}
}
