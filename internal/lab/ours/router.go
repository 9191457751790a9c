// Package ours puts our own router, client and simulator behind the doors that strangers come through: it starts them in this process
// from the documents of package door.
package ours

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
	"github.com/tlsroute/tlsroute-bench/refimpl/router/admin"
)

// RouterFeatures are those that our router has (tlsroute-bench checks list --features).
func RouterFeatures() []string {
	return []string{
		"terminate", "passthrough", "mtls", "upgrade", "hello-timeout", "websocket", "alpn", "alpn-ping",
		"connection-limits", "pong-timeout", "tlsroute-metrics", "acme-tls-1", "backend-tls", "proxy-in", "proxy-out", "proxy-tlv", "proxy-crc32c", "forwarded-for", "reload", "drain", "postgres",
	}
}

// Config reads a document as our router's configuration.
func Config(doc door.Router) (router.Config, error) {
	for _, f := range doc.Require {
		if !slices.Contains(RouterFeatures(), f) {
			return router.Config{}, &conformance.UnsupportedError{Reason: "no feature " + f}
		}
	}
	doc.Require = nil
	raw, err := json.Marshal(doc)
	if err != nil {
		return router.Config{}, err
	}
	var c router.Config
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return router.Config{}, fmt.Errorf("the router's document: %w", err)
	}
	return c, nil
}

// Document is what of a configuration strangers are told too.
func Document(c router.Config) (door.Router, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return door.Router{}, err
	}
	var doc door.Router
	return doc, json.Unmarshal(raw, &doc)
}

// Routers starts routers in this process. It is a conformance.Launcher.
type Routers struct {
	// Fixture is the document that checks change.
	Fixture door.Router
	// Change may spoil the configuration, for a mutant; nil leaves it.
	Change func(*router.Config)
	// Options but the logger and the admin port's.
	Options router.Options
}

var _ conformance.Launcher = Routers{}

// Document is the fixture's.
func (r Routers) Document() door.Router {
	doc := r.Fixture
	doc.Listen = "127.0.0.1:0"
	doc.Certificates, doc.Routes = slices.Clone(doc.Certificates), slices.Clone(doc.Routes)
	return doc
}

// Launch starts one.
func (r Routers) Launch(ctx context.Context, doc door.Router) (conformance.Instance, error) {
	c, err := r.config(doc)
	if err != nil {
		return nil, err
	}
	i := &instance{from: r, listen: c.Listen, admin: c.Admin, done: make(chan error, 1)}
	opt := r.Options
	opt.Logger = slog.New(slog.NewJSONHandler(&i.log, nil))
	opt.Admin = admin.New
	if i.server, err = router.New(c, opt); err != nil {
		return nil, err
	}
	if err := i.server.Listen(ctx); err != nil {
		return nil, err
	}
	serving, end := context.WithCancel(context.Background())
	i.end = end
	go func() { i.done <- i.server.Serve(serving) }()
	return i, nil
}

func (r Routers) config(doc door.Router) (router.Config, error) {
	c, err := Config(doc)
	if err == nil && r.Change != nil {
		r.Change(&c)
	}
	return c, err
}

// instance is a router of this process.
type instance struct {
	from          Routers
	listen, admin string // as configured, ports of 0 included
	server        *router.Server
	log           lockedLog
	end           context.CancelFunc
	done          chan error
	once          sync.Once
}

func (i *instance) Address() string { return i.server.Addr().String() }

func (i *instance) Admin() string {
	if at := i.server.AdminAddr(); at != nil {
		return at.String()
	}
	return ""
}

func (i *instance) PID() int { return os.Getpid() }

func (i *instance) Reload(_ context.Context, doc door.Router) error {
	c, err := i.from.config(doc)
	if err != nil {
		return err
	}
	c.Listen, c.Admin = i.listen, i.admin
	return i.server.Reload(c)
}

func (i *instance) Drain(context.Context) error {
	i.end()
	return nil
}

func (i *instance) Logs(context.Context) (string, error) { return i.log.String(), nil }

func (i *instance) Stop(ctx context.Context) (err error) {
	i.once.Do(func() {
		i.end()
		cut, cancel := context.WithCancel(ctx)
		cancel() // what is still there is cut
		err = i.server.Shutdown(cut)
		if served := <-i.done; !errors.Is(err, context.Canceled) {
			err = errors.Join(err, served)
		} else {
			err = nil
		}
	})
	return err
}

// lockedLog keeps the last part of a log.
type lockedLog struct {
	mu  sync.Mutex
	buf []byte
}

const mostLog = 1 << 20

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	if over := len(l.buf) - mostLog; over > 0 {
		l.buf = append(l.buf[:0], l.buf[over:]...)
	}
	return len(p), nil
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}
