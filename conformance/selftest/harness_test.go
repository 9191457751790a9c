package selftest

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	_ "github.com/tlsroute/tlsroute-bench/conformance/checks"
	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/lab/ours"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// mutant is a broken implementation: target starts it and describes it; the test's cleanup ends it.
type mutant struct {
	name   string
	target func(t *testing.T) conformance.Target
}

// mutants by check id.
var mutants = map[string][]mutant{}

// conforming is an implementation without a bug: a reference, or what the mutants are made of.
type conforming struct {
	name   string
	role   conformance.Role
	target func(t *testing.T) conformance.Target
	// only are the checks it is built for, as globs; all of its role when empty. They pass, or if tolerated is set are tolerated. What
	// is named here in full may be UNSUPPORTED by the others.
	only      []string
	tolerated bool
	// skip are those of its role that are not put to it, by a reason given there: another implementation passes them.
	skip []string
}

var right = []conforming{{name: "router", role: conformance.Router, target: func(t *testing.T) conformance.Target {
	target := newLab(t).start(t, nil)
	target.Paths = append(target.Paths, startALB(t, target.Paths[0].Address, nil))
	return target
}}}

func addMutant(id, name string, target func(t *testing.T) conformance.Target) {
	mutants[id] = append(mutants[id], mutant{name, target})
}

const (
	ownName      = "router.conformance.example.test"
	helloTimeout = 3 * time.Second        // the longest that is sat out: a handshake on a busy machine has to fit in
	pingInterval = 200 * time.Millisecond // far below every idle timeout here: a busy machine pauses for longer than one thinks
)

// lab is what stands around a router under test: authorities, certificates on disk, two witnesses, a closed port.
type lab struct {
	fixture    conformance.Fixture
	server     tls.Certificate
	serverCA   *certs.CA
	clientCA   map[string]*certs.CA
	files      map[string]string // cert, key, A, B, both
	witnesses  map[string]*backend.Running
	dead       string
	backendFor func(route conformance.FixtureRoute, address string) string // a mutant may put a proxy in between
}

// newLab starts the surroundings. The router's certificate also covers the passed-through names, so that a mutant which ends TLS
// where it must not can be told by what it does rather than by its certificate.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{clientCA: map[string]*certs.CA{}, files: map[string]string{}, witnesses: map[string]*backend.Running{}}
	l.fixture = conformance.Fixture{Domain: conformance.FixtureDomain, Own: ownName, WitnessA: "witness-a", WitnessB: "witness-b"}
	l.serverCA = must(certs.NewCA("conformance server CA"))(t)
	l.server = must(l.serverCA.Issue(certs.Leaf{CommonName: ownName, DNS: append(conformance.FixtureNames(l.fixture), conformance.FixturePassNames(l.fixture)...)}))(t)
	dir := t.TempDir()
	cert, key, err := certs.WritePEM(dir, "router", l.server)
	check(t, err)
	l.files["cert"], l.files["key"] = cert, key
	var bundle []byte
	for _, name := range []string{"A", "B"} {
		l.clientCA[name] = must(certs.NewCA("conformance client CA " + name))(t)
		bundle = append(bundle, l.clientCA[name].PEM()...)
		l.write(t, dir, name, l.clientCA[name].PEM())
	}
	l.write(t, dir, "both", bundle)
	l.write(t, dir, "servers", l.serverCA.PEM())
	l.fixture.WitnessCA = l.files["servers"]
	l.fixture.ClientA = l.client(t, "A", certs.Leaf{CommonName: "client-a", Client: true})
	l.fixture.ClientB = l.client(t, "B", certs.Leaf{CommonName: "client-b", Client: true})
	l.fixture.Expired = l.client(t, "A", certs.Leaf{CommonName: "client-expired", Client: true, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	chain := must(l.clientCA["A"].Chain(certs.Leaf{CommonName: "client-chain", Client: true}, conformance.ChainBytes))(t)
	l.fixture.ClientChain = &chain
	behind := must(l.serverCA.Issue(certs.Leaf{CommonName: "witness", DNS: conformance.FixturePassNames(l.fixture)}))(t)
	for _, name := range []string{l.fixture.WitnessA, l.fixture.WitnessB} {
		w := must(backend.Start(t.Context(), backend.Embedded, backend.Spec{Name: name, Kind: backend.Witness, Dir: dir, Certificate: behind}))(t)
		l.witnesses[name] = w
		t.Cleanup(func() { check(t, w.Close(context.Background())) })
	}
	dead, release, err := netx.Refuse()
	check(t, err)
	t.Cleanup(func() { check(t, release()) })
	l.dead = dead
	return l
}

func (l *lab) write(t *testing.T, dir, name string, pem []byte) {
	l.files[name] = filepath.Join(dir, "client-ca-"+name+".pem")
	check(t, os.WriteFile(l.files[name], pem, 0o600))
}

func (l *lab) client(t *testing.T, ca string, leaf certs.Leaf) *tls.Certificate {
	cert := must(l.clientCA[ca].Issue(leaf))(t)
	return &cert
}

// address is where a route of the fixture leads.
func (l *lab) address(r conformance.FixtureRoute) string {
	address := l.dead
	switch r.Witness {
	case conformance.WitnessA:
		address = l.witnesses[l.fixture.WitnessA].Address
	case conformance.WitnessB:
		address = l.witnesses[l.fixture.WitnessB].Address
	}
	if l.backendFor != nil {
		address = l.backendFor(r, address)
	}
	return address
}

// config is the reference router's configuration for the fixture.
func (l *lab) config() router.Config {
	c := router.Config{
		Listen:       "127.0.0.1:0",
		Certificates: []router.Certificate{{Cert: l.files["cert"], Key: l.files["key"]}},
		Upgrade:      router.Upgrade{PingInterval: router.Duration(pingInterval)},
		Limits:       router.Limits{ClientHelloTimeout: router.Duration(helloTimeout)},
		Drain:        router.Drain{Timeout: router.Duration(100 * time.Millisecond)},
	}
	for _, r := range conformance.FixtureRoutes(l.fixture) {
		route := router.Route{Name: r.Name, SNI: r.SNI, ALPN: r.ALPN, Mode: r.Mode, Backend: router.Backend{Address: l.address(r)}}
		if r.ClientAuth == router.AuthRequire {
			route.ClientAuth = router.ClientAuth{Mode: r.ClientAuth, CA: l.files[r.CA]}
		}
		c.Routes = append(c.Routes, route)
	}
	return c
}

// start runs the reference router, its configuration changed by mutate, and describes it.
func (l *lab) start(t *testing.T, mutate func(*router.Config)) conformance.Target {
	t.Helper()
	c := l.config()
	if mutate != nil {
		mutate(&c)
	}
	s := must(router.New(c, router.Options{}))(t)
	check(t, s.Listen(t.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		stop, stopped := context.WithTimeout(context.Background(), 5*time.Second)
		defer stopped()
		_ = s.Shutdown(stop) // tunnels that a check left are cut: that is no fault here
		cancel()
		if err := <-done; err != nil {
			t.Logf("serving: %v", err) // so is this
		}
	})
	target := l.target(s.Addr().String(), true)
	target.Launcher = l.launcher(t, mutate)
	return target
}

// launcher starts routers like that of start.
func (l *lab) launcher(t *testing.T, mutate func(*router.Config)) conformance.Launcher {
	t.Helper()
	return ours.Routers{Fixture: must(ours.Document(l.config()))(t), Change: mutate}
}

// target describes a router that listens on address; with is true when it has the upgrade endpoint.
func (l *lab) target(address string, upgrade bool) conformance.Target {
	target := conformance.Target{
		Name: "selftest", Role: conformance.Router, Fixture: l.fixture, InnerRoots: l.serverCA.Pool(), HelloTimeout: helloTimeout,
		Features:  ours.RouterFeatures(),
		Paths:     []conformance.Path{{Name: "direct", Address: address}},
		Witnesses: map[string]conformance.Witness{},
	}
	for name, w := range l.witnesses {
		target.Witnesses[name] = w.Witness
	}
	if !upgrade {
		target.Features = slices.DeleteFunc(target.Features, func(f string) bool { return slices.Contains([]string{"websocket", "alpn", "alpn-ping"}, f) })
	} else {
		target.Paths = append(target.Paths, conformance.Path{Name: "upgraded-direct", Address: address, Upgrade: &conformance.UpgradePath{
			TLS: true, Roots: l.serverCA.Pool(), ServerName: ownName, Host: ownName, Path: router.DefaultUpgradePath,
			Types: []string{"websocket", "alpn", "alpn-ping"}, PingInterval: pingInterval,
		}})
	}
	return target
}

// plainUpgrade leaves of a target only the upgrade endpoint over plain HTTP on the router's port, so that a fault proxy in front
// can read and spoil the HTTP exchange.
func plainUpgrade(target conformance.Target) conformance.Target {
	up := *target.Paths[len(target.Paths)-1].Upgrade
	up.TLS, up.Roots, up.ServerName = false, nil, ""
	target.Paths = []conformance.Path{{Name: "upgraded-plain", Address: target.Paths[0].Address, Upgrade: &up}}
	return target
}

// must turns a value and an error into the value, or ends the test.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mutatedConfig is a mutant of the first kind.
func mutatedConfig(mutate func(l *lab, c *router.Config)) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		l := newLab(t)
		return l.start(t, func(c *router.Config) { mutate(l, c) })
	}
}

// routeNamed finds a route of a configuration.
func routeNamed(c *router.Config, name string) *router.Route {
	for i := range c.Routes {
		if c.Routes[i].Name == name {
			return &c.Routes[i]
		}
	}
	panic(fmt.Sprintf("no route %q", name))
}
