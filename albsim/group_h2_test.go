package albsim

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestH2GroupsAreCheckedStuckToAndDrained is a group of each version with all that a group has.
func TestH2GroupsAreCheckedStuckToAndDrained(t *testing.T) {
	for _, version := range []string{"HTTP2", "GRPC"} {
		closed := make(chan struct{}, 64)
		served := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case version == "GRPC":
				w.Header().Set("Content-Type", "application/grpc")
				w.Header().Set(http.TrailerPrefix+"Grpc-Status", "12")
			case r.UserAgent() == healthAgent && r.Method != http.MethodGet:
				t.Errorf("an HTTP2 check is a %s", r.Method)
			}
		})
		ts := httptest.NewUnstartedServer(served)
		ts.Config.Protocols = new(http.Protocols)
		ts.Config.Protocols.SetUnencryptedHTTP2(true)
		ts.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				closed <- struct{}{}
			}
		}
		ts.Start()
		t.Cleanup(ts.Close)
		cfg := versioned(t, ts.Listener.Addr().String(), "HTTP", version)
		cfg.TargetGroups[0].HealthCheck = HealthCheck{Enabled: true, IntervalSeconds: 300, TimeoutSeconds: 100}
		cfg.TargetGroups[0].Attributes = map[string]any{"stickiness.enabled": true}
		m := start(t, cfg, Options{TimeScale: 0.1})
		m.settled("healthy")
		<-closed // the check's

		req, err := http.NewRequest(http.MethodPost, "https://"+m.addr+"/", strings.NewReader(string(emptyMessage)))
		if err != nil {
			t.Fatal(err)
		}
		isGRPC(req)
		resp, err := h2Transport(t).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if set := resp.Header.Values("Set-Cookie"); resp.StatusCode != 200 || len(set) != 2 || !strings.HasPrefix(set[0], "AWSALB=") {
			t.Errorf("%s: status %d, cookies %q", version, resp.StatusCode, set)
		}
		m.deregister(ts.Listener.Addr().String())
		<-closed // the idle one
	}
}

func TestADeadTargetBecomesUnhealthyAndComesBack(t *testing.T) {
	target := newStub(t, nil, healthyOnly("200"))
	other := newStub(t, nil, healthyOnly("200"))
	cfg := checked(target.addr, HealthCheck{HealthyThresholdCount: 2})
	cfg.TargetGroups[0].Targets = append(cfg.TargetGroups[0].Targets, other.addr)
	m := start(t, cfg, Options{TimeScale: hurried})
	m.settled("healthy", "healthy")
	if err := m.Inject(Injection{Kind: "target-death", Hop: "target", Target: target.addr, For: Duration(patience / 5)}); err != nil {
		t.Fatal(err)
	}
	m.settled("unhealthy Target.FailedHealthChecks", "healthy")
	for range 4 {
		if status, _, _ := m.request(plainGet); status != 200 {
			t.Errorf("status %d while one of two targets is dead, want 200", status)
		}
	}
	m.settled("healthy", "healthy")
}
