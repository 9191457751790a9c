package lab

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
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
	for i, w := range b.Workloads {
		p, err := l.workload(w)
		if err != nil {
			return bench.Plan{}, fmt.Errorf("bench.workloads[%d]: %w", i, err)
		}
		plan.Workloads = append(plan.Workloads, p)
	}
	return plan, nil
}

// Shape are the options of a workload as the bench has them.
func Shape(w scenario.Workload) bench.Shape {
	return bench.Shape{
		Size: int64(w.Size), Bytes: int64(w.Bytes), ReadRate: int64(w.ReadRate), Queue: int64(w.Queue),
		Direction: w.Direction, Variant: w.Variant, Streams: w.Streams, Active: w.Active, Burst: w.Burst, TLS: bench.TLSShape(w.TLS),
	}
}

func (l *Lab) workload(w scenario.Workload) (bench.WorkloadPlan, error) {
	p := bench.WorkloadPlan{
		Name: w.Name, Rate: w.Rate, ConnectRate: w.ConnectRate, Tunnels: w.Tunnels, Arrival: w.Arrival, Mode: w.Mode, Shape: Shape(w),
	}
	for _, s := range w.Steps {
		p.Steps = append(p.Steps, bench.RateStep{From: s.Rate, To: s.To, For: time.Duration(s.For)})
	}
	routes := w.Routes
	if len(routes) == 0 {
		routes = []scenario.RouteShare{{Route: w.Route, Weight: 1}}
	}
	var backends []string
	for _, share := range routes {
		route, ok := l.route(share.Route)
		if !ok {
			return p, fmt.Errorf("lab: no route is called %q", share.Route)
		}
		running := l.backend(route.Backend)
		if !slices.Contains(backends, route.Backend) {
			backends = append(backends, route.Backend)
		}
		access := bench.Access{
			User: running.Access.User, Password: running.Access.Password, Database: running.Access.Database,
			SSHKey: running.Access.ClientKey, HostKey: running.Access.HostKey,
		}
		if running.Witness != nil {
			access.Witness = running.Info.Name
		}
		p.Access = access
		if len(routes) > 1 {
			p.Mix = append(p.Mix, bench.Share{Name: share.Route, Weight: share.Weight, Access: access})
		}
	}
	p.Backend = strings.Join(backends, ", ")
	for _, name := range l.scenario.Arms(w) {
		a, err := l.arm(name, routes, w.TLS)
		if err != nil {
			return p, err
		}
		p.Arms = append(p.Arms, a)
	}
	if w.Rate > 0 || len(w.Steps) > 0 || w.Mode == bench.ModeClosed {
		return p, l.roomFor(w.Tunnels, l.scenario.Arms(w))
	}
	return p, nil
}

// arm is one path, or a peer in the place of our router, for one route or a mix of several.
func (l *Lab) arm(name string, routes []scenario.RouteShare, how scenario.WorkloadTLS) (bench.Arm, error) {
	path := l.scenario.Bench.PathOf(name)
	out := bench.Arm{Path: name}
	for _, share := range routes {
		d, direct, err := l.dialerOf(path, share.Route, &out)
		if err != nil {
			return out, err
		}
		negotiate(d, how)
		one := arm(name, d, direct)
		out.Mix = append(out.Mix, one.Dial)
		if out.Upgrade == nil {
			out.Upgrade = one.Upgrade
		}
	}
	if len(routes) == 1 {
		out.Dial, out.Mix = out.Mix[0], nil
	}
	out.Components = l.components(path)
	return out, nil
}

// dialerOf is a client for one route, direct where that is what the path has to be.
func (l *Lab) dialerOf(path, route string, a *bench.Arm) (d *client.Dialer, direct bool, err error) {
	if p, ok := l.peer(path); ok {
		a.Peer = p.running.String()
		d, err = p.dialer(l, route)
		return d, true, err
	}
	d, err = l.Dialer(path, route)
	if err != nil {
		return nil, false, err
	}
	c, _ := l.chain(path)
	return d, c.front() == nil, nil
}

// negotiate has a dialer offer what a workload asks of TLS.
func negotiate(d *client.Dialer, t scenario.WorkloadTLS) {
	if curve := bench.Curves[t.Curve]; curve != 0 {
		d.Curves = []tls.CurveID{curve}
	}
	if t.Resume {
		d.Sessions = tls.NewLRUClientSessionCache(0)
	}
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
			once.NetDial = bench.Pollable(d.NetDial)
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
