package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/internal/process"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// separate is a component of ours in a process of its own: this very program as a daemon (see Daemon).
type separate struct {
	child *process.Child
	ready Ready
}

// startSeparate runs "PROGRAM command" with the document and returns when it has said that it listens. It ends with this process,
// however that ends, and with Close.
func (l *Lab) startSeparate(ctx context.Context, command, name string, document any) (*separate, error) {
	program := l.opt.Program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find our own program: %w", err)
		}
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	account, err := process.Self() // it reads the keys of the lab
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(l.dir, command+"-")
	if err != nil {
		return nil, err
	}
	config, ready := filepath.Join(dir, "config.json"), filepath.Join(dir, "ready.json")
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return nil, err
	}
	s := &separate{}
	s.child, err = process.Command{
		Account: account, Dir: dir, Log: "log",
		Argv: []string{program, command, "--config", config, "--ready", ready},
	}.Start(l.log.With("part", name))
	if err != nil {
		return nil, err
	}
	l.onClose(func(ctx context.Context) error { return s.child.Stop(ctx, syscall.SIGTERM) }) // it drains
	err = s.child.Await(ctx, func(context.Context) error {
		data, err := os.ReadFile(ready)
		if err != nil {
			return err
		}
		return json.Unmarshal(data, &s.ready)
	})
	if err != nil {
		return nil, fmt.Errorf("%s as a process of its own: %w", name, err)
	}
	l.watch(name, command, s.child.Done())
	return s, nil
}

// startRouter starts the scenario's own router.
func (l *Lab) startRouter(ctx context.Context) error {
	config := l.routerConfig()
	if !l.scenario.Topology.Separate() {
		s, err := l.serveRouter(ctx, "router", config, l.taps.routerHello)
		if err == nil {
			l.router.inside, l.router.address = s, s.Addr().String()
		}
		return err
	}
	if l.tape != nil {
		return errors.New("a capture of the run has the secrets of every hop, which components with topology.processes: separate keep to themselves: leave --capture out, or use processes: inside")
	}
	l.opt.Step("router, a process of its own")
	config.Admin = listenAddress("")
	var err error
	if l.router.own, err = l.startSeparate(ctx, "router", "router", config); err != nil {
		return err
	}
	l.router.address = l.router.own.ready.Addresses["router"]
	return nil
}

// ownRouter is the scenario's own router.
type ownRouter struct {
	address string         // host:port; empty where it has not been started
	inside  *router.Server // nil where it is a process of its own, which is own
	own     *separate
}

// startSeparateNode is a simulator of a path in a process of its own.
func (l *Lab) startSeparateNode(ctx context.Context, p place) (*node, error) {
	c := &cluster{lab: l, place: p}
	s, err := l.startSeparate(ctx, "alb", strings.TrimSpace(p.title+" load balancer "+p.leg.Key), c.config(listenAddress(p.leg.Listen)))
	return &node{Leg: p.leg, own: s}, err
}

// checkProcesses says which simulators cannot be told all they need by a document: there is no word in it for the roots of a profile that
// verifies its targets.
func checkProcesses(sc *scenario.Scenario) []scenario.Problem {
	if !sc.Topology.Separate() {
		return nil
	}
	var problems []scenario.Problem
	for _, key := range slices.Sorted(maps.Keys(sc.Topology.LoadBalancers)) {
		lb := sc.Topology.LoadBalancers[key]
		if profile, ok := albsim.LookupProfile(lb.Profile); ok && lb.Real == "" && profile.BackendVerify == "verify" {
			problems = append(problems, scenario.Problem{
				At:      []string{"topology", "processes"},
				Message: fmt.Sprintf("profile %s of load balancer %q verifies its target by roots that only this process has: it needs processes: inside", lb.Profile, key),
			})
		}
	}
	return problems
}
