package admin

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// port is a simulator's admin port.
type port struct {
	t      *testing.T
	url    string
	client *http.Client
}

func (p port) ask(method, path string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAdminPort(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer target.Close()
	address := target.Listener.Addr().String()
	s, err := albsim.New(albsim.Config{
		Admin:     "127.0.0.1:0",
		Listeners: []albsim.Listener{{Listen: "127.0.0.1:0", Protocol: "HTTP", Default: albsim.Default{Forward: "web"}}},
		TargetGroups: []albsim.TargetGroup{{
			Name: "web", Protocol: "HTTP", Targets: []string{address}, HealthCheck: albsim.HealthCheck{Enabled: true},
		}},
	}, albsim.Options{Admin: New})
	if err != nil {
		t.Fatal(err)
	}
	if s.Ready() || s.AdminAddr() != nil {
		t.Error("ready before Listen")
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	p := port{t, "http://" + s.AdminAddr().String(), &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second,
	}}
	front := port{t, "http://" + s.Addrs()[0].String(), p.client}
	if status, body := front.ask("GET", "/"); status != 200 || body != "ok" {
		t.Fatalf("%d %s", status, body)
	}

	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/nothing": 404, "/targets/web/x/register": 405} {
		if got, _ := p.ask("GET", path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	var config albsim.Config
	if _, body := p.ask("GET", "/config"); json.Unmarshal([]byte(body), &config) != nil || config.Profile != "aws-alb" ||
		config.Attributes["idle_timeout.timeout_seconds"] != 60.0 ||
		config.TargetGroups[0].Attributes["load_balancing.algorithm.type"] != "round_robin" {
		t.Errorf("/config: %s", body)
	}
	var metrics string
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, metrics = p.ask("GET", "/metrics")
		missing := ""
		for _, want := range []string{
			"\n# TYPE HealthyHostCount gauge\n", "\n# TYPE RequestCount counter\n",
			"\nHealthyHostCount{TargetGroup=\"web\"} 1\n", "\nRequestCount{TargetGroup=\"web\"} 1\n", "\nTargetResponseTime{TargetGroup=\"web\"} ",
			"\nHTTPCode_Target_2XX_Count{TargetGroup=\"web\"} 1\n", "\nHTTPCode_ELB_503_Count 0\n", "\nProcessedBytes ", "\ngo_goroutines ",
		} {
			if !strings.Contains(metrics, want) {
				missing = want
			}
		}
		if missing == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %q in\n%s", missing, metrics)
		}
	}

	states := func(method, path string) (out []albsim.TargetState) {
		t.Helper()
		status, body := p.ask(method, path)
		if err := json.Unmarshal([]byte(body), &out); status != 200 || err != nil {
			t.Fatalf("%s %s: %d %s", method, path, status, body)
		}
		return out
	}
	if got := states("GET", "/targets"); len(got) != 1 || got[0] != (albsim.TargetState{Group: "web", Address: address, State: "healthy"}) {
		t.Errorf("/targets: %+v", got)
	}
	if got := states("POST", "/targets/web/"+address+"/deregister"); len(got) != 1 || got[0].State != "draining" ||
		got[0].Reason != "Target.DeregistrationInProgress" {
		t.Errorf("after deregister: %+v", got)
	}
	if status, _ := front.ask("GET", "/"); status != 503 {
		t.Errorf("a group without targets answers %d, want 503", status)
	}
	if got := states("POST", "/targets/web/"+address+"/register"); len(got) != 1 || got[0].State == "draining" {
		t.Errorf("after register: %+v", got)
	}
	for path, want := range map[string]int{
		"/targets/none/" + address + "/register": 404, "/targets/web/127.0.0.1:1/deregister": 404, "/targets/web/nowhere/register": 400,
	} {
		if got, body := p.ask("POST", path); got != want {
			t.Errorf("%s: %d %s, want %d", path, got, body, want)
		}
	}

	// An open request keeps the drain waiting until it is cut.
	conn, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
	for deadline := time.Now().Add(10 * time.Second); s.Targets()[0].Outstanding == 0; p.ask("GET", "/healthz") {
		if time.Now().After(deadline) {
			t.Fatal("the open request reached no target")
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if status, _ := p.ask("GET", "/readyz"); status == http.StatusServiceUnavailable {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("/readyz does not say that the simulator drains")
		}
	}
	cancel()
	if err := <-down; err == nil {
		t.Error("a drain that was cut short is no error")
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestAnAdminPortNeedsItsHandler(t *testing.T) {
	config := albsim.Config{
		Admin: "127.0.0.1:0",
		Listeners: []albsim.Listener{{
			Listen: "127.0.0.1:0", Protocol: "HTTP",
			Default: albsim.Default{Actions: []albsim.Action{{Type: "fixed-response", StatusCode: 200}}},
		}},
	}
	if _, err := albsim.New(config, albsim.Options{}); err == nil || !strings.HasPrefix(err.Error(), "admin: ") {
		t.Errorf("error %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	config.Admin = taken.Addr().String()
	s, err := albsim.New(config, albsim.Options{Admin: New})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "admin: ") {
		t.Errorf("a port that is taken: %v", err)
	}
}
