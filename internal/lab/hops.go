package lab

import (
	"net/netip"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
)

// JudgedHops are the hops of the targets' paths, each server once: to the targets, to each load balancer before them and to what is
// behind, for a capture. What is started for one check alone is not among them.
func (l *Lab) JudgedHops(targets []conformance.Target) []capture.Hop {
	var list []capture.Hop
	add := func(name, address string) {
		a, err := netip.ParseAddrPort(address)
		known := slices.ContainsFunc(list, func(h capture.Hop) bool { return h.Server == a })
		if err == nil && !known { // a name is no address of this machine's, and not on its loopback
			list = append(list, capture.Hop{Name: name, Server: a})
		}
	}
	if l.fixture != nil {
		for _, name := range []string{l.fixture.WitnessA, l.fixture.WitnessB} {
			add("to witness "+name, l.backend(name).Address)
		}
	}
	add("to the router", l.judged.address)
	for _, c := range slices.Concat(l.judged.before, l.judged.lbs) {
		for _, h := range c.hops() {
			add(h.Name+" of "+c.path, h.Address)
		}
	}
	for _, t := range targets {
		if t.Stub != nil {
			add("to the target of "+t.Name, t.Stub.Addr().String())
		}
		for _, p := range t.Paths {
			add("to "+t.Name, p.Address)
		}
	}
	return list
}

// LogJudged has the TLS secrets of the judged hops' ends that are ours, witnesses included, written to keys from now on. Those of
// strangers are theirs.
func (l *Lab) LogJudged(keys *capture.KeyLog) { l.judged.keys.set(keys) }
