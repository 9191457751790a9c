package client

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
)

// forceHTTP1 answers http/1.1 to whatever was offered: SupportedProtos is the very slice crypto/tls negotiates from.
func forceHTTP1(p *path) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{p.outer.leaf(outerName)}, NextProtos: []string{"http/1.1"},
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			for i := range info.SupportedProtos {
				info.SupportedProtos[i] = "http/1.1"
			}
			return nil, nil
		},
	}
}

func TestDialFindsItsWay(t *testing.T) {
	direct := hello{Hop: "router", SNI: innerName, ALPN: []string{service}, Success: true}
	probed := hello{Hop: "front", SNI: innerName, ALPN: []string{service}, Success: true}
	refused := hello{Hop: "front", SNI: innerName, ALPN: []string{service}}
	again := hello{Hop: "front", SNI: outerName, Success: true}
	inside := hello{Hop: "inside", SNI: innerName, ALPN: []string{service}, Success: true}
	tests := []struct {
		name    string
		handle  func(p *path, conn net.Conn, n int)
		set     func(p *path, d *Dialer)
		class   probe.Class
		upgrade string
		conns   int
		hellos  []hello
		offered []string
	}{
		{name: "direct: the probe is the data session", handle: router, class: probe.Direct, conns: 1, hellos: []hello{direct}},
		{
			name: "direct was asked for", handle: router, set: func(_ *path, d *Dialer) { d.Upgrade = Direct },
			class: probe.Direct, conns: 1, hellos: []hello{direct},
		},
		{
			name: "terminated: the upgrade runs on the probe's connection", handle: front{}.handle, class: probe.Terminated,
			upgrade: "websocket", conns: 1,
			hellos: []hello{probed, inside}, offered: []string{"websocket"},
		},
		{
			name: "fallback on the same connection", handle: front{answers: map[string]int{"websocket": 403}}.handle,
			class: probe.Terminated, upgrade: "alpn", conns: 1,
			hellos: []hello{probed, inside}, offered: []string{"websocket", "alpn"},
		},
		{
			name: "fallback on a new connection", handle: front{answers: map[string]int{"websocket": -1}}.handle,
			class: probe.Terminated, upgrade: "alpn", conns: 2,
			hellos: []hello{probed, again, inside}, offered: []string{"websocket", "alpn"},
		},
		{
			name: "alert 120 costs one connection", handle: front{tls: func(p *path) *tls.Config {
				return &tls.Config{Certificates: []tls.Certificate{p.outer.leaf(outerName)}, NextProtos: []string{"h2", "http/1.1"}}
			}}.handle, class: probe.Terminated, upgrade: "websocket", conns: 2,
			hellos: []hello{refused, again, inside}, offered: []string{"websocket"},
		},
		{
			name: "foreign ALPN costs one connection", handle: front{tls: forceHTTP1}.handle, class: probe.Terminated,
			upgrade: "websocket", conns: 2,
			hellos: []hello{refused, again, inside}, offered: []string{"websocket"},
		},
		{
			name:   "foreign ALPN of TLS 1.2",
			handle: front{tls: func(p *path) *tls.Config { c := forceHTTP1(p); c.MaxVersion = tls.VersionTLS12; return c }}.handle,
			class:  probe.Terminated, upgrade: "websocket", conns: 2, hellos: []hello{refused, again, inside},
			offered: []string{"websocket"},
		},
		{
			name: "an ALPN echoed by the load balancer is no router's", handle: front{tls: func(p *path) *tls.Config {
				return &tls.Config{Certificates: []tls.Certificate{p.outer.leaf(outerName)}, NextProtos: []string{service}}
			}}.handle, class: probe.Terminated, upgrade: "websocket", conns: 2,
			hellos: []hello{probed, again, inside}, offered: []string{"websocket"},
		},
		{name: "silence instead of an alert does not stop the upgrade", handle: func(p *path, conn net.Conn, n int) {
			if n > 1 {
				front{}.handle(p, conn, n)
			} else {
				_, _ = conn.Read(make([]byte, 8192))
			}
		}, class: probe.Broken, upgrade: "websocket", conns: 2, hellos: []hello{again, inside}, offered: []string{"websocket"}},
		{name: "alert 40 does not stop it either", handle: func(p *path, conn net.Conn, n int) {
			if n > 1 {
				front{}.handle(p, conn, n)
			} else {
				_, _ = conn.Read(make([]byte, 8192))
				_, _ = conn.Write([]byte{21, 3, 3, 0, 2, 2, 40})
			}
		}, class: probe.Unknown, upgrade: "websocket", conns: 2, hellos: []hello{again, inside}, offered: []string{"websocket"}},
		{
			name: "misdirected: the front end wants one name", handle: front{status421: true}.handle, class: probe.Terminated,
			upgrade: "websocket", conns: 2,
			hellos: []hello{probed, again, inside}, offered: []string{"websocket", "websocket"},
		},
		{
			name: "a 101 with bytes behind it", handle: front{glue: "\x89\x01p"}.handle, class: probe.Terminated,
			upgrade: "websocket", conns: 1,
			hellos: []hello{probed, inside}, offered: []string{"websocket"},
		},
		{
			name: "websocket was asked for", handle: front{}.handle, set: func(_ *path, d *Dialer) { d.Upgrade = "websocket" },
			class: probe.Unknown, upgrade: "websocket", conns: 1,
			hellos: []hello{again, inside}, offered: []string{"websocket"},
		},
		{
			name: "alpn was asked for", handle: front{}.handle, set: func(_ *path, d *Dialer) { d.Upgrade = "alpn" },
			class: probe.Unknown, upgrade: "alpn", conns: 1,
			hellos: []hello{again, inside}, offered: []string{"alpn"},
		},
		{
			name: "alpn-ping was asked for, a ping comes with the 101", handle: front{glue: "\x00\x00\x00\x00"}.handle,
			set:   func(_ *path, d *Dialer) { d.Upgrade = "alpn-ping" },
			class: probe.Unknown, upgrade: "alpn-ping", conns: 1, hellos: []hello{again, inside}, offered: []string{"alpn-ping"},
		},
		{
			name: "plaintext endpoint", handle: front{plaintext: true, answers: map[string]int{"websocket": 400}}.handle,
			set:   func(p *path, d *Dialer) { d.Address = "http://" + p.addr },
			class: probe.Terminated, upgrade: "alpn", conns: 1, hellos: []hello{inside}, offered: []string{"websocket", "alpn"},
		},
		{
			name: "a stranger in front, insecure", handle: front{tls: func(p *path) *tls.Config {
				return &tls.Config{Certificates: []tls.Certificate{p.other.leaf(outerName)}}
			}}.handle,
			set: func(_ *path, d *Dialer) { d.Insecure = true }, class: probe.Terminated, upgrade: "websocket", conns: 1,
			hellos: []hello{probed, inside}, offered: []string{"websocket"},
		},
		{
			name: "several names, the router's choice", handle: router,
			set: func(_ *path, d *Dialer) { d.ALPN = []string{"teleport-postgres-ping", service} }, class: probe.Direct,
			conns:  1,
			hellos: []hello{{Hop: "router", SNI: innerName, ALPN: []string{"teleport-postgres-ping", service}, Success: true}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := listen(t, tt.handle)
			d := p.dialer()
			if tt.set != nil {
				tt.set(p, d)
			}
			conn, err := d.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			info := conn.Info()
			if info.Class != tt.class || info.Upgrade != tt.upgrade || info.Negotiated != service || info.Reason == "" {
				t.Errorf("info %+v", info)
			}
			if last := info.Steps[len(info.Steps)-1]; last.Err != nil {
				t.Errorf("the last step failed: %v", last)
			}
			exchange(t, conn)
			conns, hellos, offered := p.seen()
			if conns != tt.conns {
				t.Errorf("%d connections, want %d", conns, tt.conns)
			}
			if diff := cmp.Diff(tt.hellos, hellos, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("hellos: %s", diff)
			}
			if diff := cmp.Diff(tt.offered, offered, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("tokens: %s", diff)
			}
		})
	}
}

func TestDialShowsItsCertificateToTheRouterAlone(t *testing.T) {
	asking := func(cfg *tls.Config, kind tls.ClientAuthType) *tls.Config { cfg.ClientAuth = kind; return cfg }
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, tt := range map[string]struct {
			handle func(p *path, conn net.Conn, n int)
			want   map[string]bool // hop to certificate shown
		}{
			"direct": {func(p *path, conn net.Conn, _ int) {
				cfg := asking(p.routerConfig(), tls.RequireAndVerifyClientCert)
				cfg.ClientCAs, cfg.MaxVersion = p.inner.pool(), version
				if s, err := p.tls("router", conn, cfg); err == nil {
					echo(s)
				}
			}, map[string]bool{"router": true}},
			"a front end that takes any authority": {front{
				tls: func(p *path) *tls.Config {
					return asking(&tls.Config{Certificates: []tls.Certificate{p.outer.leaf(outerName)}, MaxVersion: version}, tls.RequestClientCert)
				},
				inside: func(p *path) *tls.Config {
					cfg := asking(p.routerConfig(), tls.RequireAndVerifyClientCert)
					cfg.ClientCAs, cfg.MaxVersion = p.inner.pool(), version
					return cfg
				},
			}.handle, map[string]bool{"front": false, "inside": true}},
		} {
			t.Run(tls.VersionName(version)+"/"+name, func(t *testing.T) {
				p := listen(t, tt.handle)
				d := p.dialer()
				d.Certificates = []tls.Certificate{p.inner.leaf("client")}
				conn, err := d.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				exchange(t, conn)
				_, hellos, _ := p.seen()
				got := make(map[string]bool)
				for _, h := range hellos {
					got[h.Hop] = h.Cert
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}
