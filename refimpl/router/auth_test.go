package router

import (
	"crypto/tls"
	"testing"
)

func TestClientCertificatesByRoute(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	strict, lax, open := echoBackend(t, "strict"), echoBackend(t, "lax"), echoBackend(t, "open")
	route := func(name string, addr string, auth ClientAuth) Route {
		return Route{Name: name, ALPN: []string{name}, Mode: ModeTerminate, ClientAuth: auth, Backend: Backend{Address: addr}}
	}
	b := startRouter(t, Config{Routes: []Route{
		route("strict", strict.addr, ClientAuth{Mode: AuthRequire, CA: a.caFile(t)}),
		route("lax", lax.addr, ClientAuth{Mode: AuthRequest, CA: a.caFile(t)}),
		route("open", open.addr, ClientAuth{}),
	}})
	good, wrong := a.leaf(t, "client"), other.leaf(t, "client")
	for _, test := range []struct {
		name, route string
		cert        *tls.Certificate
		version     uint16
		code        any // the alert, nil when let in
		sent        bool
	}{
		{"require, none sent", "strict", nil, tls.VersionTLS13, uint8(116), false},
		{"require, none sent, TLS 1.2", "strict", nil, tls.VersionTLS12, uint8(40), false},
		{"require, of another CA", "strict", &wrong, tls.VersionTLS13, uint8(48), false},
		{"require, sent", "strict", &good, tls.VersionTLS13, nil, true},
		{"require, sent, TLS 1.2", "strict", &good, tls.VersionTLS12, nil, true},
		{"request, none sent", "lax", nil, tls.VersionTLS13, nil, false},
		{"request, sent", "lax", &good, tls.VersionTLS13, nil, true},
		{"request, of another CA", "lax", &wrong, tls.VersionTLS13, uint8(48), false},
		{"none, nothing is asked for", "open", &good, tls.VersionTLS13, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, transport := range []string{"direct", "websocket"} {
				before := strict.accepted.Load() + lax.accepted.Load() + open.accepted.Load()
				config := b.clientConfig(ownName, test.route)
				config.MaxVersion = test.version
				if test.cert != nil {
					// Sent whatever CA is asked for: a client that sends nothing is another row.
					config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return test.cert, nil }
				}
				conn := tls.Client(b.stream(t, transport), config)
				err := conn.Handshake()
				if err == nil { // in TLS 1.3 the client is done before its certificate is looked at
					_, err = conn.Read(make([]byte, 1))
				}
				if test.code == nil && err != nil {
					t.Errorf("%s: %v", transport, err)
				}
				if test.code != nil && alertOf(err) != test.code {
					t.Errorf("%s: got %v, want alert %d", transport, alertOf(err), test.code)
				}
				if e := <-b.hellos; test.code == nil && e.ClientCert != test.sent {
					t.Errorf("%s: hello event %+v", transport, e)
				}
				dialled := strict.accepted.Load() + lax.accepted.Load() + open.accepted.Load() - before
				if want := map[bool]int64{true: 1, false: 0}[test.code == nil]; dialled != want {
					t.Errorf("%s: %d backends dialled, want %d", transport, dialled, want)
				}
				conn.Close()
			}
		})
	}
}

func TestTicketsAreGoodForTheirNameOnly(t *testing.T) {
	back := echoBackend(t, "x")
	a := newAuthority(t)
	b := startRouter(t, Config{Routes: []Route{
		{
			Name: "one", SNI: []string{"one.routes.example.test", "two.routes.example.test"}, ALPN: []string{"x", "y"},
			Mode: ModeTerminate, Backend: Backend{Address: back.addr},
		},
		{
			Name: "mtls", SNI: []string{"mtls.routes.example.test"}, ALPN: []string{"x"}, Mode: ModeTerminate,
			Backend:    Backend{Address: back.addr},
			ClientAuth: ClientAuth{Mode: AuthRequest, CA: a.caFile(t)},
		},
	}})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := &oneSession{}
		for _, test := range []struct {
			name, alpn string
			fresh      bool
			resumes    bool
		}{
			{"one.routes.example.test", "x", true, false},
			{"one.routes.example.test", "x", false, true},
			{"two.routes.example.test", "x", false, false},
			{"one.routes.example.test", "y", false, false},
			{"mtls.routes.example.test", "x", false, false},
		} {
			config := b.clientConfig(test.name, test.alpn)
			config.ClientSessionCache = cache // one slot for all names: the client cheats
			config.MaxVersion = version
			config.InsecureSkipVerify = true
			if test.fresh {
				cache.state = nil
			}
			cache.keep = !test.fresh // the first ticket is the one to be tried everywhere
			conn := secure(t, b.tcp(t), config)
			readLine(t, conn) // by then the ticket has come
			if got := conn.ConnectionState().DidResume; got != test.resumes {
				t.Errorf("%x %s %s: resumed %v, want %v", version, test.name, test.alpn, got, test.resumes)
			}
			if e := <-b.hellos; e.Resumed != test.resumes {
				t.Errorf("hello event %+v", e)
			}
			conn.Close()
		}
	}
}

// A ticket says "this client was let in". Another route may let in others, by another CA, under the very same name.
func TestTicketsAreGoodForTheirRouteOnly(t *testing.T) {
	back := echoBackend(t, "x")
	a, other := newAuthority(t), newAuthority(t)
	const name = "one.routes.example.test"
	route := func(alpn string, auth ClientAuth) Route {
		return Route{
			Name: alpn, SNI: []string{name}, ALPN: []string{alpn}, Mode: ModeTerminate, ClientAuth: auth, Backend: Backend{Address: back.addr},
		}
	}
	b := startRouter(t, Config{Routes: []Route{
		route("open", ClientAuth{}), route("too", ClientAuth{}),
		route("requested", ClientAuth{Mode: AuthRequest, CA: a.caFile(t)}),
		route("required", ClientAuth{Mode: AuthRequire, CA: a.caFile(t)}),
		route("other", ClientAuth{Mode: AuthRequire, CA: other.caFile(t)}),
	}})
	certs := map[string]tls.Certificate{"": {}, "a": a.leaf(t, "client"), "other": other.leaf(t, "client")}
	try := func(version uint16, cache *oneSession, alpn, cert string) (resumed bool, err error) {
		chosen := certs[cert]
		config := b.clientConfig(name, alpn)
		config.MaxVersion, config.ClientSessionCache = version, cache
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &chosen, nil }
		conn := tls.Client(b.tcp(t), config)
		defer conn.Close()
		if err = conn.Handshake(); err == nil {
			_, err = conn.Read(make([]byte, 2)) // the name of the backend; by then a ticket has come
		}
		<-b.hellos
		return conn.ConnectionState().DidResume, err
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		// With a certificate in the game there is no ticket to be had.
		for route, cert := range map[string]string{"requested": "a", "required": "a", "other": "other"} {
			cache := &oneSession{}
			if _, err := try(version, cache, route, cert); err != nil || cache.state != nil {
				t.Errorf("%x: %s with a certificate: %v, ticket %v", version, route, err, cache.state != nil)
			}
		}
		// One that was given without opens nothing else.
		cache := &oneSession{}
		if resumed, err := try(version, cache, "open", ""); resumed || err != nil || cache.state == nil {
			t.Fatalf("%x: the first connection: resumed %v, %v, ticket %v", version, resumed, err, cache.state != nil)
		}
		cache.keep = true
		for _, test := range []struct {
			route, cert  string
			resumes, let bool
		}{
			{"open", "", true, true},
			{"too", "", false, true},
			{"requested", "", false, true},
			{"requested", "a", false, true},
			{"required", "", false, false},
			{"required", "a", false, true},
			{"other", "a", false, false},
			{"other", "other", false, true},
		} {
			resumed, err := try(version, cache, test.route, test.cert)
			if resumed != test.resumes || (err == nil) != test.let {
				t.Errorf("%x: the ticket of open at %s with certificate %q: resumed %v, %v", version, test.route, test.cert, resumed, err)
			}
		}
	}
}

type oneSession struct {
	state *tls.ClientSessionState
	keep  bool
}

func (s *oneSession) Get(string) (*tls.ClientSessionState, bool) { return s.state, s.state != nil }

func (s *oneSession) Put(_ string, state *tls.ClientSessionState) {
	if !s.keep && state != nil {
		s.state = state
	}
}

func TestCertificatesAreChosenByName(t *testing.T) {
	extra := newAuthority(t)
	back := echoBackend(t, "x")
	b := startRouter(t, Config{
		Certificates: []Certificate{pair(t, extra.leaf(t, "extra.example.test", "*.wild.example.test"))},
		Routes:       []Route{{Name: "x", ALPN: []string{"x"}, Mode: ModeTerminate, Backend: Backend{Address: back.addr}}},
	})
	for name, want := range map[string]string{
		"extra.example.test": "extra.example.test", "A.wild.example.test": "extra.example.test",
		ownName: ownName, "unknown.test": ownName, "": ownName,
	} {
		config := b.clientConfig(name, "x")
		config.InsecureSkipVerify = true
		conn := secure(t, b.tcp(t), config)
		if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("%q: certificate of %s, want %s", name, got, want)
		}
		conn.Close()
	}
}

// A reload may change who is let in, and by which certificate.
func TestTicketsDoNotOutliveAReload(t *testing.T) {
	back := echoBackend(t, "x")
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	config := b.clientConfig("echo.routes.example.test", "echo")
	config.ClientSessionCache = &oneSession{}
	for _, test := range []struct {
		name            string
		reload, resumes bool
	}{{"first", false, false}, {"again", false, true}, {"after a reload", true, false}} {
		if test.reload {
			if err := b.Reload(b.config); err != nil {
				t.Fatal(err)
			}
		}
		conn := secure(t, b.tcp(t), config)
		readLine(t, conn) // by then the ticket has come
		if got := conn.ConnectionState().DidResume; got != test.resumes {
			t.Errorf("%s: resumed %v, want %v", test.name, got, test.resumes)
		}
		conn.Close()
	}
}
