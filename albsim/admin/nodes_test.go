package admin

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

// serve runs a simulator with an admin port until the test ends.
func serve(t *testing.T, cfg albsim.Config) (*albsim.Server, port) {
	t.Helper()
	cfg.Admin = "127.0.0.1:0"
	s, err := albsim.New(cfg, albsim.Options{Admin: New})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	return s, port{t, "http://" + s.AdminAddr().String(), client}
}

// hosts asks for the nodes and gives their hosts, by listener.
func (p port) hosts(method, path string) (out [][]string) {
	p.t.Helper()
	status, body := p.ask(method, path)
	var listeners []listenerNodes
	if err := json.Unmarshal([]byte(body), &listeners); status != 200 || err != nil {
		p.t.Fatalf("%s %s: %d %s", method, path, status, body)
	}
	for i, l := range listeners {
		if l.Listener != i {
			p.t.Errorf("listener %d stands in place %d", l.Listener, i)
		}
		var hosts []string
		for _, n := range l.Nodes {
			host, _, err := net.SplitHostPort(n)
			if err != nil {
				p.t.Fatal(err)
			}
			hosts = append(hosts, host)
		}
		out = append(out, hosts)
	}
	return out
}

func TestNodesRotateByTheAdminPort(t *testing.T) {
	fixed := albsim.Default{Actions: []albsim.Action{{Type: "fixed-response", StatusCode: 200}}}
	three := []string{"127.0.3.1", "127.0.3.2", "127.0.3.3"}
	_, p := serve(t, albsim.Config{Listeners: []albsim.Listener{
		{Listen: ":0", Nodes: three, NodesInService: 1, Protocol: "HTTP", Default: fixed},
		{Listen: "127.0.0.1:0", Protocol: "HTTP", Default: fixed},
		{Listen: ":0", Nodes: three[:2], NodesInService: 1, Protocol: "HTTP", Default: fixed},
	}})
	check := func(got [][]string, first, last string) {
		t.Helper()
		if want := [][]string{{first}, {"127.0.0.1"}, {last}}; !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("nodes %v, want %v", got, want)
		}
	}
	check(p.hosts("GET", "/nodes"), "127.0.3.1", "127.0.3.1")
	check(p.hosts("POST", "/nodes/rotate"), "127.0.3.2", "127.0.3.2")
	check(p.hosts("POST", "/nodes/rotate?listener=0"), "127.0.3.3", "127.0.3.2")
	for path, want := range map[string]int{
		"/nodes/rotate?listener=0": 409, // the others left a moment ago
		"/nodes/rotate?listener=1": 409, // it has one
		"/nodes/rotate?listener=3": 400, "/nodes/rotate?listener=-1": 400, "/nodes/rotate?listener=x": 400,
		"/nodes/rotate": 409,
	} {
		if got, body := p.ask("POST", path); got != want || len(body) < 20 {
			t.Errorf("%s: %d %s, want %d and a sentence", path, got, body, want)
		}
	}
	if got, _ := p.ask("GET", "/nodes/rotate"); got != 405 {
		t.Errorf("GET rotates: %d", got)
	}
	check(p.hosts("GET", "/nodes"), "127.0.3.3", "127.0.3.2")

	_, p = serve(t, albsim.Config{Listeners: []albsim.Listener{{Listen: "127.0.0.1:0", Protocol: "HTTP", Default: fixed}}})
	if got, body := p.ask("POST", "/nodes/rotate"); got != 409 || !strings.Contains(body, "nodes_in_service") {
		t.Errorf("without nodes: %d %s", got, body)
	}
}

func TestConfigHasNotesAndTheAttributesOfItsKind(t *testing.T) {
	s, p := serve(t, albsim.Config{
		Listeners:    []albsim.Listener{{Listen: "127.0.0.1:0", Protocol: "HTTP", Default: albsim.Default{Forward: "web"}}},
		TargetGroups: []albsim.TargetGroup{{Name: "web", Protocol: "HTTPS"}},
	})
	var got struct {
		Profile string
		Notes   []string
	}
	if _, body := p.ask("GET", "/config"); json.Unmarshal([]byte(body), &got) != nil || got.Profile != "aws-alb" ||
		len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "crypto/tls") || !slices.Equal(got.Notes, s.Notes()) {
		t.Errorf("/config: %s", body)
	}

	for kind, preserved := range map[string]bool{"ip": false, "instance": true} {
		_, p = serve(t, albsim.Config{
			Profile:      "aws-nlb-tcp",
			Listeners:    []albsim.Listener{{Listen: "127.0.0.1:0", Protocol: "TCP", Default: albsim.Default{Forward: "t"}}},
			TargetGroups: []albsim.TargetGroup{{Name: "t", Protocol: "TCP", TargetType: kind}},
		})
		_, body := p.ask("GET", "/config")
		var config albsim.Config
		if err := json.Unmarshal([]byte(body), &config); err != nil {
			t.Fatal(err)
		}
		attributes := config.TargetGroups[0].Attributes
		_, foreign := attributes["load_balancing.algorithm.type"]
		if config.Attributes != nil || foreign || attributes["preserve_client_ip.enabled"] != preserved || strings.Contains(body, "notes") {
			t.Errorf("/config of a network load balancer: %s", body)
		}
	}
}
