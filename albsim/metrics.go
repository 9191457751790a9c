package albsim

import (
	"strconv"
	"sync/atomic"
)

// counters are those of CloudWatch that the simulator can count: alb.md section 10 (CW). Each is added to where the thing
// happens.
type counters struct {
	activeConnections, newConnections                    atomic.Int64 // both legs
	clientTLSErrors, targetTLSErrors, targetConnErrors   atomic.Int64
	requests                                             atomic.Int64 // that got a target
	nonCompliant, droppedInvalidName, forwardInvalidName atomic.Int64 // requests
	ruleEvaluations                                      atomic.Int64 // the default is none
	fixedResponses, redirects                            atomic.Int64
	processedBytes                                       atomic.Int64 // of the clients' side
	unhealthyRouting, nonSticky                          atomic.Int64 // requests sent by fail-open; without a cookie to go by
	byBalancer, byTarget                                 [600]atomic.Int64
	flows                                                flowCounters // of a network load balancer
}

// answered counts a request that has ended, by who gave its status.
func (c *counters) answered(balancer, target int) {
	switch {
	case target >= 100 && target < 600:
		c.byTarget[target].Add(1)
	case target == 0 && balancer >= 100 && balancer < 600:
		c.byBalancer[balancer].Add(1)
	}
}

// measure adds what CloudWatch has about a target group at the moment. There is one zone, so a group counts as one.
func (g *group) measure(out map[string]int64) {
	if g.check == nil || !g.used { // AWS reports these if health checks are enabled
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.targets {
		switch t.state {
		case healthy:
			out["HealthyHostCount"]++
		case unhealthy:
			out["UnHealthyHostCount"]++
		}
	}
	if g.failOpen {
		out["UnhealthyStateRouting"]++
	} else {
		out["HealthyStateRouting"]++
	}
}

// Metrics are the counters since New under CloudWatch's names; ActiveConnectionCount is of the moment, ProcessedBytes in
// bytes. Names that are not there are not counted.
func (s *Server) Metrics() map[string]int64 {
	c := &s.count
	if s.plan.profile.Kind == network {
		out := c.ofFlows()
		for _, g := range s.plan.order {
			g.measure(out)
		}
		return out
	}
	out := map[string]int64{
		"ActiveConnectionCount":                           c.activeConnections.Load(),
		"NewConnectionCount":                              c.newConnections.Load(),
		"ClientTLSNegotiationErrorCount":                  c.clientTLSErrors.Load(),
		"TargetTLSNegotiationErrorCount":                  c.targetTLSErrors.Load(),
		"TargetConnectionErrorCount":                      c.targetConnErrors.Load(),
		"RequestCount":                                    c.requests.Load(),
		"DesyncMitigationMode_NonCompliant_Request_Count": c.nonCompliant.Load(),
		"DroppedInvalidHeaderRequestCount":                c.droppedInvalidName.Load(),
		"ForwardedInvalidHeaderRequestCount":              c.forwardInvalidName.Load(),
		"RuleEvaluations":                                 c.ruleEvaluations.Load(),
		"HTTP_Fixed_Response_Count":                       c.fixedResponses.Load(),
		"HTTP_Redirect_Count":                             c.redirects.Load(),
		"ProcessedBytes":                                  c.processedBytes.Load(),
	}
	out["UnhealthyRoutingRequestCount"] = c.unhealthyRouting.Load()
	out["NonStickyRequestCount"] = c.nonSticky.Load()
	for _, g := range s.plan.order {
		g.measure(out)
	}
	for _, status := range []int{500, 502, 503, 504} {
		out["HTTPCode_ELB_"+strconv.Itoa(status)+"_Count"] = c.byBalancer[status].Load()
	}
	for class := 2; class < 6; class++ {
		var balancer, target int64
		for status := class * 100; status < class*100+100; status++ {
			balancer += c.byBalancer[status].Load()
			target += c.byTarget[status].Load()
		}
		name := strconv.Itoa(class) + "XX_Count"
		if class > 2 { // CloudWatch has no 2XX of the balancer
			out["HTTPCode_ELB_"+name] = balancer
		}
		out["HTTPCode_Target_"+name] = target
	}
	return out
}
