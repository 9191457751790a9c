package admin

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAdminPort(t *testing.T) {
	config := router.Config{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", Routes: []router.Route{
		{Name: "pass", SNI: []string{"a.test"}, Mode: router.ModePassthrough, Backend: router.Backend{Address: "127.0.0.1:1"}},
	}}
	s, err := router.New(config, router.Options{Admin: New})
	if err != nil {
		t.Fatal(err)
	}
	if s.Ready() {
		t.Error("ready before Listen")
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	get := func(path string) (int, string) {
		resp, err := client.Get("http://" + s.AdminAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/nothing": 404} {
		if got, _ := get(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}

	// One connection that is no protocol, and one that stays open.
	for _, opener := range []string{"garbage\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"} {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, opener)
		_, _ = conn.Read(make([]byte, 1)) // the end, or the answer
	}
	config.Drain.Timeout = router.Duration(time.Minute)
	if err := s.Reload(config); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, metrics := get("/metrics")
		missing := ""
		for _, want := range []string{
			`tlsroute_router_connections_total{outcome="unknown_opener",route=""} 1`,
			"tlsroute_router_connections_active 1",
			"tlsroute_router_config_generation 2",
			"tlsroute_router_draining 0",
			`tlsroute_router_bytes_total{direction="in"} 0`,
			"go_goroutines ",
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
	var doc document
	if _, body := get("/config"); json.Unmarshal([]byte(body), &doc) != nil || doc.Generation != 2 ||
		doc.Config.Upgrade.Path != router.DefaultUpgradePath || time.Duration(doc.Config.Drain.Timeout) != time.Minute {
		t.Errorf("/config: %s", body)
	}

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	// A second idle HTTP connection ends with the drain; a silent one keeps it waiting until it is cut.
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for s.Stats().Active < 2 { // accepted
		get("/healthz")
	}
	go func() { done <- s.Shutdown(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if code, _ := get("/readyz"); code == http.StatusServiceUnavailable {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("/readyz does not say that the router drains")
		}
	}
	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz while draining: %d", code)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a drain that was cut short is no error")
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
