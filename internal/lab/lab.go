// Package lab builds the topology of a scenario on this machine and takes it down again: certificates, backends, the
// reference router, the load balancers, simulated or real, and the ways from a client to a route. It is the only room that knows
// refimpl, albsim and the backends; the rooms that judge and measure get addresses, functions and data from it.
//
// Everything listens on 127.0.0.1. Everything that is written goes to one private directory, which Close removes.
package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/internal/stranger"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// The values of Options.Only: what is brought up, each with what it needs behind it.
const (
	OnlyBackends = "backends"
	OnlyRouter   = "router"
	OnlyALB      = "alb"
)

// Roles lists them.
var Roles = []string{OnlyBackends, OnlyRouter, OnlyALB}

// Options say how to build; the zero value builds everything on embedded backends.
type Options struct {
	// Backends is the driver for backends that name none: embedded (also when empty), local, container, or auto.
	Backends string
	// Only stops after one role; empty builds all.
	Only string
	// Strangers are judged in place of ours, by role; nothing else is built then but what the checks need.
	Strangers map[string]*stranger.File
	// Conformance adds the witnesses and routes that the checks need.
	Conformance bool
	Logger      *slog.Logger
	// Record has every part of the scenario's paths keep what a capture of the whole run needs; see Lab.Record.
	Record bool
	// Step is told what is being done, one line a step; nil is silent.
	Step func(string)
	// Program is the tlsroute-bench that components in processes of their own are, and our own backends in containers; this very program when empty.
	Program string
	// Failed is told when a component ends by itself; nil drops it.
	Failed func(error)
	// KeepLog is given the end of the log of a backend's server that did not start; nil drops it. It may be called by several at once.
	KeepLog func(backend string, log []byte)
}

// Lab is a topology that is up.
type Lab struct {
	scenario *scenario.Scenario
	opt      Options
	log      *slog.Logger
	dir      string
	claim    *os.File // says that dir is in use; nil where that cannot be said
	pki      *pki
	backends []*backend.Running // in the order of the scenario; then those of the fixture
	drivers  map[string]string  // why a driver was chosen, by backend
	silent   silent
	router   ownRouter
	chains   []*chain // one a path, in the order of the scenario
	peers    []peer
	remote   bool     // it was started elsewhere (remote.go)
	source   net.IP   // that arms dial from; nil for any
	fixture  *fixture // nil without conformance
	judged   judged
	parties  map[string]*strange // of the matrix, by name
	taps     taps
	capture  func(context.Context, []capture.Hop, *capture.KeyLog) (*capture.Session, error) // capture.Start but in tests
	keys     keySwitch
	playing  atomic.Pointer[Play]
	tape     *tape                                                                                             // nil unless it is recorded
	record   func(ctx context.Context, hops []capture.Hop, dir string, most int64) (*capture.Recording, error) // capture.Record but in tests

	mu      sync.Mutex // guards closers: nodes come while the lab is up; and drivers, while backends start
	closers []func(context.Context) error
	closing atomic.Bool
	serving sync.WaitGroup
	life    context.Context //nolint:containedctx // the life of what serves, not of a call: it ends in Close
	stop    context.CancelFunc
}

// The private directory of a lab, and the file in it that is locked while the lab lives.
const (
	dirPrefix = "tlsroute-bench-"
	claimFile = ".claim"
)

// drainTime bounds how long Close waits for the router and the load balancer to end their connections.
const drainTime = 3 * time.Second

// Start builds the topology. Whatever was started is stopped again when a later part fails. ctx bounds the building, not
// the life of the lab.
func Start(ctx context.Context, sc *scenario.Scenario, opt Options) (_ *Lab, err error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Step == nil {
		opt.Step = func(string) {}
	}
	if opt.Failed == nil {
		opt.Failed = func(error) {}
	}
	l := &Lab{scenario: sc, opt: opt, log: opt.Logger, drivers: map[string]string{}, silent: silent{}, parties: map[string]*strange{}, capture: capture.Start, record: capture.Record}
	if opt.Record {
		l.tape = newTape()
		l.keys.tape = l.tape
	}
	sweep(os.TempDir(), l.log)
	if l.dir, err = os.MkdirTemp("", dirPrefix); err != nil {
		return nil, fmt.Errorf("lab: private directory: %w", err)
	}
	defer func() {
		if err != nil {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*drainTime)
			defer cancel()
			err = errors.Join(err, l.Close(closing))
		}
	}()
	if l.claim, err = claim(l.dir); err != nil {
		return nil, err
	}
	// Backends that run as another user must be able to reach their own folder below this one.
	if err := os.Chmod(l.dir, 0o711); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if opt.Conformance {
		fixture, err := newFixture(opt.domain())
		if err != nil {
			return nil, err
		}
		l.fixture = fixture
	}
	if l.pki, err = newPKI(l.dir, sc, l.fixture); err != nil {
		return nil, err
	}
	if err := l.startBackends(ctx); err != nil {
		return nil, err
	}
	if err := l.readyToFail(); err != nil {
		return nil, err
	}
	if opt.Only == OnlyBackends {
		return l, nil
	}
	l.life, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	if len(opt.Strangers) > 0 {
		return l, l.startJudged(ctx)
	}
	if err = l.startRouter(ctx); err != nil {
		return nil, err
	}
	for _, path := range sc.Topology.Paths {
		if opt.Only == OnlyRouter && path != scenario.PathDirect {
			continue
		}
		c, err := l.buildChain(ctx, path, behind{
			address: l.router.address, name: sc.Topology.Router.Name, taps: &l.taps, separate: sc.Topology.Separate(),
		})
		if err != nil {
			return nil, err
		}
		l.chains = append(l.chains, c)
	}
	if opt.Only == "" {
		if err := l.startPeers(ctx); err != nil {
			return nil, err
		}
	}
	if l.fixture != nil {
		return l, l.startJudged(ctx)
	}
	return l, nil
}

func (l *Lab) startBackends(ctx context.Context) (err error) {
	starts := newStarts(ctx)
	defer func() {
		running, failed := starts.wait()
		l.backends, err = append(l.backends, running...), errors.Join(err, failed)
	}()
	list := slices.Clone(l.scenario.Backends)
	if len(l.opt.Strangers) > 0 {
		list = nil // nothing of the scenario's leads to them
	}
	if l.fixture != nil {
		list = append(list, l.fixture.backends()...)
	}
	for _, b := range list {
		if starts.ctx.Err() != nil {
			return nil // starts says why
		}
		spec := backend.Spec{
			Name: b.Name, Kind: b.Kind, Dir: l.dir, Logger: l.log.With("backend", b.Name), Certificate: l.pki.service,
			CA: l.pki.inner.PEM(), ClientCA: l.pki.clients.PEM(), Version: b.Version, Image: b.Image, Config: b.Config, Durable: b.Durable, Program: l.opt.Program,
		}
		driver, why, err := l.driver(ctx, b, spec)
		if err != nil {
			return err
		}
		l.because(b.Name, why)
		l.opt.Step(fmt.Sprintf("backend %s (%s, %s)", b.Name, b.Kind, backend.Takes(b.Kind, driver)))
		spec.Listen = l.witnessAddress(b.Name)
		if l.fixture != nil && (b.Name == l.fixture.WitnessA || b.Name == l.fixture.WitnessB) {
			spec.KeyLog = &l.judged.keys
		}
		starts.start(driver, func(ctx context.Context) (*backend.Running, error) { return l.startBackend(ctx, b, driver, spec) })
	}
	return nil
}

// startBackend starts one backend; several are started side by side.
func (l *Lab) startBackend(ctx context.Context, b scenario.Backend, driver string, spec backend.Spec) (*backend.Running, error) {
	running, err := backend.Start(ctx, driver, spec)
	if failed, ok := errors.AsType[*backend.StartError](err); ok && len(failed.Log) > 0 && l.opt.KeepLog != nil {
		l.opt.KeepLog(failed.Name, failed.Log)
	}
	if err != nil && ctx.Err() == nil && driver != backend.Embedded && l.isAuto(b) {
		l.log.Warn("the real server does not start here, the embedded one takes its place", "backend", b.Name, "error", err)
		l.because(b.Name, "chosen by auto: the real server does not start here")
		running, err = backend.Start(ctx, backend.Embedded, spec)
	}
	return running, err
}

// because notes why a driver was chosen.
func (l *Lab) because(backend, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drivers[backend] = why
}

func (l *Lab) isAuto(b scenario.Backend) bool { return cmp.Or(b.Driver, l.opt.Backends) == auto }

// driver chooses how a backend is run: its own wish first, then --backends; auto takes the most real one that works here.
func (l *Lab) driver(ctx context.Context, b scenario.Backend, spec backend.Spec) (driver, why string, err error) {
	driver = cmp.Or(b.Driver, l.opt.Backends, backend.Embedded)
	if driver != auto {
		return driver, "", nil // the start says what is missing; a missing image may be had
	}
	available := func(ctx context.Context, driver string) error { return backend.Available(ctx, driver, spec) }
	return mostReal(ctx, b, backend.Drivers(b.Kind), l.silent.remember(available))
}

// serveRouter starts a router of ours; its end is waited for by Close.
func (l *Lab) serveRouter(ctx context.Context, name string, config router.Config, onHello func(router.HelloEvent)) (*router.Server, error) {
	l.opt.Step(name)
	opt := router.Options{Logger: l.log.With("part", name), OnHello: onHello}
	switch { // one under test is told of no ClientHello
	case onHello == nil:
		opt.TLSKeyLog = &l.judged.keys
	case l.tape != nil:
		opt.TLSKeyLog = l.tape
	}
	s, err := router.New(config, opt)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := s.Listen(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	l.serve(name, s)
	return s, nil
}

// server is what the router and the simulator have in common.
type server interface {
	Serve(ctx context.Context) error
	Shutdown(ctx context.Context) error
}

func (l *Lab) serve(name string, s server) {
	l.onClose(func(ctx context.Context) error { return unlessLate(s.Shutdown(ctx)) })
	l.serving.Go(func() {
		if err := s.Serve(l.life); err != nil && l.life.Err() == nil {
			l.opt.Failed(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// onClose adds something that drains or stops; the last added is the first.
func (l *Lab) onClose(f func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, f)
}

// Close drains the load balancer and the router, stops the backends and removes the private directory. It is safe to call
// on a lab that is only partly built.
func (l *Lab) Close(ctx context.Context) error {
	var errs []error
	draining, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	l.closing.Store(true)
	l.mu.Lock()
	closers := l.closers
	l.mu.Unlock()
	for _, f := range slices.Backward(closers) {
		errs = append(errs, f(draining))
	}
	if l.stop != nil {
		l.stop()
	}
	l.serving.Wait()
	if l.judged.stub != nil {
		errs = append(errs, l.judged.stub.Close())
	}
	if l.fixture != nil {
		errs = append(errs, l.fixture.free())
	}
	for _, b := range slices.Backward(l.backends) {
		errs = append(errs, b.Close(ctx))
	}
	errs = append(errs, os.RemoveAll(l.dir))
	if l.claim != nil {
		errs = append(errs, l.claim.Close())
	}
	return errors.Join(errs...)
}

// unlessLate drops the error of a drain that took longer than it may: what was left has been cut then.
func unlessLate(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// Backends says what stands behind the router, those of the conformance fixture left out.
func (l *Lab) Backends() []result.Backend {
	list := make([]result.Backend, 0, len(l.scenario.Backends))
	if len(l.opt.Strangers) > 0 {
		return list
	}
	for i, b := range l.backends {
		if i >= len(l.scenario.Backends) {
			break
		}
		info := b.Info
		if why := l.drivers[info.Name]; why != "" {
			info.Note = strings.TrimSpace(why + ". " + info.Note)
		}
		list = append(list, info)
	}
	return list
}

// Topology lists the paths with their hops and addresses.
func (l *Lab) Topology() []result.Path {
	var paths []result.Path
	for _, c := range l.chains {
		paths = append(paths, result.Path{Name: c.path, Hops: c.hops()})
	}
	return paths
}

// chain returns a path that is built.
func (l *Lab) chain(path string) (*chain, bool) {
	i := slices.IndexFunc(l.chains, func(c *chain) bool { return c.path == path })
	if i < 0 {
		return nil, false
	}
	return l.chains[i], true
}

// backend returns a running backend by name, or nil.
func (l *Lab) backend(name string) *backend.Running {
	for _, b := range l.backends {
		if b.Info.Name == name {
			return b
		}
	}
	return nil
}
