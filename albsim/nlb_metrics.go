package albsim

import (
	"strings"
	"sync/atomic"
)

// flowCounters are those of a network load balancer: alb.md section 11. What needs packets (PeakPacketsPerSecond,
// ConsumedLCUs) is not counted.
type flowCounters struct {
	activeTCP, activeTLS, newTCP, newTLS              atomic.Int64
	clientResets, elbResets, targetResets, portErrors atomic.Int64
	bytesTCP, bytesTLS                                atomic.Int64 // of the clients' side
	forgotten                                         atomic.Int64 // flows past their idle timeout whose sockets are kept
}

func (c *flowCounters) begin(secure bool) {
	if secure {
		c.newTLS.Add(1)
		c.activeTLS.Add(1)
		return
	}
	c.newTCP.Add(1)
	c.activeTCP.Add(1)
}

func (c *flowCounters) end(secure bool) {
	if secure {
		c.activeTLS.Add(-1)
		return
	}
	c.activeTCP.Add(-1)
}

// flowMetrics are a target group's for a network load balancer, whose names speak of flows and not of requests.
func flowMetrics(of map[string]float64) map[string]float64 {
	out := map[string]float64{"UnhealthyRoutingFlowCount": of["UnhealthyRoutingRequestCount"]}
	for name, n := range of {
		if strings.HasPrefix(name, "Healthy") || strings.HasPrefix(name, "UnHealthy") || strings.HasPrefix(name, "UnhealthyState") {
			out[name] = n
		}
	}
	return out
}

func (c *counters) ofFlows() map[string]int64 {
	f := &c.flows
	return map[string]int64{
		"ActiveFlowCount":                f.activeTCP.Load() + f.activeTLS.Load(),
		"ActiveFlowCount_TCP":            f.activeTCP.Load(),
		"ActiveFlowCount_TLS":            f.activeTLS.Load(),
		"NewFlowCount":                   f.newTCP.Load() + f.newTLS.Load(),
		"NewFlowCount_TCP":               f.newTCP.Load(),
		"NewFlowCount_TLS":               f.newTLS.Load(),
		"ProcessedBytes":                 f.bytesTCP.Load() + f.bytesTLS.Load(),
		"ProcessedBytes_TCP":             f.bytesTCP.Load(),
		"ProcessedBytes_TLS":             f.bytesTLS.Load(),
		"TCP_Client_Reset_Count":         f.clientResets.Load(),
		"TCP_ELB_Reset_Count":            f.elbResets.Load(),
		"TCP_Target_Reset_Count":         f.targetResets.Load(),
		"PortAllocationErrorCount":       f.portErrors.Load(),
		"ClientTLSNegotiationErrorCount": c.clientTLSErrors.Load(),
		"TargetTLSNegotiationErrorCount": c.targetTLSErrors.Load(),
	}
}
