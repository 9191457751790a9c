package albsim

import "time"

// Automatic target weights (alb.md section 9, TG): a healthy target whose answers fail more often than the others' is
// anomalous; with anomaly mitigation on, weighted_random sends it less and less, and more again once it does better. AWS
// documents that, the minimum of three healthy targets, and that 5XX and errors of the connection count; not the numbers. Those
// here are assumed (grade A).
const (
	anomalyHosts  = 3                // healthy targets below which there is nothing to compare (D)
	anomalyWindow = 10 * time.Second // what is compared at a time
	anomalyFew    = 3                // failures in a window that are no sign of anything
	anomalyRatio  = 2                // how often a target may fail for each time that the others do
	weightStep    = 2                // what the weight is divided by, or multiplied
	leastWeight   = 1.0 / 64         // negligible, but enough to notice a recovery
)

// account is what a target has answered in the window at hand, and what the ones before have made of it.
type account struct {
	answers, failures int
	anomalous         bool
	cut               float64 // of its weight of 1
}

// settleAccount notes down how a lease ended: whether its target failed.
func (l *lease) settleAccount(failed bool) {
	g := l.group
	g.mu.Lock()
	defer g.mu.Unlock()
	l.target.account.answers++
	if failed {
		l.target.account.failures++
	}
}

// failed tells whether what became of a request speaks against its target.
func (r *record) failed() bool {
	return r.targetStatus >= 500 || r.targetStatus == 0 && (r.status == 502 || r.status == 504)
}

// assess judges the targets by the window that has passed, if one has; mu is held.
func (g *group) assess(now time.Time) {
	if now.Sub(g.assessed) < g.s.scaled(anomalyWindow) {
		return
	}
	g.assessed = now
	answers, failures, fit := 0, 0, 0
	for _, t := range g.targets {
		if t.inService() {
			answers, failures, fit = answers+t.account.answers, failures+t.account.failures, fit+1
		}
	}
	for _, t := range g.targets {
		a := &t.account
		// failures/answers > ratio * (the others' failures)/(the others' answers), without dividing by zero
		worse := a.failures*(answers-a.answers) > anomalyRatio*(failures-a.failures)*a.answers
		a.anomalous = t.inService() && fit >= anomalyHosts && a.failures > anomalyFew && worse
		if weight := 1 - a.cut; a.anomalous && g.set.mitigate {
			a.cut = 1 - max(weight/weightStep, leastWeight)
		} else {
			a.cut = 1 - min(weight*weightStep, 1)
		}
		a.answers, a.failures = 0, 0
	}
}
