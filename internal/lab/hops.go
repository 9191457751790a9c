package lab

import (
	"net/netip"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

// JudgedServers are the addresses that the hops of the targets' paths lead to: of the targets, of each load balancer before them and of
// what is behind, for a capture. What is started for one check alone is not among them.
func (l *Lab) JudgedServers(targets []conformance.Target) []netip.AddrPort {
	var list []netip.AddrPort
	add := func(address string) {
		a, err := netip.ParseAddrPort(address)
		if err == nil && !slices.Contains(list, a) { // a name is no address of this machine's, and not on its loopback
			list = append(list, a)
		}
	}
	for _, t := range targets {
		for _, p := range t.Paths {
			add(p.Address)
		}
		if t.Stub != nil {
			add(t.Stub.Addr().String())
		}
	}
	add(l.judged.address)
	for _, c := range slices.Concat(l.judged.before, l.judged.lbs) {
		for _, h := range c.hops() {
			add(h.Address)
		}
	}
	if l.fixture != nil {
		for _, name := range []string{l.fixture.WitnessA, l.fixture.WitnessB} {
			add(l.backend(name).Address)
		}
	}
	return list
}
