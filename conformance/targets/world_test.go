package targets_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

// world is what stands around a product: authorities, certificates on disk, and backends.
type world struct {
	t          *testing.T
	roots      *x509.CertPool
	cert       object // the router's, or the load balancer's
	behind     tls.Certificate
	client     tls.Certificate
	clientCA   string
	mu         sync.Mutex // guards the backends
	backends   map[string]string
	encrypted  map[string]string
	sourceSeen chan string // the PROXY header that the backend "proxied" gets
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, backends: map[string]string{}, encrypted: map[string]string{}, sourceSeen: make(chan string, 16)}
	ca := must(certs.NewCA("targets"))(t)
	w.roots = ca.Pool()
	dir := t.TempDir()
	front := must(ca.Issue(certs.Leaf{CommonName: "front.test", DNS: []string{"front.test", "a.test", "b.test", "c.test", "secret.test", "*.wild.test"}}))(t)
	cert, key, err := certs.WritePEM(dir, "front", front)
	check(t, err)
	w.cert = object{"cert": cert, "key": key}
	w.behind = must(ca.Issue(certs.Leaf{CommonName: "pass.test", DNS: []string{"pass.test"}}))(t)
	clients := must(certs.NewCA("clients"))(t)
	w.client = must(clients.Issue(certs.Leaf{CommonName: "client", Client: true}))(t)
	w.clientCA = filepath.Join(dir, "clients.pem")
	check(t, os.WriteFile(w.clientCA, clients.PEM(), 0o600))
	return w
}

// echo is the address of a backend that answers each line with its name and the line; it is started when it is first asked for.
func (w *world) echo(name string) string { return w.backend(w.backends, name, nil) }

// echoTLS is the same behind TLS.
func (w *world) echoTLS(name string) string {
	return w.backend(w.encrypted, name, &tls.Config{Certificates: []tls.Certificate{w.behind}, NextProtos: []string{"alpha", "http/1.1"}})
}

func (w *world) backend(in map[string]string, name string, cfg *tls.Config) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if in[name] != "" {
		return in[name]
	}
	ln := must(net.Listen("tcp", "127.0.0.1:0"))(w.t)
	in[name] = ln.Addr().String()
	var open sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	open.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if cfg != nil {
				c = tls.Server(c, cfg)
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			open.Go(func() { w.serve(c, name) })
		}
	})
	w.t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		open.Wait()
	})
	return in[name]
}

// A key and its answer, of RFC 6455, section 1.3.
const (
	key    = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// serve answers lines. A request of HTTP is answered too: an upgrade with 101, and the lines begin behind it.
func (w *world) serve(c net.Conn, name string) {
	defer c.Close()
	r := bufio.NewReader(io.LimitReader(c, 1<<20))
	if name == "proxied" {
		header, err := r.ReadString('\n')
		if err != nil {
			return
		}
		w.sourceSeen <- header
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if strings.HasSuffix(line, " HTTP/1.1\r\n") {
			upgrade := ""
			for line != "\r\n" && err == nil {
				if line, err = r.ReadString('\n'); strings.HasPrefix(strings.ToLower(line), "upgrade: ") {
					upgrade = strings.TrimSpace(line[len("upgrade: "):])
				}
			}
			answer := "HTTP/1.1 200 OK\r\nContent-Length: " + fmt.Sprint(len(name)) + "\r\n\r\n" + name
			if upgrade != "" {
				answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + upgrade + "\r\nSec-WebSocket-Accept: " + accept + "\r\n\r\n"
			}
			_, _ = io.WriteString(c, answer)
			continue
		}
		_, _ = io.WriteString(c, name+" "+line)
	}
}

// router is a document of section 5 whose route a leads to that backend.
func (w *world) router(a string) object {
	terminate := func(name, sni, alpn, backend string) object {
		return object{"name": name, "sni": []string{sni}, "alpn": []string{alpn}, "mode": "terminate", "client_auth": object{"mode": "none"}, "backend": object{"address": w.echo(backend), "tls": "off"}}
	}
	secret := terminate("secret", "secret.test", "alpha", "B")
	secret["client_auth"] = object{"mode": "require", "ca": w.clientCA}
	return object{
		"listen": "127.0.0.1:0", "certificates": []object{w.cert}, "drain": object{"timeout": "30s"},
		"limits": object{"client_hello_timeout": "1s"},
		"routes": []object{
			terminate("a", "a.test", "alpha", a),
			terminate("b", "b.test", "beta", "B"),
			terminate("wild", "*.wild.test", "alpha", "B"),
			secret,
			{"name": "pass", "sni": []string{"pass.test"}, "mode": "passthrough", "backend": object{"address": w.echoTLS("P")}},
			{"name": "any", "alpn": []string{"anything"}, "mode": "terminate", "backend": object{"address": w.echo("N")}},
		},
	}
}

// balancer is a load balancer's configuration.
func (w *world) balancer(target string) object {
	return object{"listen": "127.0.0.1:0", "certificates": []object{w.cert}, "targets": []object{{"address": target, "tls": false}}}
}

func route(config object, name string) object {
	for _, r := range config["routes"].([]object) {
		if r["name"] == name {
			return r
		}
	}
	panic("no route " + name)
}

// clone copies a configuration one level deeper than certificates, which is as deep as tests change it.
func clone(t *testing.T, config object) object {
	t.Helper()
	text := must(json.Marshal(config))(t)
	var c object
	check(t, json.Unmarshal(text, &c))
	c["certificates"] = []object{maps.Clone(c["certificates"].([]any)[0].(object))}
	return c
}

// dial makes a TLS connection to the product.
func (w *world) dial(t *testing.T, addr, sni string, alpn ...string) (*line, error) {
	t.Helper()
	cfg := &tls.Config{ServerName: sni, RootCAs: w.roots, NextProtos: alpn, MinVersion: tls.VersionTLS12}
	if sni == "secret.test" {
		cfg.Certificates = []tls.Certificate{w.client}
	}
	return w.dialWith(t, addr, cfg, "")
}

func (w *world) dialWith(t *testing.T, addr string, cfg *tls.Config, before string) (*line, error) {
	t.Helper()
	raw, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { raw.Close() })
	check(t, raw.SetDeadline(time.Now().Add(patience)))
	if _, err := io.WriteString(raw, before); err != nil {
		return nil, err
	}
	c := tls.Client(raw, cfg)
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	return &line{c, bufio.NewReader(c)}, nil
}

// line is a connection on which lines are said and answered.
type line struct {
	*tls.Conn
	r *bufio.Reader
}

func (l *line) say(text string) (string, error) {
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(l, text+"\n"); err != nil {
		return "", err
	}
	got, err := l.r.ReadString('\n')
	return strings.TrimSpace(got), err
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
