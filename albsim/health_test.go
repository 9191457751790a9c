package albsim

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// hurried makes a check of every 30 seconds one of every 200 milliseconds.
const hurried = 1.0 / 150

// checked is plain with health checks.
func checked(target string, check HealthCheck) Config {
	cfg := plain(target)
	check.Enabled, check.TimeoutSeconds = true, 20
	cfg.TargetGroups[0].HealthCheck = check
	return cfg
}

// settled waits until the targets are in those states, each as "state reason".
func (m *sim) settled(want ...string) {
	m.t.Helper()
	var got []string
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		got = nil
		for _, s := range m.Targets() {
			got = append(got, strings.TrimSpace(s.State+" "+s.Reason))
		}
		if slices.Equal(got, want) {
			return
		}
	}
	m.t.Fatalf("targets are %q, want %q", got, want)
}

func TestALB_HC_01_WhatATargetSeesOfACheck(t *testing.T) {
	ended := make(chan error, 64)
	target := newStub(t, nil, func(c *client, head string) {
		ok(c, head)
		_, err := c.br.ReadByte()
		ended <- err
	})
	start(t, checked(target.addr, HealthCheck{Path: "/up?x=1"}), Options{TimeScale: hurried})
	want := "GET /up?x=1 HTTP/1.1\r\nHost: " + target.addr + "\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\n" +
		"Accept-Encoding: gzip, compressed\r\n\r\n"
	for i := range int32(2) {
		if head := target.head(t); head != want {
			t.Errorf("check %d is %q, want %q", i, head, want)
		}
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("check %d: the connection ended with %v, want EOF", i, err)
		}
		if n := target.accepts.Load(); n != i+1 {
			t.Errorf("%d connections for %d checks", n, i+1)
		}
	}
}

func TestALB_HC_01_HostHasNoPortWhereItIsTheProtocolsOwn(t *testing.T) {
	pair := loadCert(t, makeCert(t, nil, "a"))
	for _, c := range []struct {
		check   HealthCheck
		address string
		tls     *tls.Config
	}{
		{HealthCheck{}, "127.0.0.1:80", nil},
		{HealthCheck{Protocol: "HTTPS", Port: "443"}, "127.0.0.1:443", &tls.Config{Certificates: []tls.Certificate{pair}}},
	} {
		target := newStub(t, c.tls, ok)
		asked := make(chan string, 64)
		m := start(t, checked("127.0.0.1:80", c.check), Options{
			TimeScale: hurried,
			DialTarget: func(ctx context.Context, network, address string) (net.Conn, error) {
				asked <- address
				return new(net.Dialer).DialContext(ctx, network, target.addr)
			},
		})
		if address := <-asked; address != c.address {
			t.Errorf("the check went to %s, want %s", address, c.address)
		}
		if head := target.head(t); fieldOf(head, "Host") != "127.0.0.1" {
			t.Errorf("check is %q", head)
		}
		m.settled("healthy")
		if n := m.Metrics()["NewConnectionCount"]; n != 0 {
			t.Errorf("checks counted as %d connections", n)
		}
	}
}

func TestALB_HC_02_ThresholdsOfHealth(t *testing.T) {
	codes := []string{"200", "500", "200", "500", "500", "200", "200", "500", "200", "200", "200", "200", "200", "200"}
	bad := "unhealthy Target.ResponseCodeMismatch"
	want := []string{ // seen at each check, so what the ones before have made of it
		"initial Elb.InitialHealthChecking", "healthy", "healthy", "healthy", "healthy",
		bad, bad, bad, bad, bad, bad, bad, bad, "healthy",
	}
	var m *sim
	var n atomic.Int32
	ready, seen := make(chan struct{}), make(chan string, 64)
	target := newStub(t, nil, func(c *client, _ string) {
		<-ready
		state := m.Targets()[0]
		seen <- strings.TrimSpace(state.State + " " + state.Reason)
		say(c, "HTTP/1.1 "+codes[min(int(n.Add(1)), len(codes))-1]+" X\r\nContent-Length: 0\r\n\r\n")
	})
	m = start(t, checked(target.addr, HealthCheck{}), Options{TimeScale: hurried})
	close(ready)
	for i, state := range want {
		if got := <-seen; got != state {
			t.Errorf("at check %d the target is %s, want %s", i, got, state)
		}
	}
}

func TestALB_HC_02_ReasonsOfAFailure(t *testing.T) {
	silent := newStub(t, nil, func(c *client, _ string) { rest(c) })
	garbled := newStub(t, nil, func(c *client, _ string) { say(c, "what?\r\n\r\n"); c.Close() })
	cfg := checked(closedPort(t), HealthCheck{})
	cfg.TargetGroups[0].Targets = append(cfg.TargetGroups[0].Targets, silent.addr, garbled.addr)
	m := start(t, cfg, Options{TimeScale: hurried})
	m.settled("unhealthy Target.FailedHealthChecks", "unhealthy Target.Timeout", "unhealthy Target.FailedHealthChecks")
	m.counted(map[string]int64{"HealthyHostCount": 0, "UnHealthyHostCount": 3, "HealthyStateRouting": 0, "UnhealthyStateRouting": 1})
}

func TestAGroupThatNoListenerLeadsToIsUnused(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := plain(target.addr)
	idle := checked(target.addr, HealthCheck{}).TargetGroups[0]
	idle.Name = "idle"
	cfg.TargetGroups = append(cfg.TargetGroups, idle)
	m := start(t, cfg, Options{TimeScale: hurried})
	m.settled("unavailable Target.HealthCheckDisabled", "unused Target.NotInUse")
	m.request(plainGet)
	if head := target.head(t); strings.Contains(head, healthAgent) {
		t.Errorf("an unused target was checked: %q", head)
	}
}

// healthyOnly answers requests, and checks with that status.
func healthyOnly(status string) func(*client, string) {
	return func(c *client, head string) {
		if strings.Contains(head, healthAgent) {
			say(c, "HTTP/1.1 "+status+" X\r\nContent-Length: 0\r\n\r\n")
			return
		}
		ok(c, head)
	}
}

func TestALB_HC_03_FailOpen(t *testing.T) {
	a, b := newStub(t, nil, healthyOnly("500")), newStub(t, nil, healthyOnly("503"))
	cfg := checked(a.addr, HealthCheck{})
	cfg.TargetGroups[0].Targets = append(cfg.TargetGroups[0].Targets, b.addr)
	m := start(t, cfg, Options{TimeScale: hurried})
	m.settled("unhealthy Target.ResponseCodeMismatch", "unhealthy Target.ResponseCodeMismatch")
	for range 4 {
		if status, _, _ := m.request(plainGet); status != 200 {
			t.Errorf("status %d, want 200", status)
		}
	}
	if a, b := m.served(0), m.served(1); a != 2 || b != 2 {
		t.Errorf("%d and %d requests, want 2 for each", a, b)
	}
	m.counted(map[string]int64{"UnhealthyRoutingRequestCount": 4})
}

// served is how many requests the target of that number was chosen for.
func (m *sim) served(i int) int64 {
	g := m.plan.order[0]
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.targets[i].requests
}

func TestALB_HC_03_OnlyTheHealthyWhileThereAreEnough(t *testing.T) {
	a, b := newStub(t, nil, healthyOnly("200")), newStub(t, nil, healthyOnly("500"))
	for _, c := range []struct {
		attributes map[string]any
		sick       int64 // of four requests
	}{
		{nil, 0},
		{map[string]any{"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": 2}, 2},
		{map[string]any{"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "50"}, 0},
		{map[string]any{"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "51"}, 2},
	} {
		cfg := checked(a.addr, HealthCheck{})
		cfg.TargetGroups[0].Targets = append(cfg.TargetGroups[0].Targets, b.addr)
		cfg.TargetGroups[0].Attributes = c.attributes
		m := start(t, cfg, Options{TimeScale: hurried})
		m.settled("healthy", "unhealthy Target.ResponseCodeMismatch")
		for range 4 {
			m.request(plainGet)
		}
		if n := m.served(1); n != c.sick {
			t.Errorf("%v: the unhealthy target got %d of 4 requests, want %d", c.attributes, n, c.sick)
		}
	}
}

func TestH2AndGRPCChecks(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if r.URL.Path != "/AWS.ALB/healthcheck" || r.Header.Get("Content-Type") != "application/grpc" || r.UserAgent() != healthAgent {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "12")
	})
	clear := httptest.NewUnstartedServer(handler)
	clear.Config.Protocols = new(http.Protocols)
	clear.Config.Protocols.SetUnencryptedHTTP2(true)
	clear.Start()
	t.Cleanup(clear.Close)
	secured := httptest.NewUnstartedServer(handler)
	secured.EnableHTTP2 = true
	secured.StartTLS()
	t.Cleanup(secured.Close)
	s, err := New(plain(closedPort(t)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		version  string
		matcher  Matcher
		reason   string
		protocol string
	}{
		{"HTTP2", Matcher{HTTPCode: "200-299"}, "", "HTTP"},
		{"HTTP2", Matcher{}, reasonMismatch, "HTTPS"},
		{"GRPC", Matcher{}, "", "HTTP"},
		{"GRPC", Matcher{}, "", "HTTPS"},
		{"GRPC", Matcher{GRPCCode: "0"}, reasonMismatch, "HTTPS"},
	} {
		var faults Faults
		h := planHealthCheck(TargetGroup{
			ProtocolVersion: c.version, HealthCheck: HealthCheck{Enabled: true, Protocol: c.protocol, Matcher: c.matcher},
		}, "", &faults)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		at := clear
		if c.protocol == "HTTPS" {
			at = secured
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if reason := h.probe(ctx, s, at.Listener.Addr().String()); reason != c.reason {
			t.Errorf("%s over %s: reason %q, want %q", c.version, c.protocol, reason, c.reason)
		}
		cancel()
	}
}

func TestHealthChecksThatAWSRefuses(t *testing.T) {
	for path, c := range map[string]TargetGroup{
		"interval_seconds":          {HealthCheck: HealthCheck{IntervalSeconds: 4, TimeoutSeconds: 2}},
		"timeout_seconds":           {HealthCheck: HealthCheck{IntervalSeconds: 5}}, // the default timeout is no less
		"healthy_threshold_count":   {HealthCheck: HealthCheck{HealthyThresholdCount: 11}},
		"unhealthy_threshold_count": {HealthCheck: HealthCheck{UnhealthyThresholdCount: 1}},
		"protocol":                  {HealthCheck: HealthCheck{Protocol: "TCP"}},
		"port":                      {HealthCheck: HealthCheck{Port: "0"}},
		"path":                      {HealthCheck: HealthCheck{Path: "/a b"}},
		"matcher.http_code":         {HealthCheck: HealthCheck{Matcher: Matcher{HTTPCode: "200-500"}}},
		"matcher.grpc_code":         {HealthCheck: HealthCheck{Matcher: Matcher{GRPCCode: "0"}}},
	} {
		var faults Faults
		planHealthCheck(c, "h", &faults)
		if len(faults) != 1 || faults[0].Path != "h."+path {
			t.Errorf("%+v: faults %v, want one at h.%s", c.HealthCheck, faults, path)
		}
	}
}
