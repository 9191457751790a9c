// Package product runs server programs of others, as Debian has them, by a configuration that is made for the run.
//
// A program runs in a private directory, as an unprivileged account where the caller is root, and takes connections on the addresses of
// its configuration when [Product.Start] returns. One that is not installed is a [*process.MissingError] that names the Debian package.
package product

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
	"syscall"
	"text/template"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// versionTimeout bounds how long a program may take to tell its version.
const versionTimeout = 10 * time.Second

// Product is a program and how it is run.
type Product struct {
	Name, Package string
	Binaries      []string // the first that is installed
	Config        *template.Template
	Argv          func(program, dir, config string) []string
	// Death is the signal it gets when this process dies: one by which it ends its own children too. It is stopped by SIGTERM.
	Death syscall.Signal
	// VersionArg is the argument by which it tells its version, and Version finds that in the answer.
	VersionArg string
	Version    *regexp.Regexp
}

// Launch is one run of a product.
type Launch struct {
	// Needs are other files that must be installed.
	Needs []process.MissingError
	// Certificate is written to files when it has one.
	Certificate tls.Certificate
	// Dir is the folder in which the private directory is made, and Prefix the beginning of that one's name; see
	// process.Account.PrivateDir.
	Dir, Prefix string
	Logger      *slog.Logger // silent when nil
	// At makes what the template sees, and the addresses, host:port, at which connections are taken then; an empty one is none. It may use
	// two addresses of 127.0.0.1 that are free, and is called again when somebody else took one of them meanwhile.
	At func(f Files, free [2]string) (view any, addresses []string)
}

// Files are where the files of a run are: the private directory, and the certificate's parts apart and in one file, empty without one.
type Files struct{ Home, Cert, Key, Both string }

// Running is a product that takes connections.
type Running struct {
	Product, Version string

	child *process.Child
	dir   string
}

// Start returns when the product takes connections. ctx bounds the start only. On an error nothing is left behind.
func (p Product) Start(ctx context.Context, l Launch) (_ *Running, err error) {
	if l.Logger == nil {
		l.Logger = slog.New(slog.DiscardHandler)
	}
	program, err := process.Find(p.Package, process.SystemFolders, p.Binaries...)
	if err != nil {
		return nil, err
	}
	for _, need := range l.Needs {
		if _, err := os.Stat(need.Program); err != nil {
			return nil, &need
		}
	}
	r := &Running{Product: p.Name}
	if r.Version, err = p.version(ctx, program); err != nil {
		return nil, err
	}
	account, err := process.Unprivileged("www-data")
	if err != nil {
		return nil, err
	}
	if r.dir, err = account.PrivateDir(l.Dir, l.Prefix, l.Logger); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, process.RemoveAll(r.dir))
		}
	}()
	files, err := write(account, r.dir, l.Certificate)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(r.dir, "config")
	var addresses []string
	var broken error // the configuration; of the last try
	at := func(free []*net.TCPAddr) process.Command {
		var view any
		var text bytes.Buffer
		view, addresses = l.At(files, [2]string{free[0].String(), free[1].String()})
		broken = cmp.Or(p.Config.Execute(&text, view), account.WriteFile(config, text.Bytes()))
		return process.Command{Account: account, Dir: r.dir, Log: "log", Argv: p.Argv(program, r.dir, config), Death: p.Death}
	}
	ready := func(ctx context.Context, _ []*net.TCPAddr) error {
		return cmp.Or(broken, process.Accepts(ctx, addresses...))
	}
	if r.child, err = process.ListenAt(ctx, l.Logger, 2, at, ready); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, cmp.Or(broken, err))
	}
	return r, nil
}

// version asks a program; some end with an error all the same, so what counts is that they tell.
func (p Product) version(ctx context.Context, program string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, p.VersionArg).CombinedOutput()
	found := p.Version.FindSubmatch(out)
	if found == nil {
		return "", errors.Join(fmt.Errorf("%s %s does not tell a version", program, p.VersionArg), err)
	}
	return string(found[1]), nil
}

// write writes a certificate in the forms that products want.
func write(account process.Account, dir string, c tls.Certificate) (f Files, err error) {
	f.Home = dir
	if len(c.Certificate) == 0 {
		return f, nil
	}
	if f.Cert, f.Key, err = certs.WritePEM(dir, "front", c); err != nil {
		return f, err
	}
	cert, err1 := os.ReadFile(f.Cert)
	key, err2 := os.ReadFile(f.Key)
	f.Both = filepath.Join(dir, "both.pem")
	return f, errors.Join(err1, err2, account.Own(f.Cert), account.Own(f.Key), account.WriteFile(f.Both, slices.Concat(cert, key)))
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
