package router

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
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

// The load of the two below: handshakes planned for fixed instants, whether or not the earlier ones are done, and a good and a bad document
// in each reloadPause.
const (
	handshakeRate = 500 // a second
	reloadPause   = 10 * time.Millisecond
)

// TestReloadsUnderHandshakesFailNone is half a second of BenchmarkReloadUnder500Handshakes, at whatever rate the machine gives it.
func TestReloadsUnderHandshakesFailNone(t *testing.T) {
	planned := 0
	reloadUnderHandshakes(t, func() bool { planned++; return planned <= handshakeRate/2 })
}

// BenchmarkReloadUnder500Handshakes reloads under an open loop of 500 full handshakes a second (TLS 1.3, X25519, ECDSA P-256, no session
// resumed), each on a connection of its own and as far as the backend's first line. An iteration is a handshake, so -benchtime is how
// long the loop runs. p99 counts from the instant that a handshake was planned for. It fails for one failed handshake, and for a rate
// that the machine could not keep.
func BenchmarkReloadUnder500Handshakes(b *testing.B) {
	got := reloadUnderHandshakes(b, b.Loop)
	b.ReportMetric(got.rate(), "handshakes/s")
	b.ReportMetric(float64(got.reloads)/got.lasted.Seconds(), "reloads/s")
	b.ReportMetric(float64(got.p99())/1e6, "p99-ms")
	b.ReportMetric(float64(len(got.failed)), "failed")
	b.ReportMetric(0, "ns/op") // the plan's, not the router's
	if got.rate() < 0.95*handshakeRate {
		b.Errorf("%.0f handshakes/s, %d were planned", got.rate(), handshakeRate)
	}
}

// underLoad is what came of the handshakes.
type underLoad struct {
	lasted  time.Duration // from the first planned to the last done
	reloads int           // of good documents; as many bad ones were refused

	mu     sync.Mutex // guards the rest until all are done
	took   []time.Duration
	failed []error
	met    map[string]int // by the backend's name
}

func (u *underLoad) rate() float64 { return float64(len(u.took)) / u.lasted.Seconds() }

func (u *underLoad) p99() time.Duration {
	if len(u.took) == 0 {
		return 0
	}
	slices.Sort(u.took)
	return u.took[len(u.took)*99/100]
}

// reloadUnderHandshakes goes on while more says so, and fails tb for a handshake or a reload that did.
func reloadUnderHandshakes(tb testing.TB, more func() bool) *underLoad {
	tb.Helper()
	one, two := echoBackend(tb, "one"), echoBackend(tb, "two")
	route := echoRoute(one.addr)
	// On a machine that cannot keep up they queue: that is told by the rate, and must not pass for a handshake that a reload broke.
	route.Backend.DialTimeout = Duration(6 * patience)
	b := startRouter(tb, Config{
		Routes: []Route{route},
		Limits: Limits{ClientHelloTimeout: Duration(6 * patience)},
	}, func(o *Options) { o.OnHello = nil })
	other := b.config.clone()
	other.Certificates[0] = pair(tb, b.ca.leaf(tb, ownName, "*.routes.example.test"))
	other.Routes[0].Backend.Address = two.addr
	config := b.clientConfig("echo.routes.example.test", "echo")
	config.CurvePreferences = []tls.CurveID{tls.X25519}

	u := &underLoad{met: map[string]int{}}
	stop, reloaded := make(chan struct{}), make(chan error, 1)
	go func() { reloaded <- u.reload(b.Server, []Config{other, b.config}, stop) }()
	var handshakes sync.WaitGroup
	began := time.Now()
	for planned := began; more(); planned = planned.Add(time.Second / handshakeRate) {
		time.Sleep(time.Until(planned))
		handshakes.Go(func() {
			name, err := oneHandshake(b.Addr().String(), config)
			took := time.Since(planned)
			u.mu.Lock()
			defer u.mu.Unlock()
			if err != nil {
				u.failed = append(u.failed, fmt.Errorf("the one planned for %v: %w", planned.Sub(began), err))
				return
			}
			u.took = append(u.took, took)
			u.met[name]++
		})
	}
	handshakes.Wait()
	u.lasted = time.Since(began)
	close(stop)
	if err := <-reloaded; err != nil {
		tb.Error(err)
	}
	tb.Logf("%d handshakes in %v: %.0f/s, p99 %v; %d failed; %d reloads", len(u.took), u.lasted, u.rate(), u.p99(), len(u.failed), u.reloads)
	if len(u.failed) > 0 {
		tb.Errorf("%d handshakes failed, %d did not; the first: %v", len(u.failed), len(u.took), u.failed[0])
	}
	if got, want := b.Generation(), 1+u.reloads; got != want {
		tb.Errorf("generation %d after %d reloads, want %d", got, u.reloads, want)
	}
	for _, name := range []string{"one", "two"} {
		if u.met[name] == 0 {
			tb.Errorf("nobody reached %q in %d reloads: they did not cross", name, u.reloads)
		}
	}
	return u
}

// reload puts the documents in force in turns until stop, each followed by one that must be refused.
func (u *underLoad) reload(server *Server, documents []Config, stop <-chan struct{}) error {
	tick := time.NewTicker(reloadPause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stop:
			return nil
		}
		good := documents[u.reloads%len(documents)].clone()
		if err := server.Reload(good); err != nil {
			return err
		}
		u.reloads++
		good.Certificates = append(good.Certificates, Certificate{"no.pem", "no.key"})
		if err := server.Reload(good); err == nil {
			return errors.New("a bad document is taken")
		}
	}
}

// oneHandshake is a new TLS session on a new connection; it returns the name of the backend behind it.
func oneHandshake(addr string, config *tls.Config) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(3 * patience))
	secure := tls.Client(conn, config)
	name := make([]byte, 4) // and the end of the line
	if _, err := io.ReadFull(secure, name); err != nil {
		return "", err
	}
	if state := secure.ConnectionState(); state.DidResume || state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519 {
		return "", fmt.Errorf("resumed %v, version %x, %v: not the handshake that is counted", state.DidResume, state.Version, state.CurveID)
	}
	return string(name[:3]), nil
}
