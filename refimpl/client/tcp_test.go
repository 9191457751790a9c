package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
)

func TestProxyCarriesProbeUpgradeAndData(t *testing.T) {
	for _, scheme := range []string{"http", "https", "socks5"} {
		t.Run(scheme, func(t *testing.T) {
			r := startRelay(t, scheme, nil)
			var mu sync.Mutex
			var came []string // remote addresses of what arrived
			p := listen(t, func(p *path, conn net.Conn, n int) {
				mu.Lock()
				came = append(came, conn.RemoteAddr().String())
				mu.Unlock()
				// The probe's ClientHello gets an alert, so the upgrade needs a connection of its own.
				front{tls: func(p *path) *tls.Config {
					return &tls.Config{Certificates: []tls.Certificate{p.outer.leaf(outerName)}, NextProtos: []string{"http/1.1"}}
				}}.handle(p, conn, n)
			})
			_, port, _ := net.SplitHostPort(p.addr)
			d := p.dialer()
			// No resolver knows the name: only a proxy that gets it can reach it.
			d.Address = net.JoinHostPort("unresolvable.example.test", port)
			r.use(d)
			conn, err := d.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if info := conn.Info(); info.Class != probe.Terminated || info.Upgrade != "websocket" {
				t.Errorf("info %+v", info)
			}
			exchange(t, conn)
			if conns, _, _ := p.seen(); conns != 2 {
				t.Errorf("%d connections, want the probe's and the upgrade's", conns)
			}
			targets, outgoing := r.seen()
			if diff := cmp.Diff([]string{d.Address, d.Address}, targets); diff != "" {
				t.Errorf("tunnels: %s", diff)
			}
			mu.Lock()
			arrived := slices.Clone(came)
			mu.Unlock()
			slices.Sort(arrived)
			slices.Sort(outgoing)
			if diff := cmp.Diff(outgoing, arrived); diff != "" {
				t.Errorf("what arrived did not all come from the proxy: %s", diff)
			}

			found, err := d.Probe(t.Context())
			if err != nil || found.Class != probe.Terminated || len(found.Upgrades) != 3 || !found.Upgrades[0].Crosses {
				t.Errorf("probe: %+v, %v", found, err)
			}
			if targets, _ := r.seen(); len(targets) != 2+1+3 {
				t.Errorf("%d tunnels, want one more for the probe and one for each upgrade", len(targets))
			}
		})
	}
}

func TestProxyRefusalsAreTyped(t *testing.T) {
	tests := []struct {
		name   string
		scheme string
		set    func(r *relay)
		status int
		text   string
	}{
		{name: "wrong password", scheme: "http", set: func(r *relay) { r.url.User = url.UserPassword("user", "wrong") }, status: 407, text: "407"},
		{name: "no user", scheme: "http", set: func(r *relay) { r.url.User = nil }, status: 407, text: "407"},
		{name: "wrong password of socks5", scheme: "socks5", set: func(r *relay) { r.url.User = url.UserPassword("user", "wrong") }, text: "socks"},
		{name: "no user of socks5", scheme: "socks5", set: func(r *relay) { r.url.User = nil }, text: "socks"},
		{name: "forbidden", scheme: "http", set: func(r *relay) { r.answer = "HTTP/1.1 403 x\r\n\r\n" }, status: 403, text: "403 Forbidden"},
		{name: "not HTTP", scheme: "http", set: func(r *relay) { r.answer = "SSH-2.0-x\r\n" }, text: "malformed HTTP"},
		{
			name: "an answer without end", scheme: "http", text: "read answer",
			set: func(r *relay) { r.answer = "HTTP/1.1 200 x\r\nX: " + strings.Repeat("x", 2*maxProxyAnswer) },
		},
		{name: "switching protocols", scheme: "http", set: func(r *relay) { r.answer = "HTTP/1.1 101 x\r\n\r\n" }, status: 101, text: "101"},
		{name: "a stranger's certificate", scheme: "https", set: func(r *relay) { r.auth = newAuthority(t, "other") }, text: "certificate"},
		{
			name: "nobody there", scheme: "http", text: "refused",
			set: func(r *relay) { r.url.Host = closedAddress(t) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := startRelay(t, tt.scheme, tt.set)
			p := listen(t, router)
			d := p.dialer()
			r.use(d)
			_, err := d.Dial(t.Context())
			var failed *ProxyError
			if !errors.As(err, &failed) || failed.Status != tt.status || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("%v, want a ProxyError with status %d and %q", err, tt.status, tt.text)
			}
			if strings.Contains(err.Error(), "pass word") || strings.Contains(err.Error(), "wrong") {
				t.Errorf("the password is in %q", err)
			}
			if conns, _, _ := p.seen(); conns != 0 {
				t.Errorf("%d connections behind the proxy", conns)
			}
		})
	}
}

func TestProxySilenceIsBoundedByTheStep(t *testing.T) {
	for _, scheme := range []string{"http", "https", "socks5"} {
		t.Run(scheme, func(t *testing.T) {
			silent := listen(t, func(_ *path, conn net.Conn, _ int) { _, _ = io.Copy(io.Discard, conn) })
			d := silent.dialer()
			d.StepTimeout, d.Timeout = 300*time.Millisecond, time.Minute
			d.Proxy = func(*url.URL) (*url.URL, error) { return &url.URL{Scheme: scheme, Host: silent.addr}, nil }
			_, err := d.Dial(t.Context())
			var failed *DialError
			if !errors.As(err, &failed) || !failed.Timeout() {
				t.Errorf("%v, want a timeout", err)
			}
			if conns, _, _ := silent.seen(); conns != 1 {
				t.Errorf("%d connections", conns)
			}
		})
	}
}

// A server that speaks first behind the proxy, as a fast one may: what comes in one segment with the 200 belongs to the tunnel.
func TestProxyKeepsTheBytesBehindTheAnswer(t *testing.T) {
	const alert40 = "\x15\x03\x03\x00\x02\x02\x28"
	r := startRelay(t, "http", func(r *relay) { r.glue = alert40 })
	p := listen(t, func(_ *path, conn net.Conn, _ int) { _, _ = io.Copy(io.Discard, conn) })
	d := p.dialer()
	r.use(d)
	found, err := d.Probe(t.Context())
	if err != nil || found.Class != probe.Unknown || !strings.Contains(found.Reason, "alert 40") {
		t.Errorf("%+v, %v, want the alert that came with the 200", found, err)
	}
}

func TestProxyFromEnvironmentGoesByTheScheme(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://plain.example.test:3128")
	t.Setenv("HTTPS_PROXY", "socks5://user:secret@socks.example.test")
	t.Setenv("NO_PROXY", "direct.example.test")
	for target, want := range map[string]string{
		"https://lb.example.test:443":     "socks5://user:secret@socks.example.test",
		"http://lb.example.test:80":       "http://plain.example.test:3128",
		"https://direct.example.test:443": "",
		"https://127.0.0.1:8443":          "",
		"https://localhost:8443":          "",
	} {
		asked, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ProxyFromEnvironment(asked)
		if err != nil || got == nil && want != "" || got != nil && got.String() != want {
			t.Errorf("%s: %v, %v, want %q", target, got, err, want)
		}
	}
	// The Dialer asks with the scheme of its address, and dials the proxy's own port when the URL has none.
	for address, want := range map[string]string{
		"lb.example.test": "socks.example.test:1080", "http://lb.example.test": "plain.example.test:3128",
		"direct.example.test:8443": "direct.example.test:8443",
	} {
		var dialled string
		d := &Dialer{Address: address, Proxy: ProxyFromEnvironment, NetDial: func(_ context.Context, _, addr string) (net.Conn, error) {
			dialled = addr
			return nil, io.ErrClosedPipe
		}}
		if _, err := d.Dial(t.Context()); !errors.Is(err, io.ErrClosedPipe) || dialled != want {
			t.Errorf("%s: dialled %q, %v, want %q", address, dialled, err, want)
		}
	}
}

func TestProxyThatCannotBeUsedIsAnError(t *testing.T) {
	refused := errors.New("refused")
	for _, tt := range []struct {
		url *url.URL
		err error
	}{
		{err: refused},
		{url: &url.URL{Scheme: "ftp", Host: "proxy.example.test"}},
		{url: &url.URL{Scheme: "http"}},
	} {
		d := &Dialer{Address: "lb.example.test", Proxy: func(*url.URL) (*url.URL, error) { return tt.url, tt.err }}
		if _, err := d.Dial(t.Context()); err == nil || tt.err != nil && !errors.Is(err, tt.err) {
			t.Errorf("%v: %v", tt.url, err)
		}
	}
}
