package lab

import (
	"context"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// pair is a real product and the simulator with the profile of it, both before the target that checks play.
type pair struct{ real, simulated *chain }

// Pair is a real product and the simulator's profile of it, described to those who put the same checks to both.
type Pair struct {
	Likeness        result.Likeness // without what came of it
	Real, Simulated conformance.Target
}

// startPair starts both, where there is a profile of the product's name and checks of load balancers can be put to it.
func (l *Lab) startPair(ctx context.Context, path string, leg scenario.Leg) error {
	if _, ok := albsim.LookupProfile(leg.Real); !ok || leg.Protocol != scenario.HTTPS || leg.TargetProtocol != scenario.HTTPS {
		return nil
	}
	stub, err := l.beforeStub()
	if err != nil {
		return err
	}
	var p pair
	leg.Apps, leg.RedirectHTTP = nil, false
	if p.real, err = l.buildLegs(ctx, path, []scenario.Leg{leg}, stub); err != nil {
		return err
	}
	leg.Profile, leg.Real = leg.Real, ""
	if p.simulated, err = l.buildLegs(ctx, path, []scenario.Leg{leg}, stub); err != nil {
		return err
	}
	l.judged.pairs = append(l.judged.pairs, p)
	return nil
}

// Pairs are the real products of the scenario that the simulator has a profile of. The checks are those of an AWS load balancer: what
// comes of one is no verdict on the product, but the two ought to do the same.
func (l *Lab) Pairs(version string) []Pair {
	if l.fixture == nil {
		return nil
	}
	base, upgrade := l.target(version)
	var list []Pair
	for _, p := range l.judged.pairs {
		real := p.real.nodes[0].real
		pair := Pair{Likeness: result.Likeness{
			LoadBalancer: p.real.nodes[0].Key, Product: real.Product, Version: real.Version, Profile: p.simulated.nodes[0].Profile,
		}}
		for target, c := range map[*conformance.Target]*chain{&pair.Real: p.real, &pair.Simulated: p.simulated} {
			*target = l.balancer(base, c, upgrade)
			target.Features = []string{scenario.DefaultProfile} // without it no check would be put to them
		}
		list = append(list, pair)
	}
	return list
}
