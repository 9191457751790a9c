package strength

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// dialTime bounds the connection to the target, its outer handshake included.
const dialTime = 10 * time.Second

// before puts a fault before the target. Of its paths it leaves the first direct one and the first with an upgrade, that without a
// load balancer in between if there is one: more of a kind would be told the same. end takes all down.
//
// A fault of HTTP needs what is inside the outer TLS: its proxy ends that TLS towards the target, and the checks get a path in the
// clear. An instance cannot be described so, for its checks may speak to its port as they like: there is none then.
func before(target conformance.Target, f Fault) (spoiled conformance.Target, end func(), err error) {
	s := &spoiling{fault: f}
	paths := shortest(target.Paths)
	target.Paths = nil
	for _, p := range paths {
		switch {
		case f.Layer == Wire:
			p.Address, err = s.listen(dialTCP(p.Address))
		case p.Upgrade == nil:
			continue
		default:
			up := *p.Upgrade
			p.Address, err = s.listen(dialEndpoint(p.Address, up))
			up.TLS, up.Roots, up.ServerName = false, nil, ""
			p.Upgrade = &up
			if f.Idle > 0 {
				p.IdleTimeout = f.Idle
			}
		}
		if err != nil {
			s.end()
			return target, nil, err
		}
		target.Paths = append(target.Paths, p)
	}
	switch {
	case f.Layer == HTTP:
		target.Launcher = nil
	case target.Launcher != nil:
		target.Launcher = launcher{target.Launcher, s}
	}
	return target, s.end, nil
}

func shortest(all []conformance.Path) (paths []conformance.Path) {
	pick := func(is func(conformance.Path) bool) bool {
		i := slices.IndexFunc(all, is)
		if i >= 0 {
			paths = append(paths, all[i])
		}
		return i >= 0
	}
	pick(func(p conformance.Path) bool { return p.Upgrade == nil })
	if !pick(func(p conformance.Path) bool { return p.Upgrade != nil && !p.Upgrade.Intermediary }) {
		pick(func(p conformance.Path) bool { return p.Upgrade != nil })
	}
	return paths
}

func dialTCP(address string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.DialTimeout("tcp", address, dialTime) }
}

// dialEndpoint opens what an upgrade request can be written on.
func dialEndpoint(address string, up conformance.UpgradePath) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		c, err := dialTCP(address)()
		if err != nil || !up.TLS {
			return c, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), dialTime)
		defer cancel()
		secure := tls.Client(c, &tls.Config{ServerName: up.ServerName, RootCAs: up.Roots, MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return secure, nil
	}
}

// spoiling are the proxies of a fault.
type spoiling struct {
	fault   Fault
	mu      sync.Mutex // guards proxies
	proxies []*Proxy
}

func (s *spoiling) listen(dial func() (net.Conn, error)) (string, error) {
	p, err := Listen(dial, s.fault.New())
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proxies = append(s.proxies, p)
	return p.Address(), nil
}

func (s *spoiling) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.proxies {
		p.Close()
	}
	s.proxies = nil
}

// launcher starts instances with the fault before them.
type launcher struct {
	conformance.Launcher
	spoiling *spoiling
}

func (l launcher) Launch(ctx context.Context, doc door.Router) (conformance.Instance, error) {
	i, err := l.Launcher.Launch(ctx, doc)
	if err != nil {
		return nil, err
	}
	address, err := l.spoiling.listen(dialTCP(i.Address()))
	if err != nil {
		return nil, errors.Join(err, i.Stop(ctx))
	}
	return instance{i, address}, nil
}

type instance struct {
	conformance.Instance
	address string
}

func (i instance) Address() string { return i.address }
