package router

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

func TestVersionsAndCurvesAreThoseOfTheDocument(t *testing.T) {
	back := echoBackend(t, "echo")
	hybrid, x25519, p256 := tls.X25519MLKEM768, tls.X25519, tls.CurveP256
	for _, test := range []struct {
		name     string
		document TLS
		client   *tls.Config // MinVersion, MaxVersion, CurvePreferences
		curve    tls.CurveID
		alert    uint8 // 0 = let in
	}{
		{"ML-KEM is there by default", TLS{}, &tls.Config{}, hybrid, 0},
		{"and so is a client without it", TLS{}, &tls.Config{CurvePreferences: []tls.CurveID{x25519}}, x25519, 0},
		{"TLS 1.2 is there by default", TLS{}, &tls.Config{MaxVersion: tls.VersionTLS12}, x25519, 0},
		{"TLS 1.1 is not", TLS{}, &tls.Config{MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}, 0, 70},
		{"TLS 1.3 only", TLS{MinVersion: "1.3"}, &tls.Config{}, hybrid, 0},
		{"TLS 1.3 only, a client of 1.2", TLS{MinVersion: "1.3"}, &tls.Config{MaxVersion: tls.VersionTLS12}, 0, 70},
		{"X25519 only", TLS{Curves: []string{"X25519"}}, &tls.Config{}, x25519, 0},
		// The client's key share is of another curve: a HelloRetryRequest.
		{"P-256 only", TLS{Curves: []string{"P-256"}}, &tls.Config{}, p256, 0},
		{"ML-KEM only, a client without it", TLS{Curves: []string{"X25519MLKEM768"}}, &tls.Config{CurvePreferences: []tls.CurveID{x25519}}, 0, 40},
		{"ML-KEM only, a client of TLS 1.2", TLS{Curves: []string{"X25519MLKEM768"}}, &tls.Config{MaxVersion: tls.VersionTLS12}, 0, 40},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := startRouter(t, Config{TLS: test.document, Routes: []Route{echoRoute(back.addr)}})
			for _, to := range [][2]string{{"echo.routes.example.test", "echo"}, {ownName, "http/1.1"}, {ownName, "tlsroute-probe/1"}} {
				config := b.clientConfig(to[0], to[1])
				config.MinVersion, config.MaxVersion, config.CurvePreferences = test.client.MinVersion, test.client.MaxVersion, test.client.CurvePreferences
				conn := tls.Client(b.tcp(t), config)
				err := conn.Handshake()
				switch state := conn.ConnectionState(); {
				case test.alert != 0:
					if alertOf(err) != test.alert {
						t.Errorf("%s: %v, want alert %d", to, alertOf(err), test.alert)
					}
				case err != nil:
					t.Errorf("%s: %v", to, err)
				case state.CurveID != test.curve:
					t.Errorf("%s: %v, want %v", to, state.CurveID, test.curve)
				case state.NegotiatedProtocol != to[1]:
					t.Errorf("%s: ALPN %q confirmed", to, state.NegotiatedProtocol)
				}
				conn.Close()
			}
		})
	}
}

// acmeCertificate answers a challenge (RFC 8737, section 3): self-signed, one name, a critical acmeIdentifier.
func acmeCertificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("token.thumbprint"))
	value, err := asn1.Marshal(digest[:])
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: true, Value: value}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A validation connection has the name and exactly one ALPN. It goes to the ACME route for a name that is the router's own as for one
// of a route, and what comes with another ALPN goes where it always went.
func TestValidationConnectionsReachTheACMERoute(t *testing.T) {
	const acme = "acme-tls/1"
	answer := acmeCertificate(t, ownName)
	client := serveBackend(t, func(conn net.Conn) { // the ACME client's own TLS
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{answer}, NextProtos: []string{acme}})
		if secure.Handshake() == nil {
			_, _ = io.Copy(io.Discard, secure)
		}
	})
	back := echoBackend(t, "echo")
	for _, mode := range []string{ModePassthrough, ModeTerminate} {
		r := Route{Name: "acme", ALPN: []string{acme}, Mode: mode, Backend: Backend{Address: client.addr}}
		if mode == ModeTerminate {
			r.Certificates = []Certificate{pair(t, answer)}
		}
		// A route without alpn takes all of its name's, so there the ACME route has to list the name.
		const whole = "whole.routes.example.test"
		named := r
		named.Name, named.SNI = "acme-named", []string{whole}
		greedy := Route{Name: "greedy", SNI: []string{whole}, Mode: ModeTerminate, Backend: Backend{Address: back.addr}}
		b := startRouter(t, Config{Routes: []Route{r, named, greedy, echoRoute(back.addr)}})
		for name, want := range map[string]string{ownName: "acme", "echo.routes.example.test": "acme", whole: "acme-named"} {
			config := b.clientConfig(name, acme)
			config.InsecureSkipVerify = true
			conn := secure(t, b.tcp(t), config)
			state := conn.ConnectionState()
			if state.NegotiatedProtocol != acme {
				t.Errorf("%s, %s: ALPN %q confirmed", mode, name, state.NegotiatedProtocol)
			}
			if got := state.PeerCertificates[0]; len(got.UnhandledCriticalExtensions) != 1 {
				t.Errorf("%s, %s: the certificate of %s is no answer to a challenge", mode, name, got.Subject)
			}
			if e := <-b.hellos; e.Route != want || e.SNI != name {
				t.Errorf("%s, %s: hello event %+v", mode, name, e)
			}
			conn.Close()
		}
		// The certificate of the challenge is for nobody else (these verify), and its route takes nothing else.
		secure(t, b.tcp(t), b.clientConfig(ownName, "http/1.1"))
		if conn := secure(t, b.tcp(t), b.clientConfig("echo.routes.example.test", "echo")); readLine(t, conn) != "echo" {
			t.Errorf("%s: the other route is gone", mode)
		}
	}
	without := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	for _, name := range []string{ownName, "echo.routes.example.test"} {
		err := tls.Client(without.tcp(t), without.clientConfig(name, acme)).Handshake()
		if alertOf(err) != uint8(120) {
			t.Errorf("%s, no ACME route: %v, want alert 120", name, alertOf(err))
		}
	}
}

func TestSessionTicketsCanBeTurnedOff(t *testing.T) {
	back := echoBackend(t, "echo")
	for document, resumes := range map[string]bool{"": true, "on": true, "off": false} {
		b := startRouter(t, Config{TLS: TLS{SessionTickets: document}, Routes: []Route{echoRoute(back.addr)}})
		config := b.clientConfig("echo.routes.example.test", "echo")
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for n := range 2 {
			conn := secure(t, b.tcp(t), config)
			if got := conn.ConnectionState().DidResume; got != (resumes && n == 1) {
				t.Errorf("session_tickets %q, connection %d: resumed %v", document, n, got)
			}
			readLine(t, conn) // by then a ticket has come
			conn.Close()
		}
	}
}
