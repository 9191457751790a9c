package targets_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
)

// TestRouterAdapters is the life of a router: every route leads where it should, a reload changes that for new connections only, a
// drain lets the open ones live, and a stop leaves nothing.
func TestRouterAdapters(t *testing.T) {
	for _, a := range adapters {
		if a.role != "router" {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			w := newWorld(t)
			i := a.start(t, w.router("A"))
			open := w.leads(t, i.addr, "a.test", "alpha", "A")
			w.leads(t, i.addr, "b.test", "beta", "B")
			w.leads(t, i.addr, "x.wild.test", "alpha", "B")
			w.leads(t, i.addr, "secret.test", "alpha", "B")
			w.leads(t, i.addr, "pass.test", "alpha", "P")
			w.leads(t, i.addr, "b.test", "anything", "N")
			w.refuses(t, i.addr, &tls.Config{ServerName: "secret.test", RootCAs: w.roots, NextProtos: []string{"alpha"}})
			w.refuses(t, i.addr, &tls.Config{ServerName: "a.test", RootCAs: w.roots, NextProtos: []string{"beta"}})
			w.refuses(t, i.addr, &tls.Config{ServerName: "unknown.test", InsecureSkipVerify: true, NextProtos: []string{"alpha"}}) //nolint:gosec // nobody is to answer

			i.do("reload", w.router("C"))
			w.leads(t, i.addr, "a.test", "alpha", "C")
			w.leads(t, i.addr, "pass.test", "alpha", "P")
			if got, err := open.say("still"); got != "A still" {
				t.Errorf("the connection that was open during the reload: %q, %v", got, err)
			}
			if text := i.do("logs", nil).Text; text == "" {
				t.Error("no logs")
			}

			i.do("drain", nil)
			if c, err := net.Dial("tcp", i.addr); err == nil {
				c.Close()
				t.Error("a connection was taken after the drain")
			}
			if got, err := open.say("draining"); got != "A draining" {
				t.Errorf("the connection that was open during the drain: %q, %v", got, err)
			}
			i.do("stop", nil)
			if got, err := open.say("gone"); err == nil {
				t.Errorf("after the stop: %q", got)
			}
		})
	}
}

// TestDrainEndsAtItsTimeout is what drain.timeout asks for.
func TestDrainEndsAtItsTimeout(t *testing.T) {
	for _, a := range adapters {
		if a.role != "router" {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			w := newWorld(t)
			config := w.router("A")
			config["drain"] = object{"timeout": "200ms"}
			i := a.start(t, config)
			open := w.leads(t, i.addr, "a.test", "alpha", "A")
			i.do("drain", nil)
			eventually(t, "the tunnel to be cut", func() error {
				if got, err := open.say("still"); err == nil {
					return errors.New("it answers " + got)
				}
				return nil
			})
		})
	}
}

// TestRoutersSpeakProxy: the header of a trusted peer is read, and written to the backend that wants one.
func TestRoutersSpeakProxy(t *testing.T) {
	for _, a := range adapters {
		if a.role != "router" {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			w := newWorld(t)
			config := w.router("proxied")
			route(config, "a")["backend"].(object)["send_proxy"] = "v1"
			config["proxy_protocol"] = object{"mode": "required", "trusted": []string{"127.0.0.1/32"}}
			i := a.start(t, config)
			cfg := &tls.Config{ServerName: "a.test", RootCAs: w.roots, NextProtos: []string{"alpha"}, MinVersion: tls.VersionTLS12}
			c := must(w.dialWith(t, i.addr, cfg, "PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n"))(t)
			if got, err := c.say("hello"); got != "proxied hello" {
				t.Errorf("got %q, %v", got, err)
			}
			if got := <-w.sourceSeen; !strings.HasPrefix(got, "PROXY TCP4 192.0.2.7 ") {
				t.Errorf("the backend was told %q", got)
			}
			w.refuses(t, i.addr, cfg)
		})
	}
}

// leads says a line through a route and looks who answers; the connection stays open.
func (w *world) leads(t *testing.T, addr, sni, alpn, backend string) *line {
	t.Helper()
	c, err := w.dial(t, addr, sni, alpn)
	if err != nil {
		t.Fatalf("%s %s: %v", sni, alpn, err)
	}
	got, err := c.say("hello")
	if want := backend + " hello"; got != want {
		t.Errorf("%s %s: got %q (%v), want %q", sni, alpn, got, err, want)
	}
	if proto := c.ConnectionState().NegotiatedProtocol; proto != alpn {
		t.Errorf("%s: ALPN %q is confirmed, not %q", sni, proto, alpn)
	}
	return c
}

// refuses makes sure that a connection comes to nothing: TLS 1.3 may complete at the client before the server refuses.
func (w *world) refuses(t *testing.T, addr string, cfg *tls.Config) {
	t.Helper()
	c, err := w.dialWith(t, addr, cfg, "")
	if err != nil {
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			t.Errorf("%s %q: not refused but silent", cfg.ServerName, cfg.NextProtos)
		}
		return
	}
	if got, err := c.say("hello"); err == nil {
		t.Errorf("%s %q was answered: %q", cfg.ServerName, cfg.NextProtos, got)
	}
}
