package lab

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/stranger"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// strange is an implementation that is judged in place of ours.
type strange struct {
	file    *stranger.File
	adapter door.Adapter
	about   door.Answer // of describe; empty for an endpoint
	dir     string      // of its instances
	pid     int         // of its router as this machine counts, 0 when unknown
}

// wants tells whether a role is judged: each, unless strangers play some.
func (l *Lab) wants(role conformance.Role) bool {
	return len(l.opt.Strangers) == 0 || l.opt.Strangers[string(role)] != nil
}

// meet gets to know the stranger of a role, nil when there is none.
func (l *Lab) meet(ctx context.Context, role conformance.Role, config any) (*strange, error) {
	f := l.opt.Strangers[string(role)]
	if f == nil {
		return nil, nil
	}
	return l.meetFile(ctx, f, role, string(role), config)
}

func (l *Lab) meetFile(ctx context.Context, f *stranger.File, role conformance.Role, name string, config any) (*strange, error) {
	s := &strange{file: f, dir: filepath.Join(l.dir, "stranger-"+name)}
	if err := os.MkdirAll(s.dir, 0o711); err != nil { //nolint:gosec // its processes may run as another user
		return nil, err
	}
	switch {
	case f.Endpoint != nil:
		return s, nil
	case f.Image != nil:
		if err := l.contain(ctx, s); err != nil {
			return nil, err
		}
	default:
		s.adapter = door.Adapter{Command: f.Adapter.Command, Dir: s.dir}
	}
	l.opt.Step("adapter " + f.Path)
	var err error
	if s.about, err = s.adapter.Do(ctx, door.Request{Verb: "describe"}); err != nil {
		return nil, fmt.Errorf("target %s: %w", f.Path, err)
	}
	if s.about.Role != string(role) {
		return nil, fmt.Errorf("target %s: its adapter describes a %q, and the file says %s", f.Path, s.about.Role, role)
	}
	if role == conformance.Client {
		return s, nil
	}
	if doc, ok := config.(door.Router); ok {
		config = asClaimed(doc, s.about.Features)
	}
	probe, err := os.MkdirTemp(s.dir, "probe-")
	if err != nil {
		return nil, err
	}
	if err := s.adapter.Honest(ctx, probe, config); err != nil {
		return nil, fmt.Errorf("target %s: %w", f.Path, err)
	}
	return s, nil
}

// asClaimed is the document for a router with these features: none is asked for an upgrade that it never claimed, for an honest adapter
// would refuse the whole document.
func asClaimed(doc door.Router, features []string) door.Router {
	if !slices.Contains(features, "upgrade") {
		doc.Upgrade = door.Upgrade{Types: []string{}} // left out they would be all
	}
	return doc
}

// contain starts the container of an image, in which the adapter is run once a verb. It shares the host's network, its numbers of processes
// (some checks look at the memory and the descriptors of the one that the adapter names) and, at the same place, the lab's directory.
func (l *Lab) contain(ctx context.Context, s *strange) error {
	image := s.file.Image
	l.opt.Step("image " + image.Name)
	run := exec.CommandContext(ctx, "docker", "run", "--detach", "--rm", "--network", "host", "--pid", "host", "--label", "tlsroute-bench=target",
		"--volume", l.dir+":"+l.dir, "--entrypoint", "sleep", image.Name, "infinity")
	var said strings.Builder
	run.Stderr = &said
	out, err := run.Output()
	if err != nil {
		return fmt.Errorf("image %s: docker run: %w: %s", image.Name, err, strings.TrimSpace(said.String()))
	}
	id := strings.TrimSpace(string(out))
	l.onClose(func(ctx context.Context) error {
		if out, err := exec.CommandContext(ctx, "docker", "rm", "--force", id).CombinedOutput(); err != nil {
			return fmt.Errorf("container %s: docker rm: %w: %s", id, err, out)
		}
		return nil
	})
	s.adapter = door.Adapter{Command: append([]string{"docker", "exec", "--interactive", id}, image.Command...), Dir: s.dir}
	return nil
}

// domain is that of the fixture's names: the certificate of the witness behind the passed-through route has them too.
func (o Options) domain() string {
	if f := o.Strangers[string(conformance.Router)]; f != nil && f.Endpoint != nil {
		return cmp.Or(f.Endpoint.Domain, conformance.FixtureDomain)
	}
	return conformance.FixtureDomain
}

// witnessAddress is where a router that runs already leads to; empty for every other backend.
func (l *Lab) witnessAddress(name string) string {
	f := l.opt.Strangers[string(conformance.Router)]
	switch {
	case f == nil || f.Endpoint == nil:
	case name == l.fixture.WitnessA:
		return f.Endpoint.WitnessA
	case name == l.fixture.WitnessB:
		return f.Endpoint.WitnessB
	}
	return ""
}

// startStrangeRouter starts the stranger with the fixture's document.
func (l *Lab) startStrangeRouter(ctx context.Context, s *strange, doc door.Router) (address string, err error) {
	if s.file.Endpoint != nil {
		return s.file.Endpoint.Address, nil
	}
	l.opt.Step("router under test " + s.about.Name)
	i, err := conformance.Start(ctx, s.adapter, s.dir, doc)
	if err != nil {
		return "", fmt.Errorf("target %s: %w", s.file.Path, err)
	}
	l.onClose(i.Stop)
	s.pid = i.PID()
	return i.Address(), nil
}

// strangeTargets describes the strangers, and nothing of ours.
func (l *Lab) strangeTargets(base conformance.Target, upgrade conformance.UpgradePath) ([]conformance.Target, error) {
	targets := l.judged.strangers
	if l.judged.stranger == nil {
		return targets, nil
	}
	r, err := l.strangeRouter(base, upgrade)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", l.judged.stranger.file.Path, err)
	}
	return append(targets, r), nil
}

// strangeRouter describes it in place of ours.
func (l *Lab) strangeRouter(base conformance.Target, upgrade conformance.UpgradePath) (conformance.Target, error) {
	s := l.judged.stranger
	base.Role = conformance.Router
	direct := conformance.Path{Name: "direct", Address: l.judged.address}
	if e := s.file.Endpoint; e != nil {
		return endpointTarget(base, e, direct)
	}
	base.Name, base.Version, base.Features, base.PID = s.about.Name, s.about.Version, s.about.Features, s.pid
	base.Launcher = conformance.Adapted{Adapter: s.adapter, Fixture: l.judged.document, Dir: s.dir}
	base.Paths = []conformance.Path{direct}
	if slices.Contains(base.Features, "upgrade") {
		upgrade.Types = intersect(upgrade.Types, base.Features)
		base.Paths = append(base.Paths, conformance.Path{Name: "upgrade-https", Address: l.judged.address, Upgrade: &upgrade})
		for _, c := range l.judged.before {
			base.Paths = append(base.Paths, l.judgedPath(c, upgrade))
		}
	}
	return base, nil
}

func intersect(list, with []string) (both []string) {
	for _, s := range list {
		if slices.Contains(with, s) {
			both = append(both, s)
		}
	}
	return both
}

// endpointTarget describes a router that runs already.
func endpointTarget(t conformance.Target, e *stranger.Endpoint, direct conformance.Path) (conformance.Target, error) {
	t.Name, t.Features = e.Address, e.Features
	t.Fixture.Own = e.Own
	t.HelloTimeout = 0
	var err error
	if e.HelloTimeout != "" {
		if t.HelloTimeout, err = time.ParseDuration(e.HelloTimeout); err != nil {
			return t, fmt.Errorf("hello_timeout: %w", err)
		}
	}
	roots, err := pool(e.CA)
	if err != nil {
		return t, err
	}
	if t.InnerRoots, err = pool(e.CA, t.Fixture.WitnessCA); err != nil { // behind the passed-through route it is our witness who answers
		return t, err
	}
	t.Fixture.ClientA, t.Fixture.ClientB, t.Fixture.Expired, t.Fixture.ClientChain = nil, nil, nil, nil // its authorities are not ours
	for _, c := range []struct {
		pair *stranger.Pair
		into **tls.Certificate
	}{{e.ClientA, &t.Fixture.ClientA}, {e.ClientB, &t.Fixture.ClientB}} {
		if c.pair == nil {
			continue
		}
		cert, err := tls.LoadX509KeyPair(c.pair.Cert, c.pair.Key)
		if err != nil {
			return t, err
		}
		*c.into = &cert
	}
	t.Paths = []conformance.Path{direct}
	u := e.Upgrade
	if u == nil {
		return t, nil
	}
	up := conformance.UpgradePath{
		TLS: u.TLS != "off", Roots: roots, ServerName: cmp.Or(u.SNI, e.Own), Host: cmp.Or(u.Host, u.SNI, e.Own),
		Path: cmp.Or(u.Path, router.DefaultUpgradePath), Types: u.Types, Intermediary: u.Intermediary == "yes",
	}
	if u.CA != "" {
		if up.Roots, err = pool(u.CA); err != nil {
			return t, err
		}
	}
	path := conformance.Path{Name: "upgraded", Address: cmp.Or(u.Address, e.Address), Upgrade: &up}
	if u.IdleTimeout != "" {
		if path.IdleTimeout, err = time.ParseDuration(u.IdleTimeout); err != nil {
			return t, fmt.Errorf("upgrade.idle_timeout: %w", err)
		}
	}
	t.Paths = append(t.Paths, path)
	return t, nil
}

func pool(files ...string) (*x509.CertPool, error) {
	p := x509.NewCertPool()
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !p.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", file)
		}
	}
	return p, nil
}

// balancerName is what the certificate of a strange load balancer is for.
const balancerName = "lb.example.test"

// startStrangeBalancer starts the stranger before the target that the checks play.
func (l *Lab) startStrangeBalancer(ctx context.Context) error {
	stub, err := l.beforeStub()
	if err != nil {
		return err
	}
	cert, err := l.pki.outer.Issue(certs.Leaf{CommonName: balancerName, DNS: []string{balancerName}})
	if err != nil {
		return err
	}
	certFile, keyFile, err := certs.WritePEM(l.dir, "strange-lb", cert)
	if err != nil {
		return err
	}
	doc := door.Balancer{
		Listen: "127.0.0.1:0", Certificates: []door.Certificate{{Cert: certFile, Key: keyFile}}, IdleTimeout: judgedIdle.String(),
		Targets: []door.BalancerTarget{{Address: stub.address, TLS: true}},
	}
	s, err := l.meet(ctx, conformance.LoadBalancer, doc)
	if err != nil {
		return err
	}
	l.opt.Step("load balancer under test " + s.about.Name)
	i, err := conformance.Start(ctx, s.adapter, s.dir, doc)
	if err != nil {
		return fmt.Errorf("target %s: %w", s.file.Path, err)
	}
	l.onClose(i.Stop)
	base, upgrade := l.target(s.about.Version)
	upgrade.Roots, upgrade.Intermediary, upgrade.ServerName, upgrade.Host = l.pki.outerRoots, true, balancerName, balancerName
	base.Name, base.Role, base.Features = s.about.Name, conformance.LoadBalancer, s.about.Features
	base.Stub, base.StubCertificate = l.judged.stub, &l.pki.stub
	base.Balancers = conformance.AdaptedBalancer{Adapter: s.adapter, Base: doc, Dir: s.dir}
	base.Paths = []conformance.Path{{Name: "lb", Address: i.Address(), Upgrade: &upgrade, IdleTimeout: judgedIdle}}
	l.judged.strangers = append(l.judged.strangers, base)
	return nil
}

// meetClient describes a strange client.
func (l *Lab) meetClient(ctx context.Context) error {
	s, err := l.meet(ctx, conformance.Client, nil)
	if err != nil {
		return err
	}
	base, _ := l.target(s.about.Version)
	base.Name, base.Role, base.Features = s.about.Name, conformance.Client, s.about.Features
	base.Dial = func(ctx context.Context, req conformance.DialRequest) (net.Conn, conformance.DialReport, error) {
		return l.dialThrough(ctx, s, req)
	}
	l.judged.strangers = append(l.judged.strangers, base)
	return nil
}

// dialThrough asks an adapter for a tunnel, with files in place of what a check has in memory.
func (l *Lab) dialThrough(ctx context.Context, s *strange, req conformance.DialRequest) (net.Conn, conformance.DialReport, error) {
	dir, err := os.MkdirTemp(s.dir, "dial-")
	if err != nil {
		return nil, conformance.DialReport{}, err
	}
	r := door.Request{Dir: dir, Address: req.Address, SNI: req.SNI, ALPN: req.ALPN, OuterSNI: req.OuterSNI, Upgrade: req.Upgrade, CA: &door.CA{}}
	r.CA.Outer, r.CA.Inner = filepath.Join(dir, "outer.pem"), filepath.Join(dir, "inner.pem")
	err = errors.Join(os.WriteFile(r.CA.Outer, req.OuterCA, 0o600), os.WriteFile(r.CA.Inner, req.InnerCA, 0o600))
	if err == nil && req.Client != nil {
		r.Client = &door.Identity{}
		r.Client.Cert, r.Client.Key, err = certs.WritePEM(dir, "client", *req.Client)
	}
	if err != nil {
		return nil, conformance.DialReport{}, errors.Join(err, os.RemoveAll(dir))
	}
	conn, answer, err := s.adapter.Dial(ctx, r)
	return conn, conformance.DialReport{Class: answer.Class, Upgrade: answer.UpgradeType, ALPN: answer.ALPN}, err
}
