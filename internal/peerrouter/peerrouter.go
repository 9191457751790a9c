// Package peerrouter runs routers of others, as Debian has them, in the place of ours: they route by SNI to the same backends.
//
// Each product is one file: a template of its configuration, what it can play and how it is started. It runs in a private directory, as
// an unprivileged account where the caller is root, and takes connections on 127.0.0.1 when [Start] returns. What is passed through and
// what is terminated have a port each: one port for both would cost these products a hop more. Where TLS ends it is 1.3 with X25519 and
// without tickets, so that each handshake is a full one and like the others'. A product that is not installed is a
// [*process.MissingError] that names the Debian package. Sources: facts/performance.md section 4.5.
package peerrouter

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/process"
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
	Product, Version string
	Tuned            bool
	// Pass and Terminate are host:port, empty where there is no such route.
	Pass, Terminate string

	child *process.Child
	dir   string
}

type product struct {
	name, pkg string
	binaries  []string // the first that is installed
	// What it can play.
	passes, terminates, tunes, alpn bool
	config                          *template.Template
	argv                            func(program, dir, config string) []string
	death                           syscall.Signal // when this process dies
	versionArg                      string
	version                         *regexp.Regexp
	needs                           []process.MissingError // other files, with their packages
}

var products []product

func register(p product) {
	if _, ok := find(p.name); ok {
		panic("peerrouter: product " + p.name + " registered twice")
	}
	products = append(products, p)
}

func find(name string) (product, bool) {
	i := slices.IndexFunc(products, func(p product) bool { return p.name == name })
	if i < 0 {
		return product{}, false
	}
	return products[i], true
}

// Products lists the products, sorted.
func Products() []string {
	var names []string
	for _, p := range products {
		names = append(names, p.name)
	}
	slices.Sort(names)
	return names
}

// Check says why there is no such peer, without looking at this machine; nil when there is.
func Check(name string, tuned bool) error {
	p, ok := find(name)
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
	p, _ := find(name)
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
func Start(ctx context.Context, name string, s Spec) (_ *Running, err error) {
	if err := Check(name, s.Tuned); err != nil {
		return nil, err
	}
	for _, r := range s.Routes {
		if err := CheckRoute(name, r); err != nil {
			return nil, err
		}
	}
	p, _ := find(name)
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	program, err := process.Find(p.pkg, process.SystemFolders, p.binaries...)
	if err != nil {
		return nil, err
	}
	for _, need := range p.needs {
		if _, err := os.Stat(need.Program); err != nil {
			return nil, &need
		}
	}
	r := &Running{Product: p.name, Tuned: s.Tuned}
	if r.Version, err = version(ctx, p, program); err != nil {
		return nil, err
	}
	account, err := process.Unprivileged("www-data")
	if err != nil {
		return nil, err
	}
	if r.dir, err = account.PrivateDir(s.Dir, "tlsroute-bench-peer-"+p.name+"-", s.Logger); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, process.RemoveAll(r.dir))
		}
	}()
	v := view{Spec: s, Dir: r.dir}
	if err := v.writeCertificate(account); err != nil {
		return nil, err
	}
	config := filepath.Join(r.dir, "config")
	var broken error
	at := func(port int) process.Command {
		first := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		second, err := process.FreeAddress()
		if broken = err; err != nil {
			second = &net.TCPAddr{}
		}
		r.Pass, r.Terminate = "", ""
		if len(v.Passed()) > 0 {
			r.Pass, first = first, second.String()
		}
		if len(v.Terminated()) > 0 {
			r.Terminate = first
		}
		v.Pass, v.Terminate = r.Pass, r.Terminate
		var text bytes.Buffer
		broken = cmp.Or(broken, p.config.Execute(&text, v), account.WriteFile(config, text.Bytes()))
		return process.Command{Account: account, Dir: r.dir, Log: "log", Argv: p.argv(program, r.dir, config), Death: p.death}
	}
	ready := func(ctx context.Context, _ string) error {
		return cmp.Or(process.Accepts(ctx, r.Pass, r.Terminate), broken)
	}
	if r.child, _, err = process.Listen(ctx, s.Logger, at, ready); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
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

// PID is that of the first process; it may have children.
func (r *Running) PID() int { return r.child.PID() }

// Done is closed when the product has ended, by itself or by Close.
func (r *Running) Done() <-chan struct{} { return r.child.Done() }

// Close stops the product, kills it when ctx ends, and removes its directory.
func (r *Running) Close(ctx context.Context) error {
	err := r.child.Stop(ctx, syscall.SIGTERM)
	if err != nil {
		err = fmt.Errorf("%s: %w", r.Product, err)
	}
	return errors.Join(err, process.RemoveAll(r.dir))
}

// view is what a template sees.
type view struct {
	Spec
	Dir, Pass, Terminate string
	Cert, Key, Both      string // both parts apart, and in one file
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

func (v *view) writeCertificate(account process.Account) (err error) {
	if len(v.Certificate.Certificate) == 0 {
		return nil
	}
	if v.Cert, v.Key, err = certs.WritePEM(v.Dir, "router", v.Certificate); err != nil {
		return err
	}
	cert, err1 := os.ReadFile(v.Cert)
	key, err2 := os.ReadFile(v.Key)
	v.Both = filepath.Join(v.Dir, "both.pem")
	return errors.Join(err1, err2, account.Own(v.Cert), account.Own(v.Key), account.WriteFile(v.Both, slices.Concat(cert, key)))
}

// version asks a program; some end with an error all the same, so what counts is that they tell.
func version(ctx context.Context, p product, program string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, p.versionArg).CombinedOutput()
	found := p.version.FindSubmatch(out)
	if found == nil {
		return "", errors.Join(fmt.Errorf("%s %s does not tell a version", program, p.versionArg), err)
	}
	return string(found[1]), nil
}
