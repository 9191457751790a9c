package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tlsroute/tlsroute-bench/albsim"
	albadmin "github.com/tlsroute/tlsroute-bench/albsim/admin"
	"github.com/tlsroute/tlsroute-bench/internal/document"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
	"github.com/tlsroute/tlsroute-bench/refimpl/router/admin"
	"github.com/tlsroute/tlsroute-bench/scenarios"
)

// Daemon is one component in a process of its own, configured by a file.
type Daemon struct {
	// Config is the document, YAML or JSON (DESIGN.md, section 5); paths in it are relative to the file.
	Config string
	// Ready, when set, is written once everything listens.
	Ready  string
	Logger *slog.Logger
	// Hangup asks the router to read its document again.
	Hangup <-chan os.Signal
	// Say prints one line for the operator.
	Say func(format string, args ...any)
}

// ConfigError says that a document is at fault: nothing was started.
type ConfigError struct {
	File string
	Err  error
}

func (e *ConfigError) Error() string { return fmt.Sprintf("%s: %v", e.File, e.Err) }
func (e *ConfigError) Unwrap() error { return e.Err }

// readConfig reads a daemon's document.
func readConfig(file string, schema []byte, into interface{ Resolve(dir string) }) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return &ConfigError{file, err}
	}
	if _, err := document.Parse(file, data, schema, into); err != nil {
		if _, ok := errors.AsType[*document.Faults](err); ok {
			return &ConfigError{file, fmt.Errorf("the configuration has faults\n%w", err)}
		}
		return &ConfigError{file, err}
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return &ConfigError{file, err}
	}
	into.Resolve(dir)
	return nil
}

// Router runs the reference router until ctx ends, then drains it. An error is a *ConfigError, or the router's own.
func (d Daemon) Router(ctx context.Context) error {
	var config router.Config
	if err := readConfig(d.Config, scenarios.RouterSchema, &config); err != nil {
		return err
	}
	s, err := router.New(config, router.Options{Logger: d.Logger, Admin: admin.New})
	if err != nil {
		return &ConfigError{d.Config, err}
	}
	if err := s.Listen(ctx); err != nil {
		return err
	}
	reloads := make(chan struct{})
	watching, stop := context.WithCancel(ctx)
	go func() {
		defer close(reloads)
		for {
			select {
			case <-watching.Done():
				return
			case <-d.Hangup:
				d.reload(s)
			}
		}
	}()
	err = d.serve(ctx, "router", s, []net.Addr{s.Addr()}, routerReady(config, s))
	stop()
	<-reloads
	return err
}

// reload reads the file again; a bad one is refused whole and what was in force stays.
func (d Daemon) reload(s *router.Server) {
	var config router.Config
	err := readConfig(d.Config, scenarios.RouterSchema, &config)
	if err != nil {
		err = s.RefuseReload(err) // counted with those that the router refuses
	} else {
		err = s.Reload(config)
	}
	if err != nil {
		d.Say("router: %v", err)
		return
	}
	d.Say("router: reloaded, generation %d", s.Generation())
}

// LoadBalancer runs the simulator until ctx ends.
func (d Daemon) LoadBalancer(ctx context.Context) error {
	var config albsim.Config
	if err := readConfig(d.Config, scenarios.ALBSchema, &config); err != nil {
		return err
	}
	s, err := albsim.New(config, albsim.Options{Logger: d.Logger, Admin: albadmin.New})
	if err != nil {
		return &ConfigError{d.Config, err}
	}
	if err := s.Listen(ctx); err != nil {
		return err
	}
	ready := newReady()
	for i, a := range s.Addrs() {
		name := "alb"
		if i > 0 {
			name = fmt.Sprintf("alb-%d", i+1)
		}
		ready.Addresses[name] = a.String()
	}
	if a := s.AdminAddr(); a != nil {
		ready.Addresses["admin"] = a.String()
	}
	return d.serve(ctx, "alb", s, s.Addrs(), ready)
}

func (d Daemon) serve(ctx context.Context, name string, s server, addresses []net.Addr, ready Ready) error {
	if d.Ready != "" {
		if err := WriteReady(d.Ready, ready); err != nil {
			return errors.Join(err, s.Shutdown(ctx))
		}
		defer func() { _ = os.Remove(d.Ready) }() // what it says is no longer true
	}
	var on []string
	for _, a := range addresses {
		on = append(on, a.String())
	}
	d.Say("%s: listening on %s", name, strings.Join(on, ", "))
	serving, stop := context.WithCancel(ctx)
	var trimming sync.WaitGroup
	defer trimming.Wait()
	defer stop()
	trimming.Go(func() { trim(serving) })
	if err := s.Serve(ctx); ctx.Err() == nil {
		return err
	}
	return nil // asked to stop, and drained
}

func routerReady(config router.Config, s *router.Server) Ready {
	r := newReady()
	r.Addresses["router"] = s.Addr().String()
	if a := s.AdminAddr(); a != nil {
		r.Addresses["admin"] = a.String()
	}
	r.Upgrade.Path = config.Upgrade.Path
	if r.Upgrade.Path == "" {
		r.Upgrade.Path = router.DefaultUpgradePath
	}
	for _, route := range config.Routes {
		r.Routes = append(r.Routes, ReadyRoute{
			Name: route.Name, SNI: orEmpty(route.SNI), ALPN: orEmpty(route.ALPN), Mode: route.Mode, Backend: route.Backend.List()[0],
		})
	}
	return r
}
