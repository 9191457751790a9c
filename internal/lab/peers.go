package lab

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/tlsroute/tlsroute-bench/internal/peerrouter"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// peer is a router of others that runs beside ours.
type peer struct {
	name    string
	running *peerrouter.Running
}

func peerRoute(r scenario.Route, backend string) peerrouter.Route {
	return peerrouter.Route{Name: r.Name, SNI: r.SNI, ALPN: r.ALPN, Terminate: r.Mode == router.ModeTerminate, Backend: backend}
}

// checkPeerRoute says why a peer cannot play a route of the scenario.
func checkPeerRoute(product string, r scenario.Route) error {
	switch {
	case r.ClientAuth != "" && r.ClientAuth != router.AuthNone:
		return fmt.Errorf("%s is configured here without client certificates: route %s must be without client_auth", product, r.Name)
	case r.SendProxy != "" && r.SendProxy != router.Off:
		return fmt.Errorf("%s is configured here without PROXY headers: route %s must be without send_proxy", product, r.Name)
	case r.BackendTLS != "" && r.BackendTLS != router.Off:
		return fmt.Errorf("%s is configured here without TLS to backends: route %s must be without backend_tls", product, r.Name)
	}
	return peerrouter.CheckRoute(product, peerRoute(r, ""))
}

// startPeers starts every peer with the routes that it can play.
func (l *Lab) startPeers(ctx context.Context) error {
	for _, p := range l.scenario.Topology.Peers {
		l.opt.Step("peer " + p.Name)
		spec := peerrouter.Spec{Certificate: l.pki.services, Tuned: p.Tuned, Dir: l.dir, Logger: l.log.With("part", p.Name)}
		for _, r := range l.scenario.Routes {
			if checkPeerRoute(p.Product, r) == nil {
				spec.Routes = append(spec.Routes, peerRoute(r, l.backend(r.Backend).Address))
			}
		}
		running, err := peerrouter.Start(ctx, p.Product, spec)
		if err != nil {
			return fmt.Errorf("peer %s: %w", p.Name, err)
		}
		l.onClose(running.Close)
		l.watch("peer "+p.Name, running.Product, running.Done())
		l.peers = append(l.peers, peer{p.Name, running})
	}
	return nil
}

// peer returns one that runs.
func (l *Lab) peer(name string) (peer, bool) {
	i := slices.IndexFunc(l.peers, func(p peer) bool { return p.name == name })
	if i < 0 {
		return peer{}, false
	}
	return l.peers[i], true
}

// dialer goes to the peer directly, as to our router on the direct path.
func (p peer) dialer(l *Lab, route string) (*client.Dialer, error) {
	r, ok := l.route(route)
	if !ok {
		return nil, fmt.Errorf("lab: no route is called %q", route)
	}
	if err := checkPeerRoute(p.running.Product, r); err != nil {
		return nil, fmt.Errorf("lab: peer %s: %w", p.name, err)
	}
	address := p.running.Pass
	if r.Mode == router.ModeTerminate {
		address = p.running.Terminate
	}
	d := l.dialerOver(&chain{path: p.name, inner: address}, r)
	d.Upgrade = client.Direct // it knows no other way
	return d, nil
}

// checkPeers says what products there are not, and which routes of the bench they cannot play.
func checkPeers(sc *scenario.Scenario) []scenario.Problem {
	var problems []scenario.Problem
	for i, p := range sc.Topology.Peers {
		at := []string{"topology", "peers", strconv.Itoa(i), "product"}
		if p.Product == "" || p.Name == "" {
			continue // that has been said
		}
		if err := peerrouter.Check(p.Product, p.Tuned); err != nil {
			problems = append(problems, scenario.Problem{At: at, Message: err.Error()})
			continue
		}
		if !slices.ContainsFunc(sc.Routes, func(r scenario.Route) bool { return checkPeerRoute(p.Product, r) == nil }) {
			problems = append(problems, scenario.Problem{At: at, Message: p.Product + " can play none of the routes"})
			continue
		}
		for j, w := range sc.Bench.Workloads {
			k := slices.IndexFunc(sc.Routes, func(r scenario.Route) bool { return r.Name == w.Route })
			if k < 0 || !slices.Contains(sc.Arms(w), p.Name) {
				continue
			}
			if err := checkPeerRoute(p.Product, sc.Routes[k]); err != nil {
				problems = append(problems, scenario.Problem{
					At:      []string{"bench", "workloads", strconv.Itoa(j), "route"},
					Message: fmt.Sprintf("peer %s: %s, or the workload must leave it out of its arms", p.Name, err),
				})
			}
		}
	}
	return problems
}
