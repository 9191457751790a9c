// Package realproxy runs load balancers of others, as Debian has them, in the place of the simulator.
//
// Each product is one file: a template of its configuration that lets upgrades through, and how it is started. It runs in a
// private directory, as an unprivileged account where the caller is root, and takes connections on 127.0.0.1 when [Start]
// returns; with protocol TCP the connection that shows it has gone on to the next hop. It never verifies the next hop's
// certificate, as an AWS load balancer does not. A product that is not installed is a [*process.MissingError] that names the
// Debian package.
package realproxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/process"
	"github.com/tlsroute/tlsroute-bench/internal/product"
)

// Spec says what a load balancer listens on and where it leads.
type Spec struct {
	// Name is its DNS name: what Certificate is for.
	Name        string
	Certificate tls.Certificate
	// Listen is host:port; 127.0.0.1 with a free port when empty.
	Listen string
	// Protocol is HTTPS, TLS (ends TLS and knows no HTTP) or TCP (passes every byte on).
	Protocol string
	// RedirectHTTP opens a second port, of plaintext HTTP, that redirects to HTTPS.
	RedirectHTTP bool
	// AcceptProxy expects a PROXY header before everything else, and believes it.
	AcceptProxy bool
	// SendProxy is the version of the PROXY header that the next hop gets, v1 or v2; "" sends none.
	SendProxy string
	// PreserveClientIP connects onwards from the client's own address.
	PreserveClientIP bool
	// Next is the next hop.
	Next Next
	// Apps are paths that lead elsewhere, over plaintext HTTP: by prefix, such as /app/.
	Apps []App
	// Idle bounds how long nothing may move, tunnels included.
	Idle time.Duration

	// Dir is the folder in which the private directory is made; see process.Account.PrivateDir.
	Dir    string
	Logger *slog.Logger
}

// Next is where a load balancer leads.
type Next struct {
	// Address is host:port, where connections go at first, and always without Resolver.
	Address string
	// TLS begins TLS with the next hop, with Name as SNI. Nothing is verified.
	TLS  bool
	Name string
	// Resolver is host:port of a name server; Name is resolved there again and again, to at most Nodes addresses.
	Resolver string
	Nodes    int
}

// App is one rule of path-based routing.
type App struct{ Prefix, Address string }

// Running is a product that takes connections.
type Running struct {
	*product.Running
	// Address and Redirect are host:port; Redirect is empty without Spec.RedirectHTTP.
	Address, Redirect string
}

// kind is one program and its configuration.
type kind struct {
	product.Product
	// protocols that its template has, and what else it can do.
	protocols                                   []string
	sendProxy                                   []string
	preserves, resolves, acceptsProxy, sendsSNI bool
	// needs says what else must be installed for a protocol; nil for nothing.
	needs func(protocol string) []process.MissingError
}

var kinds product.Set[kind]

// Products lists the products, sorted.
func Products() []string { return kinds.Names() }

// Check says what a product cannot do, without looking at this machine; nil when it can.
func Check(name string, s Spec) error {
	p, ok := kinds.Find(name)
	switch {
	case !ok:
		return fmt.Errorf("no real product %q: there are %s", name, strings.Join(Products(), ", "))
	case !slices.Contains(p.protocols, s.Protocol):
		return fmt.Errorf("%s is configured here for %s only, not %s", name, strings.Join(p.protocols, " and "), s.Protocol)
	case s.AcceptProxy && !p.acceptsProxy:
		return fmt.Errorf("%s takes no PROXY header", name)
	case s.SendProxy != "" && !slices.Contains(p.sendProxy, s.SendProxy):
		return fmt.Errorf("%s does not send PROXY %s", name, s.SendProxy)
	case s.PreserveClientIP && !p.preserves:
		return fmt.Errorf("%s is not configured here to keep the client's address", name)
	case s.Next.Resolver != "" && !p.resolves:
		return fmt.Errorf("%s is not configured here to resolve its target again", name)
	}
	return nil
}

// Start runs a product and returns when it takes connections. ctx bounds the start only. On an error nothing is left behind.
func Start(ctx context.Context, name string, s Spec) (*Running, error) {
	if err := Check(name, s); err != nil {
		return nil, err
	}
	k, _ := kinds.Find(name)
	launch := product.Launch{Certificate: s.Certificate, Dir: s.Dir, Prefix: "tlsroute-bench-" + name + "-", Logger: s.Logger}
	if k.needs != nil {
		launch.Needs = k.needs(s.Protocol)
	}
	r := new(Running)
	launch.At = func(f product.Files, free [2]string) (any, []string) {
		r.Address, r.Redirect = cmp.Or(s.Listen, free[0]), ""
		if s.RedirectHTTP {
			r.Redirect = free[1]
		}
		return view{s, f, r.Address, r.Redirect}, []string{r.Address, r.Redirect}
	}
	var err error
	r.Running, err = k.Start(ctx, launch)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// view is what a template sees.
type view struct {
	Spec
	product.Files
	Address, Redirect string
}

// Seconds is Idle in whole seconds, at least one.
func (v view) Seconds() int { return max(1, int(v.Idle/time.Second)) }

// NextHost and NextPort are the parts of the next hop's address.
func (v view) NextHost() string { host, _, _ := net.SplitHostPort(v.Next.Address); return host }
func (v view) NextPort() string { _, port, _ := net.SplitHostPort(v.Next.Address); return port }
