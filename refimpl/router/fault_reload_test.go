package router

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// expired is a leaf that was good until an hour ago.
func (a *authority) expired(t *testing.T, name string) tls.Certificate {
	t.Helper()
	cert := a.leaf(t, name)
	template, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, template.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: cert.PrivateKey}
}

// serial is the number of the certificate that the router showed.
func serial(conn *tls.Conn) string {
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestAReloadSwapsTheCertificateOfNewConnectionsOnly(t *testing.T) {
	back := echoBackend(t, "echo")
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}})
	client := b.clientConfig("echo.routes.example.test", "echo")
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4) // a ticket of the old certificate must not keep it in use
	old := secure(t, b.tcp(t), client)
	readLine(t, old)

	config := b.config
	config.Certificates = []Certificate{pair(t, b.ca.leaf(t, ownName, "*.routes.example.test"))}
	if err := b.Reload(config); err != nil {
		t.Fatal(err)
	}
	fresh := secure(t, b.tcp(t), client)
	readLine(t, fresh)
	if serial(fresh) == serial(old) || fresh.ConnectionState().DidResume {
		t.Errorf("after the reload: resumed %v, the old certificate %v", fresh.ConnectionState().DidResume, serial(fresh) == serial(old))
	}
	roundTrip(t, old, "still here")

	// One that is out of date is put in force, since the operator asked for it, and is named; it is the client who refuses.
	config.Certificates = []Certificate{pair(t, b.ca.expired(t, "echo.routes.example.test"))}
	if err := b.Reload(config); err != nil {
		t.Fatal(err)
	}
	b.log.wait(t, "level=WARN", "out of date", "cert="+config.Certificates[0].Cert)
	if err := tls.Client(b.tcp(t), b.clientConfig("echo.routes.example.test", "echo")).Handshake(); err == nil ||
		!strings.Contains(err.Error(), "expired") {
		t.Errorf("a client of an expired certificate: %v", err)
	}
	b.log.wait(t, "outcome=handshake_failed", "bad certificate")
	for _, conn := range []*tls.Conn{old, fresh} {
		roundTrip(t, conn, "still here")
	}
}

func TestAnExpiredClientCertificateReachesNoBackend(t *testing.T) {
	clients := newAuthority(t)
	back := echoBackend(t, "echo")
	r := echoRoute(back.addr)
	r.ClientAuth = ClientAuth{Mode: AuthRequire, CA: clients.caFile(t)}
	b := startRouter(t, Config{Routes: []Route{r}})
	config := b.clientConfig("echo.routes.example.test", "echo")
	cert := clients.expired(t, "client")
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	_, err := secure(t, b.tcp(t), config).Read(make([]byte, 1))
	if got := alertOf(err); got != uint8(45) { // certificate_expired
		t.Errorf("got %v, want alert 45", got)
	}
	b.log.wait(t, "outcome=handshake_failed", "expired")
	if back.accepted.Load() > 0 {
		t.Error("the backend was dialled")
	}
}

// TestReloadsUnderHandshakesFailNone reloads without pause, good documents and bad ones, while clients connect as fast as they can.
func TestReloadsUnderHandshakesFailNone(t *testing.T) {
	const clients, handshakes = 4, 60
	one, two := echoBackend(t, "one"), echoBackend(t, "two")
	b := startRouter(t, Config{Routes: []Route{echoRoute(one.addr)}}, func(o *Options) { o.OnHello = nil })
	second := pair(t, b.ca.leaf(t, ownName, "*.routes.example.test"))

	var failed, names sync.Map
	var done atomic.Int64
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			defer done.Add(1)
			dialer := tls.Dialer{Config: b.clientConfig("echo.routes.example.test", "echo")}
			for n := range handshakes {
				if err := oneHandshake(t.Context(), &dialer, b.Addr().String(), &names); err != nil {
					failed.Store(fmt.Sprintf("client %d, handshake %d", i, n), err)
				}
			}
		})
	}
	reloads := 0
	for ; done.Load() < clients; reloads++ {
		config := b.config.clone()
		if reloads%2 == 0 {
			config.Certificates[0], config.Routes[0].Backend.Address = second, two.addr
		}
		if err := b.Reload(config); err != nil {
			t.Fatal(err)
		}
		config.Certificates = append(config.Certificates, Certificate{"no.pem", "no.key"})
		if err := b.Reload(config); err == nil {
			t.Fatal("a bad document is taken")
		}
	}
	wg.Wait()
	failed.Range(func(where, err any) bool {
		t.Errorf("%v: %v", where, err)
		return true
	})
	if got, want := b.Generation(), 1+reloads; got != want {
		t.Errorf("generation %d after %d reloads, want %d", got, reloads, want)
	}
	for _, name := range []string{"one\n", "two\n"} {
		if _, ok := names.Load(name); !ok {
			t.Errorf("nobody reached %q in %d reloads: they did not cross", name, reloads)
		}
	}
}

// oneHandshake goes all the way to the backend's name, which it keeps.
func oneHandshake(ctx context.Context, dialer *tls.Dialer, addr string, names *sync.Map) error {
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(3 * patience))
	name := make([]byte, 4)
	if _, err := io.ReadFull(conn, name); err != nil {
		return err
	}
	names.Store(string(name), true)
	return nil
}
