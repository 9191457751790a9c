package router

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEveryFaultOfABackendIsNamed(t *testing.T) {
	good := pair(t, newAuthority(t).leaf(t, "a.test"))
	missing := filepath.Join(t.TempDir(), "x.pem")
	const address = "127.0.0.1:1"
	for _, test := range []struct {
		backend Backend
		want    string
	}{
		{Backend{}, "address: is required"},
		{Backend{Addresses: []string{}}, "addresses: at least one is required"},
		{Backend{Address: address, Addresses: []string{address}}, "addresses: address and addresses exclude each other"},
		{Backend{Addresses: []string{address, "nowhere"}}, `addresses[1]: "nowhere" is not host:port`},
		{Backend{Address: address, DialTimeout: -1}, "dial_timeout: "},
		{Backend{Address: address, Health: Health{Interval: -1}}, "health.interval: "},
		{Backend{Address: address, TLS: TLSOn, CA: missing}, "ca: open "},
		{Backend{Address: address, TLS: TLSOn, CA: good.Key}, "ca: " + good.Key + ": no certificate in PEM form"},
		{Backend{Address: address, TLS: TLSOn, Cert: good.Cert}, "cert: cert and key go together"},
		{Backend{Address: address, TLS: TLSOn, Cert: missing, Key: good.Key}, "cert: open "},
		{Backend{Address: address, CA: good.Cert}, "ca: needs tls, which is off"},
		{Backend{Address: address, ServerName: "a.test"}, "server_name: needs tls, which is off"},
		{Backend{Address: address, TLS: TLSOn, ALPN: strings.Repeat("a", 256)}, "alpn: "},
	} {
		r := echoRoute("")
		r.Backend = test.backend
		_, err := New(Config{Listen: ":0", Certificates: []Certificate{good}, Routes: []Route{r}}, Options{})
		if err == nil || !strings.HasPrefix(err.Error(), "routes[0].backend."+test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v:\n%v\nwant one fault, %s", test.backend, err, test.want)
		}
	}
}

func TestEveryFaultOfTerminationIsNamed(t *testing.T) {
	good := pair(t, newAuthority(t).leaf(t, "a.test"))
	own := echoRoute("127.0.0.1:1")
	own.Certificates = []Certificate{good}
	pass := own
	pass.Mode = ModePassthrough
	bad := own
	bad.Certificates = []Certificate{{Cert: good.Cert}}
	for _, test := range []struct {
		config Config
		want   string // empty: there is none
	}{
		{Config{TLS: TLS{MinVersion: "1.1"}}, "tls.min_version: "},
		{Config{TLS: TLS{SessionTickets: "none"}}, "tls.session_tickets: "},
		{Config{TLS: TLS{Curves: []string{"X25519", "secp256k1"}}}, "tls.curves[1]: "},
		{Config{Routes: []Route{pass}}, "routes[0].certificates: "},
		{Config{Routes: []Route{bad}}, "routes[0].certificates[0].key: is required"},
		{Config{Routes: []Route{own}}, ""},
		{Config{Routes: []Route{echoRoute("127.0.0.1:1")}}, "routes[0].mode: terminate needs an entry in certificates"},
	} {
		test.config.Listen = ":0"
		_, err := New(test.config, Options{})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
			t.Errorf("%+v: %v, want %q", test.config, err, test.want)
		}
	}
}

// fullBackend has every field that is a path or a list.
const fullBackend = `{
	"listen": ":0", "tls": {"min_version": "1.3", "curves": ["X25519MLKEM768", "X25519"]},
	"routes": [{
		"name": "r", "mode": "terminate", "certificates": [{"cert": "c.pem", "key": "c.key"}],
		"backend": {
			"addresses": ["a:1", "b:1"], "dial_timeout": "3s", "health": {"interval": "5s"}, "tls": "starttls-mysql", "ca": "ca.pem",
			"cert": "own.pem", "key": "own.key", "server_name": "db.test", "alpn": "x", "send_proxy": "v2"
		}
	}]
}`

func TestTheBackendOfADocument(t *testing.T) {
	got := decode(t, fullBackend)
	want := Backend{
		Addresses: []string{"a:1", "b:1"}, DialTimeout: Duration(3 * time.Second), Health: Health{Duration(5 * time.Second)}, TLS: StartTLSMySQL,
		CA: "ca.pem", Cert: "own.pem", Key: "own.key", ServerName: "db.test", ALPN: "x", SendProxy: ProxyV2,
	}
	if diff := cmp.Diff(want, got.Routes[0].Backend); diff != "" {
		t.Error(diff)
	}
	copied := got.clone()
	copied.TLS.Curves[0], copied.Routes[0].Backend.Addresses[0], copied.Routes[0].Certificates[0].Cert = "", "", ""
	if diff := cmp.Diff(decode(t, fullBackend), got); diff != "" {
		t.Errorf("a change of the copy came through: %s", diff)
	}
	got.Resolve("/etc/router")
	r := got.Routes[0]
	paths := []string{r.Certificates[0].Cert, r.Certificates[0].Key, r.Backend.CA, r.Backend.Cert, r.Backend.Key}
	if diff := cmp.Diff([]string{"/etc/router/c.pem", "/etc/router/c.key", "/etc/router/ca.pem", "/etc/router/own.pem", "/etc/router/own.key"}, paths); diff != "" {
		t.Error(diff)
	}
}
