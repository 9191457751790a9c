// Package realproxy runs load balancers of others, as Debian has them, in the place of the simulator.
//
// Each product is one file: a template of its configuration that lets upgrades through, and how it is started. It runs in a
// private directory, as an unprivileged account where the caller is root, and takes connections on 127.0.0.1 when [Start]
// returns; with protocol TCP the connection that shows it has gone on to the next hop. It never verifies the next hop's
// certificate, as an AWS load balancer does not. A product that is not installed is a [*process.MissingError] that names the
// Debian package.
package realproxy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
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
	// Address and Redirect are host:port; Redirect is empty without Spec.RedirectHTTP.
	Address, Redirect string
	Product, Version  string

	child  *process.Child
	dir    string
	polite syscall.Signal
}

// product is one program and its configuration.
type product struct {
	name, pkg, binary string
	// protocols that its template has, and what else it can do.
	protocols                                   []string
	sendProxy                                   []string
	preserves, resolves, acceptsProxy, sendsSNI bool
	config                                      *template.Template
	argv                                        func(program, dir, config string) []string
	death                                       syscall.Signal // when this process dies
	polite                                      syscall.Signal // when it is stopped
	versionArg                                  string
	version                                     *regexp.Regexp
	// needs says what else must be installed for a protocol; nil for nothing.
	needs func(protocol string) (file, pkg string)
}

var products []product

func register(p product) {
	if _, ok := find(p.name); ok {
		panic("realproxy: product " + p.name + " registered twice")
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

// Check says what a product cannot do, without looking at this machine; nil when it can.
func Check(name string, s Spec) error {
	p, ok := find(name)
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
func Start(ctx context.Context, name string, s Spec) (_ *Running, err error) {
	if err := Check(name, s); err != nil {
		return nil, err
	}
	p, _ := find(name)
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	program, err := process.Find(p.pkg, process.SystemFolders, p.binary)
	if err != nil {
		return nil, err
	}
	if p.needs != nil {
		if file, pkg := p.needs(s.Protocol); file != "" {
			if _, err := os.Stat(file); err != nil {
				return nil, &process.MissingError{Program: file, Package: pkg}
			}
		}
	}
	r := &Running{Product: p.name, polite: p.polite}
	if r.Version, err = version(ctx, p, program); err != nil {
		return nil, err
	}
	account, err := process.Unprivileged("www-data")
	if err != nil {
		return nil, err
	}
	if r.dir, err = account.PrivateDir(s.Dir, "tlsroute-bench-"+p.name+"-", s.Logger); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, process.RemoveAll(r.dir))
		}
	}()
	files, err := writeCertificate(account, r.dir, s)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(r.dir, "config")
	var broken error
	at := func(port int) process.Command {
		view := view{Spec: s, files: files, Dir: r.dir, Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), User: account.Name}
		if s.Listen != "" {
			view.Address = s.Listen
		}
		if s.RedirectHTTP {
			free, err := process.FreeAddress()
			broken = cmp.Or(broken, err)
			view.Redirect = free.String()
		}
		var text bytes.Buffer
		broken = cmp.Or(broken, p.config.Execute(&text, view), account.WriteFile(config, text.Bytes()))
		r.Address, r.Redirect = view.Address, view.Redirect
		return process.Command{Account: account, Dir: r.dir, Log: "log", Argv: p.argv(program, r.dir, config), Death: p.death}
	}
	ready := func(ctx context.Context, _ string) error {
		return cmp.Or(process.Accepts(ctx, r.Address, r.Redirect), broken)
	}
	if r.child, _, err = process.Listen(ctx, s.Logger, at, ready); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	return r, nil
}

// Close stops the product, kills it when ctx ends, and removes its directory.
func (r *Running) Close(ctx context.Context) error {
	err := r.child.Stop(ctx, r.polite)
	if err != nil {
		err = fmt.Errorf("%s: %w", r.Product, err)
	}
	return errors.Join(err, process.RemoveAll(r.dir))
}

// PID is that of the first process; it may have children.
func (r *Running) PID() int { return r.child.PID() }

// Done is closed when the product has ended, by itself or by Close.
func (r *Running) Done() <-chan struct{} { return r.child.Done() }

// view is what a template sees.
type view struct {
	Spec
	files
	Dir, Address, Redirect, User string
}

// files are the certificate in the forms that products want: both parts apart, and in one file.
type files struct{ Cert, Key, Both string }

// Seconds is Idle in whole seconds, at least one.
func (v view) Seconds() int { return max(1, int(v.Idle/time.Second)) }

// NextHost and NextPort are the parts of the next hop's address.
func (v view) NextHost() string { host, _, _ := net.SplitHostPort(v.Next.Address); return host }
func (v view) NextPort() string { _, port, _ := net.SplitHostPort(v.Next.Address); return port }

func writeCertificate(account process.Account, dir string, s Spec) (f files, err error) {
	if len(s.Certificate.Certificate) == 0 {
		return f, nil
	}
	if f.Cert, f.Key, err = certs.WritePEM(dir, "front", s.Certificate); err != nil {
		return f, err
	}
	cert, err1 := os.ReadFile(f.Cert)
	key, err2 := os.ReadFile(f.Key)
	f.Both = filepath.Join(dir, "both.pem")
	return f, errors.Join(err1, err2, account.Own(f.Cert), account.Own(f.Key), account.WriteFile(f.Both, slices.Concat(cert, key)))
}

// maxVersion bounds what a program may print about itself.
const maxVersion = 8 << 10

func version(ctx context.Context, p product, program string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, p.versionArg)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", program, p.versionArg, err)
	}
	text, _ := io.ReadAll(io.LimitReader(bytes.NewReader(out), maxVersion))
	found := p.version.FindSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("%s %s does not tell a version", program, p.versionArg)
	}
	return string(found[1]), nil
}
