package lab

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// maxReady bounds a ready file.
const maxReady = 1 << 20

// Remote describes a topology that "serve --ready" keeps up, here or on another machine, to a load generator: it has a Plan, and what the
// report says of its parts. It was not started here, so there is nothing to close. A nil source dials from any address. Files that the
// ready file names without a leading slash are beside it, so that a folder with all of them can be taken elsewhere.
//
// Peers are not in a ready file's reach: a scenario with arms for them needs run.
func Remote(sc *scenario.Scenario, file string, source net.IP) (*Lab, error) {
	ready, err := readReady(file)
	if err != nil {
		return nil, &ConfigError{file, err}
	}
	l := &Lab{scenario: sc, remote: true, source: source, pki: &pki{}}
	beside := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(filepath.Dir(file), name)
	}
	if l.pki.outerRoots, err = bundle(beside(ready.CA.Outer)); err != nil {
		return nil, &ConfigError{ready.CA.Outer, err}
	}
	if l.pki.innerRoots, err = bundle(beside(ready.CA.Inner)); err != nil {
		return nil, &ConfigError{ready.CA.Inner, err}
	}
	if ready.Client.Cert != "" {
		if l.pki.client, err = tls.LoadX509KeyPair(beside(ready.Client.Cert), beside(ready.Client.Key)); err != nil {
			return nil, &ConfigError{ready.Client.Cert, err}
		}
	}
	for _, path := range sc.Topology.Paths {
		c, err := remoteChain(sc, ready, path)
		if err != nil {
			return nil, &ConfigError{file, err}
		}
		l.chains = append(l.chains, c)
	}
	for _, b := range ready.Backends {
		running := &backend.Running{
			Info:    result.Backend{Name: b.Name, Driver: b.Driver, Product: b.Product, Version: b.Version},
			Address: b.Address, Access: backend.Access{User: b.User, Password: b.Password, Database: b.Database},
		}
		for _, wanted := range sc.Backends {
			if wanted.Name == b.Name {
				running.Info.Kind = wanted.Kind
			}
		}
		if b.Identity != "" {
			if err := running.Access.ReadKeys(beside(b.Identity), b.HostKey); err != nil {
				return nil, &ConfigError{file, fmt.Errorf("backend %s: %w", b.Name, err)}
			}
		}
		l.backends = append(l.backends, running)
	}
	for _, r := range sc.Routes {
		if l.backend(r.Backend) == nil {
			return nil, &ConfigError{file, fmt.Errorf("it has no backend %q, which route %s leads to", r.Backend, r.Name)}
		}
	}
	return l, nil
}

func remoteChain(sc *scenario.Scenario, ready Ready, path string) (*chain, error) {
	legs, err := sc.Topology.Via(path)
	if err != nil {
		return nil, err
	}
	c := &chain{path: path, inner: ready.Addresses["router"], apart: true}
	for i, leg := range legs {
		n := &node{Leg: leg, remote: ready.Addresses[leg.Key]}
		if i == 0 {
			n.remote = ready.Addresses[path]
		}
		c.nodes = append(c.nodes, n)
	}
	if c.inner == "" || c.address() == "" {
		return nil, fmt.Errorf("it has no address for path %s: was it written for this scenario?", path)
	}
	return c, nil
}

func readReady(file string) (ready Ready, err error) {
	f, err := os.Open(file)
	if err != nil {
		return ready, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxReady))
	_ = f.Close() // it was only read
	if err != nil {
		return ready, err
	}
	return ready, json.Unmarshal(data, &ready)
}
