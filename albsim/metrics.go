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
	fixedResponses, redirects, redirectsTooLong          atomic.Int64
	jwtFailures                                          atomic.Int64
	processedBytes                                       atomic.Int64 // of the clients' side
	ipv6Requests, ipv6Bytes                              atomic.Int64
	byBalancer, byTarget                                 [600]atomic.Int64
	auth                                                 authCounters
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

// Metrics are the counters since New under CloudWatch's names; ActiveConnectionCount, and what counts hosts and zones, is of
// the moment, ProcessedBytes in bytes. Names that are not there are not counted. What is of target groups is summed up.
func (s *Server) Metrics() map[string]int64 {
	c := &s.count
	if s.plan.profile.Kind == network {
		out := c.ofFlows()
		for _, g := range s.GroupMetrics() {
			for name, n := range g {
				out[name] += int64(n)
			}
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
		"HTTP_Redirect_Url_Limit_Exceeded_Count":          c.redirectsTooLong.Load(),
		"JWTValidationFailureCount":                       c.jwtFailures.Load(),
		"ProcessedBytes":                                  c.processedBytes.Load(),
		"IPv6RequestCount":                                c.ipv6Requests.Load(),
		"IPv6ProcessedBytes":                              c.ipv6Bytes.Load(),
	}
	c.auth.into(out)
	for _, g := range s.GroupMetrics() {
		for _, name := range []string{
			"HealthyHostCount", "UnHealthyHostCount", "UnhealthyRoutingRequestCount", "NonStickyRequestCount",
			"HealthyStateRouting", "UnhealthyStateRouting", "HealthyStateDNS", "UnhealthyStateDNS", "AnomalousHostCount", "MitigatedHostCount",
		} {
			if n, ok := g[name]; ok {
				out[name] += int64(n)
			}
		}
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
