package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/near"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
	"github.com/tlsroute/tlsroute-bench/refimpl/client/proxy"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// Proxy is a local port that leads to one route; see "tlsroute-bench proxy".
type Proxy struct {
	Kind string // db, ssh, http or kube
	// Router is host:port, or a role in the ready file ("router", "alb").
	Router string
	// Ready is a file that "serve --ready" wrote, "" for none. What is not set below is taken from it.
	Ready string
	Route string // a name in it
	SNI   string
	ALPN  []string
	// OuterCA and InnerCA are PEM bundles; without a ready file, "" means the system's roots.
	OuterCA, InnerCA     string
	Cert, Key            string // client certificate
	LocalCert, LocalKey  string // for database clients that want TLS on the local port; "": one that nobody vouches for
	Upgrade, UpgradePath string

	Listen  string           // the local port, unless Stdio
	Stdio   bool             // one connection, on Stdin and Stdout
	Exec    []string         // a client to start; the proxy ends with it
	Signals <-chan os.Signal // for that client

	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Say, Warn      func(format string, args ...any)
}

// Upgrades are the values of Proxy.Upgrade.
func Upgrades() []string { return slices.Concat([]string{client.Auto, client.Direct}, upgrade.Names()) }

// Run serves until ctx ends, the one connection of Stdio is over, or the client has ended: an *exec.ExitError is how, and then
// ctx does not matter. A *ConfigError says that a file is at fault: nothing was started.
func (p Proxy) Run(ctx context.Context) error {
	s, err := p.server()
	if err != nil {
		return err
	}
	if p.Stdio {
		return s.Stdio(ctx, p.Stdin, p.Stdout)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", p.Listen)
	if err != nil {
		return err
	}
	if len(p.Exec) == 0 {
		p.Say("proxy: listening on %s", listener.Addr())
		return s.Serve(ctx, listener)
	}
	return p.run(context.WithoutCancel(ctx), s, listener)
}

// run starts the client and ends with it. The client decides when that is, also about a signal: to psql, Ctrl-C is no end.
func (p Proxy) run(ctx context.Context, s *proxy.Server, listener net.Listener) error {
	cmd := exec.Command(p.Exec[0], p.Exec[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.Stdin, p.Stdout, p.Stderr
	cmd.Env = append(os.Environ(), s.Environment(listener.Addr())...)
	if s.Kind == proxy.Kube {
		dir, err := os.MkdirTemp("", "tlsroute-bench-")
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		defer func() { _ = os.RemoveAll(dir) }() // nothing in it is secret
		file := filepath.Join(dir, "kubeconfig")
		if err := os.WriteFile(file, proxy.Kubeconfig(listener.Addr()), 0o600); err != nil {
			return errors.Join(err, listener.Close())
		}
		cmd.Env = append(cmd.Env, "KUBECONFIG="+file)
	}
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	err := proxy.Run(cmd, p.Signals)
	stop()
	return errors.Join(err, <-served)
}

func (p Proxy) server() (*proxy.Server, error) {
	if p.Ready != "" {
		if err := p.fill(); err != nil {
			return nil, &ConfigError{p.Ready, err}
		}
	}
	d := &client.Dialer{Address: p.Router, ServerName: p.SNI, ALPN: p.ALPN, Upgrade: p.Upgrade, Path: p.UpgradePath, Ping: true}
	var err error
	if d.OuterRoots, err = bundle(p.OuterCA); err != nil {
		return nil, &ConfigError{p.OuterCA, err}
	}
	if d.InnerRoots, err = bundle(p.InnerCA); err != nil {
		return nil, &ConfigError{p.InnerCA, err}
	}
	if p.Cert != "" {
		cert, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return nil, &ConfigError{p.Cert, err}
		}
		d.Certificates = []tls.Certificate{cert}
	}
	s := &proxy.Server{
		Kind: proxy.Kind(p.Kind), Dialer: d, Say: func(line string) { p.Warn("proxy: %s", line) },
	}
	if s.Kind == proxy.Database {
		cert, err := p.localCertificate()
		if err != nil {
			return nil, &ConfigError{p.LocalCert, err}
		}
		s.LocalTLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	return s, nil
}

// localCertificate is the one that was given, or one that lives as long as the process: good for clients that want TLS and do not
// ask with whom (sslmode=require).
func (p Proxy) localCertificate() (tls.Certificate, error) {
	if p.LocalCert != "" {
		return tls.LoadX509KeyPair(p.LocalCert, p.LocalKey)
	}
	return certs.SelfSigned(certs.Leaf{
		CommonName: "tlsroute-bench proxy db", DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotAfter: time.Now().AddDate(1, 0, 0),
	})
}

// fill takes from the ready file what is not set.
func (p *Proxy) fill() error {
	data, err := os.ReadFile(p.Ready)
	if err != nil {
		return err
	}
	var ready Ready
	if err := json.Unmarshal(data, &ready); err != nil {
		return err
	}
	if a, ok := ready.Addresses[p.Router]; ok {
		p.Router = a
	}
	set := func(to *string, value string) {
		if *to == "" {
			*to = value
		}
	}
	set(&p.OuterCA, ready.CA.Outer)
	set(&p.InnerCA, ready.CA.Inner)
	set(&p.UpgradePath, ready.Upgrade.Path)
	if p.Cert == "" {
		p.Cert, p.Key = ready.Client.Cert, ready.Client.Key
	}
	if p.Route == "" {
		return nil
	}
	var names []string
	for _, r := range ready.Routes {
		if r.Name != p.Route {
			names = append(names, r.Name)
			continue
		}
		if len(r.SNI) > 0 {
			set(&p.SNI, r.SNI[0])
		}
		if strings.HasPrefix(p.SNI, "*.") {
			return fmt.Errorf("route %s takes any name like %s: say which with --sni", r.Name, p.SNI)
		}
		if len(p.ALPN) == 0 {
			p.ALPN = offer(r.ALPN)
		}
		return nil
	}
	if word := near.Word(p.Route, names); word != "" {
		return fmt.Errorf("there is no route %q; did you mean %q?", p.Route, word)
	}
	return fmt.Errorf("there is no route %q, but %s", p.Route, strings.Join(names, ", "))
}

// offer leaves out the -ping variants: behind them a router may frame the stream, which no client here takes apart
// (tls-routing.md, section 1.4, step 6). A route that has nothing else means something else by it.
func offer(alpn []string) []string {
	plain := slices.DeleteFunc(slices.Clone(alpn), func(name string) bool { return strings.HasSuffix(name, "-ping") })
	if len(plain) == 0 {
		return alpn
	}
	return plain
}

// bundle reads a PEM bundle; nil, the system's roots, for "".
func bundle(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, errors.New("no PEM certificate in it")
	}
	return pool, nil
}
