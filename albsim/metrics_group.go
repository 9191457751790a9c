package albsim

import (
	"strconv"
	"sync/atomic"
	"time"
)

// groupCounters are those that CloudWatch has by target group.
type groupCounters struct {
	requests, openly, nonSticky atomic.Int64     // that got a target; by fail-open; without a cookie to go by
	answers                     [10]atomic.Int64 // of targets, by hundreds of the status: a target may send any of three digits
	waited                      atomic.Int64     // for the heads of answers, in nanoseconds
}

// answered counts a target's answer.
func (c *groupCounters) answered(status int, after time.Duration) {
	c.answers[status/100].Add(1)
	c.waited.Add(int64(after))
}

// GroupMetrics are CloudWatch's by name and target group, in the document's names. Counters run since New; RequestCountPerTarget
// is the average over the targets of the moment, TargetResponseTime that over all answers, in seconds. What is about health is
// there if the group has health checks. There is one zone, so states of zones are 0 or 1.
func (s *Server) GroupMetrics() map[string]map[string]float64 {
	out := map[string]map[string]float64{}
	for _, g := range s.plan.order {
		if out[g.name] = g.metrics(); g.network != nil {
			out[g.name] = flowMetrics(out[g.name])
		}
	}
	return out
}

func (g *group) metrics() map[string]float64 {
	c := &g.count
	out := map[string]float64{
		"RequestCount":                 float64(c.requests.Load()),
		"UnhealthyRoutingRequestCount": float64(c.openly.Load()),
	}
	answers := 0.0
	for class := range c.answers {
		n := float64(c.answers[class].Load())
		if answers += n; class >= 2 && class < 6 {
			out["HTTPCode_Target_"+strconv.Itoa(class)+"XX_Count"] = n
		}
	}
	if answers > 0 {
		out["TargetResponseTime"] = time.Duration(c.waited.Load()).Seconds() / answers
	}
	if g.set.sticky {
		out["NonStickyRequestCount"] = float64(c.nonSticky.Load())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	registered, fit, sick := 0, 0, 0
	out["AnomalousHostCount"], out["MitigatedHostCount"] = 0, 0
	for _, t := range g.targets {
		if t.account.anomalous {
			out["AnomalousHostCount"]++
		}
		if t.account.cut > 0 {
			out["MitigatedHostCount"]++
		}
		switch t.state {
		case draining:
			continue
		case healthy:
			fit++
		case unhealthy, unhealthyDraining:
			sick++
		default:
		}
		registered++
	}
	if registered > 0 {
		out["RequestCountPerTarget"] = out["RequestCount"] / float64(registered)
	}
	if g.check == nil || !g.used {
		return out
	}
	out["HealthyHostCount"], out["UnHealthyHostCount"] = float64(fit), float64(sick)
	zone := func(kind string, below bool) {
		out["HealthyState"+kind], out["UnhealthyState"+kind] = 1, 0
		if below {
			out["HealthyState"+kind], out["UnhealthyState"+kind] = 0, 1
		}
	}
	zone("Routing", g.failOpen)
	zone("DNS", g.set.dns.below(fit, registered))
	return out
}
