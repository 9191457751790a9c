package admin

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// hello is a TLS 1.2 ClientHello for "a.test", as short as one can be.
const hello = "\x16\x03\x01\x00\x3e\x01\x00\x00\x3a\x03\x03" + "0123456789abcdef0123456789abcdef" +
	"\x00\x00\x02\x00\x2f\x01\x00" + "\x00\x0f\x00\x00\x00\x0b\x00\x09\x00\x00\x06a.test"

// TestMetricsFollowAConnection opens an upgrade and a tunnel in it, looks, and looks again when it is over.
func TestMetricsFollowAConnection(t *testing.T) {
	back, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		if conn, err := back.Accept(); err == nil {
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}
	}()
	defer func() { back.Close(); <-echoed }()
	config := router.Config{Listen: "127.0.0.1:0", Routes: []router.Route{
		{Name: "a", SNI: []string{"a.test"}, Mode: router.ModePassthrough, Backend: router.Backend{Address: back.Addr().String()}},
	}}
	s, err := router.New(config, router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() { served <- s.Serve(ctx) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	handler := New(s)
	expect := func(when string, lines ...string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
			got := strings.Split(answer.Body.String(), "\n")
			missing := slices.DeleteFunc(slices.Clone(lines), func(want string) bool { return slices.Contains(got, "tlsroute_router_"+want) })
			if len(missing) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: no %q in\n%s", when, missing, answer.Body)
			}
		}
	}
	expect("at first", "connections_active 0", "tunnels_active 0", "config_generation 1", "reloads_total 0", "reload_failures_total 0",
		`bytes_total{direction="in"} 0`, `bytes_total{direction="out"} 0`, "draining 0")

	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "GET /webapi/connectionupgrade HTTP/1.1\r\nHost: a\r\nUpgrade: alpn\r\n\r\n"+hello); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		if line, err = br.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if got := make([]byte, len(hello)); !readsBack(br, got) {
		t.Fatalf("the echo is %q", got)
	}
	if err := s.Reload(config); err != nil {
		t.Fatal(err)
	}
	config.Listen = "elsewhere"
	if err := s.Reload(config); err == nil {
		t.Fatal("a reload that moves the port is taken")
	}
	expect("in between", "connections_active 1", "tunnels_active 1", `upgrades_total{type="alpn"} 1`,
		"config_generation 2", "reloads_total 1", "reload_failures_total 1")
	conn.Close()
	expect("at last", "connections_active 0", "tunnels_active 0", `upgrades_total{type="alpn"} 1`,
		`connections_total{outcome="joined",route="a"} 1`, `bytes_total{direction="in"} 67`, `bytes_total{direction="out"} 67`)
}

func readsBack(r io.Reader, got []byte) bool {
	_, err := io.ReadFull(r, got)
	return err == nil && string(got) == hello
}

// TestEveryMetricIsDocumented reads the table that operators read.
func TestEveryMetricIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	s, err := router.New(router.Config{Listen: "127.0.0.1:0"}, router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc, 64)
	newCollector(s).Describe(descs)
	close(descs)
	n := 0
	for desc := range descs {
		_, name, _ := strings.Cut(desc.String(), `fqName: "`)
		name, _, _ = strings.Cut(name, `"`)
		if n++; !strings.Contains(string(text), "| `"+name) {
			t.Errorf("deploy/README.md has no row for %s", name)
		}
	}
	if rows := strings.Count(string(text), "| `tlsroute_router_"); rows != n {
		t.Errorf("deploy/README.md has %d rows for %d metrics", rows, n)
	}
}
