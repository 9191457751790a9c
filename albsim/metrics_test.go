package albsim

import (
	"crypto/tls"
	"testing"
	"time"
)

// counted waits until the counters are those.
func (m *sim) counted(want map[string]int64) {
	m.t.Helper()
	var got map[string]int64
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		got = m.Metrics()
		differs := false
		for name, n := range want {
			differs = differs || got[name] != n
		}
		if !differs {
			return
		}
	}
	for name, n := range want {
		if got[name] != n {
			m.t.Errorf("%s is %d, want %d", name, got[name], n)
		}
	}
}

func TestMetricsCountRequestsByWhoAnswered(t *testing.T) {
	cfg := plain(newStub(t, nil, ok).addr)
	cfg.TargetGroups = append(cfg.TargetGroups, TargetGroup{Name: "dead", Protocol: "HTTP", Targets: []string{closedPort(t)}})
	on := func(path string) []Condition { return []Condition{{Field: "path-pattern", Values: []string{path}}} }
	cfg.Listeners[0].Rules = []Rule{
		{Priority: 1, Conditions: on("/fixed"), Actions: []Action{{Type: "fixed-response", StatusCode: 404}}},
		{Priority: 2, Conditions: on("/moved"), Actions: []Action{{Type: "redirect", StatusCode: 301, Path: "/"}}},
		{Priority: 3, Conditions: on("/dead"), Actions: []Action{{Type: "forward", TargetGroup: "dead"}}},
	}
	m := start(t, cfg, Options{})
	var in, out int
	for _, line := range []string{"GET /fixed", "GET /moved", "GET /dead", "GET /", "TRACE /"} {
		c := m.dial()
		request := line + " HTTP/1.1\r\nHost: a\r\nX_Name: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
		c.send(request)
		_, head, body := c.response()
		in, out = in+len(request), out+len(head)+len(body)
		c.Close()
	}
	m.counted(map[string]int64{
		"RequestCount": 2, "TargetConnectionErrorCount": 1,
		"HTTP_Fixed_Response_Count": 1, "HTTP_Redirect_Count": 1, "RuleEvaluations": 1 + 2 + 3 + 3,
		"HTTPCode_ELB_3XX_Count": 1, "HTTPCode_ELB_4XX_Count": 2, "HTTPCode_ELB_5XX_Count": 1, "HTTPCode_ELB_502_Count": 1,
		"HTTPCode_ELB_503_Count": 0, "HTTPCode_Target_2XX_Count": 1, "HTTPCode_Target_5XX_Count": 0,
		"ForwardedInvalidHeaderRequestCount": 2, "DroppedInvalidHeaderRequestCount": 0,
		"DesyncMitigationMode_NonCompliant_Request_Count": 4, // a length of 0 on each GET
		"ProcessedBytes":     int64(in + out),
		"NewConnectionCount": 5 + 1, "ActiveConnectionCount": 1, // to the target, in the pool
	})
	if err := m.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.counted(map[string]int64{"ActiveConnectionCount": 0})
}

func TestMetricsCountFailedHandshakes(t *testing.T) {
	cfg := secure(t, echoServer(t))
	cfg.TargetGroups[0].Protocol = "HTTPS"
	m := start(t, cfg, Options{})
	if _, err := tls.Dial("tcp", m.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	c, _ := m.dialTLS(&tls.Config{})
	c.send(plainGet)
	c.response()
	c.Close()
	m.counted(map[string]int64{
		"ClientTLSNegotiationErrorCount": 1, "TargetTLSNegotiationErrorCount": 1, "TargetConnectionErrorCount": 0,
		"HTTPCode_ELB_502_Count": 1, "NewConnectionCount": 3, "ActiveConnectionCount": 0,
	})
}
