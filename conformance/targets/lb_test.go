package targets_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// TestLoadBalancerAdapters is the life of a load balancer: requests and upgrades reach the target, a reload leads the next request
// elsewhere, and a stop leaves nothing.
func TestLoadBalancerAdapters(t *testing.T) {
	for _, a := range adapters {
		if a.role != "lb" {
			continue
		}
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls %v", a.name, secure), func(t *testing.T) {
				w := newWorld(t)
				config := func(name string) object {
					if !secure {
						return w.balancer(w.echo(name))
					}
					c := w.balancer(w.echoTLS(name))
					c["targets"].([]object)[0]["tls"] = true
					return c
				}
				i := a.start(t, config("A"))
				w.answers(t, i.addr, "A")
				tunnels := map[string]*line{}
				for _, token := range []string{"websocket", "alpn", "alpn-ping"} {
					tunnels[token] = w.upgrade(t, i.addr, token)
					if got, err := tunnels[token].say("hello"); got != "A hello" {
						t.Errorf("%s: %q, %v", token, got, err)
					}
				}
				i.do("reload", config("B"))
				w.answers(t, i.addr, "B")
				for token, tunnel := range tunnels {
					got, err := tunnel.say("still")
					if a.name == "caddy_lb.py" { // it closes what is upgraded when it reloads: caddyserver/caddy#5471
						if err == nil {
							t.Errorf("%s: Caddy keeps tunnels over a reload now: %q", token, got)
						}
					} else if got != "A still" {
						t.Errorf("the %s tunnel that was open during the reload: %q, %v", token, got, err)
					}
				}
				if text := i.do("logs", nil).Text; text == "" {
					t.Error("no logs")
				}
				i.do("drain", nil)
				if c, err := net.Dial("tcp", i.addr); err == nil {
					c.Close()
					t.Error("a connection was taken after the drain")
				}
				i.do("stop", nil)
			})
		}
	}
}

// front is a TLS connection to the load balancer.
func (w *world) front(t *testing.T, addr string) *line {
	t.Helper()
	return must(w.dialWith(t, addr, &tls.Config{ServerName: "front.test", RootCAs: w.roots, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}, ""))(t)
}

func (w *world) answers(t *testing.T, addr, want string) {
	t.Helper()
	c := w.front(t, addr)
	resp, err := request(c, "Connection: close")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode != http.StatusOK || string(body) != want {
		t.Errorf("answered %s %q (%v) by another than %s", resp.Status, body, err, want)
	}
}

func (w *world) upgrade(t *testing.T, addr, token string) *line {
	t.Helper()
	c := w.front(t, addr)
	fields := "Connection: Upgrade\r\nUpgrade: " + token
	if token == "websocket" { // HAProxy answers a request without a key with 400
		fields += "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key
	}
	resp, err := request(c, fields)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: the answer is %s", token, resp.Status)
	}
	return c
}

func request(c *line, fields string) (*http.Response, error) {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: front.test\r\n"+fields+"\r\n\r\n"); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.r, nil)
}
