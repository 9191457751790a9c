package albsim

import "testing"

func TestGroupMetrics(t *testing.T) {
	odd := newStub(t, nil, func(c *client, head string) {
		if fieldOf(head, "X-Odd") != "" {
			say(c, "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n")
			return
		}
		healthyOnly("200")(c, head)
	})
	cfg := checked(odd.addr, HealthCheck{})
	cfg.TargetGroups[0].Targets = append(cfg.TargetGroups[0].Targets, closedPort(t))
	cfg.TargetGroups[0].Attributes = map[string]any{"target_group_health.dns_failover.minimum_healthy_targets.percentage": 51}
	cfg.TargetGroups = append(cfg.TargetGroups, TargetGroup{Name: "idle", Protocol: "HTTP"})
	m := start(t, cfg, Options{TimeScale: hurried})
	m.settled("healthy", "unhealthy Target.FailedHealthChecks")
	m.request(plainGet)
	m.request("GET / HTTP/1.1\r\nHost: a\r\nX-Odd: 1\r\n\r\n")
	m.logLines(2) // a line is written behind the counting
	got := m.GroupMetrics()
	for name, want := range map[string]float64{
		"RequestCount": 2, "RequestCountPerTarget": 1, "HTTPCode_Target_2XX_Count": 1, "HTTPCode_Target_5XX_Count": 0,
		"HealthyHostCount": 1, "UnHealthyHostCount": 1, "HealthyStateRouting": 1, "UnhealthyStateRouting": 0,
		"HealthyStateDNS": 0, "UnhealthyStateDNS": 1, "UnhealthyRoutingRequestCount": 0,
	} {
		if n, ok := got["t"][name]; !ok || n != want {
			t.Errorf("%s is %v (%v), want %v", name, n, ok, want)
		}
	}
	if s := got["t"]["TargetResponseTime"]; s <= 0 || s > patience.Seconds() {
		t.Errorf("TargetResponseTime is %v seconds", s)
	}
	for _, absent := range []string{"HealthyHostCount", "TargetResponseTime", "NonStickyRequestCount"} {
		if n, ok := got["idle"][absent]; ok {
			t.Errorf("an unused group has %s: %v", absent, n)
		}
	}
}
