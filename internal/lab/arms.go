package lab

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
)

// Plan turns the scenario's bench part into something that can be run: every arm with a function that dials it.
func (l *Lab) Plan(seed int64) (bench.Plan, error) {
	b := l.scenario.Bench
	plan := bench.Plan{
		Window: time.Duration(b.Window), Guard: time.Duration(b.Guard), Pairs: b.Pairs, Seed: seed, Limits: l.scenario.Limits,
		Equivalence: b.Equivalence, Levels: b.Levels,
	}
	if w := b.Warmup; w != nil && w.Max != nil {
		plan.Warmup = &bench.Warmup{Min: time.Duration(w.Min), Max: time.Duration(*w.Max)}
	}
	if p := b.Precision; p != nil {
		plan.Precision = &bench.Precision{P50: float64(p.P50), P99: float64(p.P99), Budget: time.Duration(b.Budget)}
	}
	for _, w := range b.Workloads {
		route, ok := l.route(w.Route)
		if !ok {
			return bench.Plan{}, fmt.Errorf("lab: no route is called %q", w.Route)
		}
		running := l.backend(route.Backend)
		p := bench.WorkloadPlan{
			Name: w.Name, Backend: route.Backend, Rate: w.Rate, ConnectRate: w.ConnectRate, Tunnels: w.Tunnels, Arrival: w.Arrival,
			Access: bench.Access{
				User: running.Access.User, Password: running.Access.Password, Database: running.Access.Database,
				SSHKey: running.Access.ClientKey, HostKey: running.Access.HostKey,
			},
		}
		p.Mode = w.Mode
		for _, s := range w.Steps {
			p.Steps = append(p.Steps, bench.RateStep{From: s.Rate, To: s.To, For: time.Duration(s.For)})
		}
		for _, name := range l.scenario.Arms(w) {
			a, err := l.arm(b.PathOf(name), w.Route)
			if err != nil {
				return bench.Plan{}, err
			}
			a.Path = name
			p.Arms = append(p.Arms, a)
		}
		plan.Workloads = append(plan.Workloads, p)
	}
	return plan, nil
}

// arm is a path, or a peer in the place of our router.
func (l *Lab) arm(path, route string) (bench.Arm, error) {
	var a bench.Arm
	if p, ok := l.peer(path); ok {
		d, err := p.dialer(l, route)
		if err != nil {
			return a, err
		}
		a = arm(path, d, true)
		a.Peer = p.running.String()
	} else {
		d, err := l.Dialer(path, route)
		if err != nil {
			return a, err
		}
		c, _ := l.chain(path)
		a = arm(path, d, c.front() == nil)
	}
	a.Components = l.components(path)
	return a, nil
}

// arm dials one path. A path that turns out to be of another class than it is supposed to be is an error, not a fast arm: a direct one
// is, and any other takes an upgrade. Which class the probe calls that is the product's affair: Caddy refuses a name that it has no
// certificate for with alert 80, which says nothing of the path.
func arm(path string, d *client.Dialer, direct bool) bench.Arm {
	var upgrade atomic.Value
	upgrade.Store("")
	return bench.Arm{
		Path:    path,
		Upgrade: func() string { return upgrade.Load().(string) },
		Dial: func(ctx context.Context, observe func(string, time.Duration)) (net.Conn, error) {
			once := *d // a copy: the trace belongs to this dial
			phase := func(name string) func(time.Duration) { return func(took time.Duration) { observe(name, took) } }
			once.Trace = &client.Trace{
				DNS: phase(result.PhaseDNS), TCP: phase(result.PhaseTCP), OuterTLS: phase(result.PhaseOuterTLS),
				Upgrade: phase(result.PhaseUpgrade), InnerTLS: phase(result.PhaseInnerTLS),
			}
			conn, err := once.Dial(ctx)
			if err != nil {
				return nil, err
			}
			info := conn.Info()
			if (info.Class == probe.Direct) != direct || (info.Upgrade == "") != direct {
				_ = conn.Close()
				want := probe.Terminated
				if direct {
					want = probe.Direct
				}
				return nil, fmt.Errorf("path %s is %s (%s), want %s", path, info.Class, info.Reason, want)
			}
			upgrade.Store(info.Upgrade)
			return conn, nil
		},
	}
}
