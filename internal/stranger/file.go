// Package stranger reads target files: how an implementation under test is reached or started (DESIGN.md section 7).
package stranger

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tlsroute/tlsroute-bench/internal/document"
	"github.com/tlsroute/tlsroute-bench/scenarios"
)

// File describes a target. Exactly one of adapter, image and endpoint is the way in. Paths are relative to the file.
type File struct {
	// Role that the target is judged as.
	Role string `json:"role" jsonschema:"required,enum=router,enum=client,enum=lb"`
	// Adapter is an executable that sets the target up.
	Adapter *Adapter `json:"adapter,omitempty"`
	// Image is a container with an adapter in it.
	Image *Image `json:"image,omitempty"`
	// Endpoint is a router that runs already, set up as docs/your-implementation.md says.
	Endpoint *Endpoint `json:"endpoint,omitempty"`
	// Baseline is a file of known failures.
	Baseline string `json:"baseline,omitempty"`

	// Path is the file itself.
	Path string `json:"-"`
}

// Adapter is a command: a file beside this one, or a program of PATH.
type Adapter struct {
	Command []string `json:"command" jsonschema:"required,minItems=1"`
}

// Image is run by docker with the host's network and processes, and the directory of instances mounted at the same place. The command is the adapter in
// it, run once a verb.
type Image struct {
	Name    string   `json:"name" jsonschema:"required"`
	Command []string `json:"command" jsonschema:"required,minItems=1"`
}

// Endpoint is a router whose routes are those of the fixture (docs/your-implementation.md). It cannot be started anew: checks that need
// another configuration are NOT-RUN.
type Endpoint struct {
	// Address of the router's port, host:port.
	Address string `json:"address" jsonschema:"required"`
	// WitnessA and WitnessB are where its routes lead: addresses of this machine on which the witnesses are to listen.
	WitnessA string `json:"witness_a" jsonschema:"required"`
	WitnessB string `json:"witness_b" jsonschema:"required"`
	// Domain of the fixture's names; conformance.example.test when left out. Own is the router's own name.
	Domain string `json:"domain,omitempty"`
	Own    string `json:"own,omitempty"`
	// CA verifies the router's certificates.
	CA string `json:"ca" jsonschema:"required"`
	// ClientA and ClientB are client certificates of the authorities of the routes mtls and mtls2.
	ClientA *Pair `json:"client_a,omitempty"`
	ClientB *Pair `json:"client_b,omitempty"`
	// Features that it claims (tlsroute-bench checks list --features).
	Features []string `json:"features" jsonschema:"required"`
	// HelloTimeout is after how long a silent client is closed.
	HelloTimeout string `json:"hello_timeout,omitempty"`
	// Upgrade is how to get a tunnel; without it only the direct path is judged.
	Upgrade *Upgrade `json:"upgrade,omitempty"`
}

// Pair is a certificate and its key, PEM.
type Pair struct {
	Cert string `json:"cert" jsonschema:"required"`
	Key  string `json:"key" jsonschema:"required"`
}

// Upgrade is the HTTP endpoint, which may be behind a load balancer.
type Upgrade struct {
	// Address is where it is; that of the endpoint when left out.
	Address string `json:"address,omitempty"`
	// TLS off is plain HTTP.
	TLS  string `json:"tls,omitempty" jsonschema:"enum=on,enum=off"`
	SNI  string `json:"sni,omitempty"`
	Host string `json:"host,omitempty"`
	Path string `json:"path,omitempty"`
	// CA verifies its certificate; that of the endpoint when left out.
	CA string `json:"ca,omitempty"`
	// Types that it takes.
	Types []string `json:"types" jsonschema:"required,minItems=1"`
	// Intermediary is yes when a load balancer answers at the address.
	Intermediary string `json:"intermediary,omitempty" jsonschema:"enum=yes,enum=no"`
	// IdleTimeout is after how much silence that one cuts, such as 60s.
	IdleTimeout string `json:"idle_timeout,omitempty"`
}

// Load reads a target file. Faults are *document.Faults.
func Load(file string) (*File, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	f := &File{Path: file}
	d, err := document.Parse(file, data, scenarios.TargetSchema, f)
	if d == nil {
		return nil, err
	}
	ways := 0
	for _, there := range []bool{f.Adapter != nil, f.Image != nil, f.Endpoint != nil} {
		if there {
			ways++
		}
	}
	if ways != 1 {
		d.Faultf(nil, "a target has one way in: adapter, image or endpoint")
	}
	if f.Endpoint != nil && f.Role != "router" && f.Role != "" {
		d.Faultf([]string{"endpoint"}, "a %s that runs already cannot be judged: it must be told where the checks listen; give an adapter", f.Role)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return f, f.resolve()
}

// resolve makes the paths absolute.
func (f *File) resolve() error {
	dir, err := filepath.Abs(filepath.Dir(f.Path))
	if err != nil {
		return err
	}
	list := []*string{&f.Baseline}
	if f.Adapter != nil {
		beside := filepath.Join(dir, f.Adapter.Command[0])
		if _, err := os.Stat(beside); err == nil && !filepath.IsAbs(f.Adapter.Command[0]) {
			f.Adapter.Command[0] = beside
		}
	}
	if e := f.Endpoint; e != nil {
		list = append(list, &e.CA)
		for _, p := range []*Pair{e.ClientA, e.ClientB} {
			if p != nil {
				list = append(list, &p.Cert, &p.Key)
			}
		}
		if e.Upgrade != nil {
			list = append(list, &e.Upgrade.CA)
		}
	}
	for _, p := range list {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return nil
}
