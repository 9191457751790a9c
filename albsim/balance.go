package albsim

import (
	"math/rand/v2"
	"time"
)

// choose picks one of the routable targets by the group's algorithm (alb.md section 9); mu is held and there is one.
func (g *group) choose(now time.Time) *target {
	g.turn++
	switch g.set.algorithm {
	case "least_outstanding_requests":
		return g.leastOutstanding()
	case "weighted_random":
		return g.atRandom()
	}
	return g.inTurn(now)
}

// inTurn is round_robin: every target earns its share, who has most credit pays for all. Equal shares make the targets take
// turns; one that is in slow start comes the more seldom the smaller its share, and never twice in a row to make up for it.
func (g *group) inTurn(now time.Time) *target {
	var best *target
	total := 0.0
	for _, t := range g.routable {
		share := g.share(t, now)
		total += share
		t.credit += share
		if best == nil || t.credit > best.credit {
			best = t
		}
	}
	best.credit -= total
	return best
}

// share grows from 0 to 1, a full one, over the slow start: linearly, as AWS documents (alb.md section 5).
func (g *group) share(t *target, now time.Time) float64 {
	if t.warmFrom.IsZero() {
		return 1
	}
	part := float64(now.Sub(t.warmFrom)) / float64(g.s.scaled(g.set.slowStart))
	if part >= 1 {
		t.warmFrom = time.Time{}
		return 1
	}
	return part
}

// warm begins the slow start of a target that has come into service; mu is held. AWS wants a healthy target beside it that
// is in none, and leaves out those that an empty group was given at once.
func (g *group) warm(t *target, now time.Time) {
	t.credit = 0
	if g.set.slowStart == 0 || t.founder {
		t.founder = false
		return
	}
	for _, other := range g.targets {
		if other != t && other.inService() && g.share(other, now) == 1 {
			t.warmFrom = now
			return
		}
	}
}

// atRandom draws by weight: alike, but for what anomaly mitigation has cut.
func (g *group) atRandom() *target {
	total := 0.0
	for _, t := range g.routable {
		total += 1 - t.account.cut
	}
	at := rand.Float64() * total
	for _, t := range g.routable {
		if at -= 1 - t.account.cut; at < 0 {
			return t
		}
	}
	return g.routable[len(g.routable)-1] // rounding
}

// leastOutstanding takes turns among those that are equally busy.
func (g *group) leastOutstanding() *target {
	var best *target
	for i := range g.routable {
		t := g.routable[(g.turn+uint64(i))%uint64(len(g.routable))]
		if best == nil || t.outstanding.Load() < best.outstanding.Load() {
			best = t
		}
	}
	return best
}
