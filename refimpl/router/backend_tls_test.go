package router

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// tlsEcho is an echo behind TLS that calls itself tls.
func tlsEcho(t *testing.T, cert tls.Certificate, change func(*tls.Config)) *backend {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	if change != nil {
		change(config)
	}
	return serveBackend(t, func(conn net.Conn) {
		secure := tls.Server(conn, config)
		if secure.Handshake() == nil {
			echo(secure, "tls")
		}
	})
}

func TestTheRoutersOwnClientHello(t *testing.T) {
	ca, other, clients := newAuthority(t), newAuthority(t), newAuthority(t)
	own := pair(t, clients.leaf(t, "the router"))
	hellos := make(chan tls.ClientHelloInfo, 1)
	peers := make(chan string, 1)
	server := tlsEcho(t, ca.leaf(t, "db.example.test"), func(c *tls.Config) {
		c.NextProtos = []string{"postgresql"}
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, clients.pool()
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			hellos <- *hello
			return nil, nil
		}
		c.VerifyConnection = func(state tls.ConnectionState) error {
			peers <- state.PeerCertificates[0].Subject.CommonName
			return nil
		}
	})
	good := Backend{
		Address: server.addr, TLS: TLSOn, CA: ca.caFile(t), Cert: own.Cert, Key: own.Key, ServerName: "db.example.test", ALPN: "postgresql",
	}
	b := startRouter(t, Config{Routes: []Route{{Name: "pg", ALPN: []string{"pg"}, Mode: ModeTerminate, Backend: good}}},
		func(o *Options) { o.BackendRoots = other.pool() }) // backend.ca takes their place
	conn := secure(t, b.tcp(t), b.clientConfig("x.routes.example.test", "pg"))
	if got := readLine(t, conn); got != "tls" {
		t.Errorf("reached %q", got)
	}
	hello := <-hellos
	if hello.ServerName != "db.example.test" || len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != "postgresql" {
		t.Errorf("the backend was asked for %q with ALPN %q", hello.ServerName, hello.SupportedProtos)
	}
	if got := <-peers; got != "the router" {
		t.Errorf("the certificate sent is that of %q", got)
	}
}

func TestABackendThatIsNotTheRightOneIsNotUsed(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert := ca.leaf(t, "127.0.0.1")
	plain, h1 := tlsEcho(t, cert, nil), tlsEcho(t, cert, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })
	file := ca.caFile(t)
	for _, test := range []struct {
		name, alpn string // of the client
		backend    Backend
		cause      string // empty: it is used
	}{
		{"its name is another", "x", Backend{Address: plain.addr, CA: file, ServerName: "db.example.test"}, "x509: "},
		{"its CA is another", "x", Backend{Address: plain.addr, CA: other.caFile(t)}, "x509: "},
		{"ALPN is asked for, none is confirmed", "x", Backend{Address: plain.addr, CA: file, ALPN: "y"}, "was not confirmed"},
		{"http/1.1 is asked for by name, none is confirmed", "x", Backend{Address: plain.addr, CA: file, ALPN: "http/1.1"}, "was not confirmed"},
		{"ALPN is asked for, another is spoken", "x", Backend{Address: h1.addr, CA: file, ALPN: "y"}, "no application protocol"},
		{"the client speaks h2, the backend knows no ALPN", "h2", Backend{Address: plain.addr, CA: file}, "was not confirmed"},
		{"the client speaks h2, the backend http/1.1", "h2", Backend{Address: h1.addr, CA: file}, "no application protocol"},
		{"the client speaks http/1.1, the backend knows no ALPN", "http/1.1", Backend{Address: plain.addr, CA: file}, ""},
		{"the client speaks http/1.1 and so does the backend", "http/1.1", Backend{Address: h1.addr, CA: file}, ""},
		{"the names of this port are not the backend's", "x", Backend{Address: h1.addr, CA: file}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.backend.TLS = TLSOn
			b := startRouter(t, Config{Routes: []Route{
				{Name: "r", SNI: []string{"r.routes.example.test"}, ALPN: []string{test.alpn}, Mode: ModeTerminate, Backend: test.backend},
			}})
			conn := secure(t, b.tcp(t), b.clientConfig("r.routes.example.test", test.alpn))
			if test.cause == "" {
				if got := readLine(t, conn); got != "tls" {
					t.Errorf("reached %q", got)
				}
				return
			}
			if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client read %v, want a reset", err)
			}
			b.log.wait(t, "route=r", "outcome=dial_failed", test.cause)
		})
	}
}
