// Package peerrouter runs routers of others, as Debian has them, in the place of ours: they route by SNI to the same backends.
//
// Each product is one file: a template of its configuration, what it can play and how it is started. It runs in a private directory, as
// an unprivileged account where the caller is root, and takes connections on 127.0.0.1 when [Start] returns. What is passed through and
// what is terminated have a port each: one port for both would cost these products a hop more. Where TLS ends it is 1.3 with X25519 and
// without tickets, so that each handshake is a full one and like the others'. A product that is not installed is a
// [*process.MissingError] that names the Debian package. Sources: facts/performance.md section 4.5.
package peerrouter

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/process"
	"github.com/tlsroute/tlsroute-bench/internal/product"
)

// Route leads names to a backend.
type Route struct {
	Name string
	SNI  []string
	ALPN []string // confirmed where TLS ends; nobody is routed by it
	// Terminate ends TLS; otherwise every byte is passed on.
	Terminate bool
	Backend   string // host:port
}

// Spec says what a router leads to.
type Spec struct {
	Routes      []Route
	Certificate tls.Certificate // of terminated routes
	// Tuned sets what makes the product faster than its defaults do.
	Tuned bool

	// Dir is the folder in which the private directory is made; see process.Account.PrivateDir.
	Dir    string
	Logger *slog.Logger
}

// Running is a product that takes connections.
type Running struct {
	*product.Running
	Tuned bool
	// Pass and Terminate are host:port, empty where there is no such route.
	Pass, Terminate string
}

// kind is one program and its configuration.
type kind struct {
	product.Product
	// What it can play.
	passes, terminates, tunes, alpn bool
	needs                           []process.MissingError // other files, with their packages
}

var kinds product.Set[kind]

// Products lists the products, sorted.
func Products() []string { return kinds.Names() }

// Check says why there is no such peer, without looking at this machine; nil when there is.
func Check(name string, tuned bool) error {
	p, ok := kinds.Find(name)
	switch {
	case !ok:
		return fmt.Errorf("no peer product %q: there are %s", name, strings.Join(Products(), ", "))
	case tuned && !p.tunes:
		return fmt.Errorf("%s has nothing that is tuned here: leave tuned out", name)
	}
	return nil
}

// CheckRoute says why a product cannot play a route; nil when it can.
func CheckRoute(name string, r Route) error {
	p, _ := kinds.Find(name)
	switch {
	case len(r.SNI) == 0:
		return fmt.Errorf("%s routes by SNI here, and route %s has none", name, r.Name)
	case slices.ContainsFunc(r.SNI, func(s string) bool { return strings.Contains(s, "*") }):
		return fmt.Errorf("%s is configured here for exact names, and route %s has a wildcard", name, r.Name)
	case r.Terminate && !p.terminates:
		return fmt.Errorf("%s ends no TLS: route %s must be of mode passthrough", name, r.Name)
	case !r.Terminate && !p.passes:
		return fmt.Errorf("%s always ends TLS: route %s must be of mode terminate", name, r.Name)
	case r.Terminate && len(r.ALPN) > 0 && !p.alpn:
		return fmt.Errorf("%s confirms no ALPN where it ends TLS: route %s must be without alpn", name, r.Name)
	}
	return nil
}

// Start runs a product and returns when it takes connections. ctx bounds the start only. On an error nothing is left behind.
func Start(ctx context.Context, name string, s Spec) (*Running, error) {
	if err := Check(name, s.Tuned); err != nil {
		return nil, err
	}
	for _, r := range s.Routes {
		if err := CheckRoute(name, r); err != nil {
			return nil, err
		}
	}
	k, _ := kinds.Find(name)
	r := &Running{Tuned: s.Tuned}
	launch := product.Launch{Needs: k.needs, Certificate: s.Certificate, Dir: s.Dir, Prefix: "tlsroute-bench-peer-" + name + "-", Logger: s.Logger}
	launch.At = func(f product.Files, free [2]string) (any, []string) {
		v := view{Spec: s, Files: f}
		if len(v.Passed()) > 0 {
			v.Pass = free[0]
		}
		if len(v.Terminated()) > 0 {
			v.Terminate = free[1]
		}
		r.Pass, r.Terminate = v.Pass, v.Terminate
		return v, []string{r.Pass, r.Terminate}
	}
	var err error
	r.Running, err = k.Start(ctx, launch)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// String is the product, its version and whether it is tuned, as reports have it.
func (r *Running) String() string {
	how := "default"
	if r.Tuned {
		how = "tuned"
	}
	return fmt.Sprintf("%s %s, %s", r.Product, r.Version, how)
}

// view is what a template sees.
type view struct {
	Spec
	product.Files
	Pass, Terminate string
}

// Passed and Terminated are the routes by mode.
func (v view) Passed() []target     { return v.targets(false) }
func (v view) Terminated() []target { return v.targets(true) }

// ALPN are the names of all terminated routes.
func (v view) ALPN() []string {
	var list []string
	for _, r := range v.Routes {
		if r.Terminate {
			list = append(list, r.ALPN...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// ALPNList is ALPN with commas between.
func (v view) ALPNList() string { return strings.Join(v.ALPN(), ",") }

// target is a route with the parts of its backend's address.
type target struct {
	Route
	ID, Host, Port string
}

func (v view) targets(terminate bool) []target {
	var list []target
	for i, r := range v.Routes {
		if r.Terminate == terminate {
			host, port, _ := net.SplitHostPort(r.Backend)
			list = append(list, target{r, "route" + strconv.Itoa(i), host, port})
		}
	}
	return list
}
