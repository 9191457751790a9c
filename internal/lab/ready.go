package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// Ready is what "serve --ready FILE" writes once everything listens (DESIGN.md, section 6).
type Ready struct {
	PID int `json:"pid"`
	// Addresses are host:port: of the router, of each load balancer by its name, with -http behind it of the port that redirects, of
	// where each path begins by the path's name, of each peer by its name, with -terminate behind it where TLS ends, and of each backend.
	Addresses map[string]string `json:"addresses"`
	CA        ReadyCA           `json:"ca"`
	Client    ReadyClient       `json:"client"`
	Routes    []ReadyRoute      `json:"routes"`
	Upgrade   ReadyUpgrade      `json:"upgrade"`
	Backends  []ReadyBackend    `json:"backends"`
}

// ReadyCA are PEM bundles: Outer verifies the load balancer, Inner the router and what is inside a tunnel.
type ReadyCA struct {
	Outer string `json:"outer"`
	Inner string `json:"inner"`
}

// ReadyClient is a client certificate that routes with client_auth accept, as files.
type ReadyClient struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// ReadyRoute is a route and the name of its backend.
type ReadyRoute struct {
	Name    string   `json:"name"`
	SNI     []string `json:"sni"`
	ALPN    []string `json:"alpn"`
	Mode    string   `json:"mode"`
	Backend string   `json:"backend"`
}

// ReadyUpgrade is the upgrade endpoint.
type ReadyUpgrade struct {
	Path string `json:"path"`
}

// ReadyBackend is a backend and how to log in to it; Identity is the file of a private key.
type ReadyBackend struct {
	Name     string `json:"name"`
	Product  string `json:"product"`
	Version  string `json:"version"`
	Driver   string `json:"driver"`
	Address  string `json:"address"`
	User     string `json:"user"`
	Password string `json:"password"`
	Database string `json:"database"`
	Identity string `json:"identity"`
	// HostKey is an SSH server's, as a line of authorized_keys.
	HostKey string `json:"host_key,omitempty"`
	// HostCA is the authority that certified it, for a line of known_hosts behind "@cert-authority *".
	HostCA string `json:"host_ca,omitempty"`
	// Folder is where sftp and scp begin; what is put there is removed with the backend.
	Folder string `json:"folder,omitempty"`
	// CA is a file with the authority of a server that takes TLS of its own, such as PostgreSQL's; absent where it takes none.
	CA string `json:"ca,omitempty"`
}

// Ready describes the lab to those who want to connect to it.
func (l *Lab) Ready() Ready {
	r := newReady()
	r.CA = ReadyCA{Outer: l.pki.outerCA, Inner: l.pki.innerCA}
	r.Client = ReadyClient{Cert: l.pki.clientCert, Key: l.pki.clientKey}
	r.Upgrade.Path = l.scenario.Topology.Router.Upgrade.Path
	if l.router.address != "" {
		r.Addresses["router"] = l.router.address
	}
	for _, c := range l.chains {
		for _, n := range c.nodes {
			add(r.Addresses, n.Key, n.addresses()[0])
			if redirect := n.redirect(); redirect != "" {
				add(r.Addresses, n.Key+"-http", redirect)
			}
		}
		if c.path != scenario.PathDirect {
			add(r.Addresses, c.path, c.address())
		}
	}
	for _, p := range l.peers {
		for name, address := range map[string]string{p.name: p.running.Pass, p.name + "-terminate": p.running.Terminate} {
			if address != "" {
				add(r.Addresses, name, address)
			}
		}
	}
	for _, route := range l.scenario.Routes {
		r.Routes = append(r.Routes, ReadyRoute{
			Name: route.Name, SNI: orEmpty(route.SNI), ALPN: orEmpty(route.ALPN), Mode: route.Mode, Backend: route.Backend,
		})
	}
	for _, b := range l.backends {
		r.Addresses[b.Info.Name] = b.Address
		r.Backends = append(r.Backends, ReadyBackend{
			Name: b.Info.Name, Product: b.Info.Product, Version: b.Info.Version, Driver: b.Info.Driver, Address: b.Address,
			User: b.Access.User, Password: b.Access.Password, Database: b.Access.Database, Identity: b.Access.IdentityFile, HostKey: b.Access.HostKeyLine(),
			HostCA: b.Access.HostCALine(), Folder: b.Access.Folder, CA: b.Access.CA,
		})
	}
	return r
}

// add keeps what is there: a load balancer that is on several paths goes by its place on the first.
func add(addresses map[string]string, name, address string) {
	if _, ok := addresses[name]; !ok {
		addresses[name] = address
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// WriteReady writes v as JSON so that a reader who sees the file sees all of it.
func WriteReady(file string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".ready-*")
	if err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // after the rename there is nothing to remove
	if _, err := tmp.Write(append(data, '\n')); err != nil {
		tmp.Close()
		return fmt.Errorf("ready file: %w", err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	return nil
}

// newReady is a description with nothing in it but this process: what the daemons fill in with what they know.
func newReady() Ready {
	return Ready{PID: os.Getpid(), Addresses: map[string]string{}, Routes: []ReadyRoute{}, Backends: []ReadyBackend{}}
}
