package client

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
)

// The outcomes of tls-routing.md section 1.5. For each, what the probe says, and where Dial ends: on a direct path, behind an upgrade,
// or nowhere. Each runs with servers of TLS 1.2 and 1.3.
func TestProbeGivesNoFalseAnswer(t *testing.T) {
	config := func(change func(p *path, cfg *tls.Config)) func(p *path) *tls.Config {
		return func(p *path) *tls.Config {
			cfg := &tls.Config{Certificates: []tls.Certificate{p.outer.leaf(outerName)}}
			change(p, cfg)
			return cfg
		}
	}
	behind := func(change func(p *path, cfg *tls.Config)) func(uint16) func(*path, net.Conn, int) {
		return func(version uint16) func(*path, net.Conn, int) {
			return front{tls: config(func(p *path, cfg *tls.Config) { cfg.MaxVersion = version; change(p, cfg) })}.handle
		}
	}
	// first answers the first ClientHello by itself; behind it is a load balancer as usual.
	first := func(answer func(conn net.Conn)) func(uint16) func(*path, net.Conn, int) {
		return func(uint16) func(*path, net.Conn, int) {
			return func(p *path, conn net.Conn, n int) {
				if n > 1 {
					front{}.handle(p, conn, n)
					return
				}
				_, _ = conn.Read(make([]byte, 8192))
				answer(conn)
			}
		}
	}
	bytes := func(answer string) func(net.Conn) {
		return func(conn net.Conn) { _, _ = io.WriteString(conn, answer) }
	}
	wants := func(kind tls.ClientAuthType) func(p *path, cfg *tls.Config) {
		return func(p *path, cfg *tls.Config) { cfg.ClientAuth, cfg.ClientCAs = kind, p.outer.pool() }
	}
	asRouter := func(change func(p *path, cfg *tls.Config)) func(uint16) func(*path, net.Conn, int) {
		return func(version uint16) func(*path, net.Conn, int) {
			return func(p *path, conn net.Conn, _ int) {
				cfg := p.routerConfig()
				cfg.MaxVersion = version
				change(p, cfg)
				if s, err := p.tls("router", conn, cfg); err == nil {
					echo(s)
				}
			}
		}
	}
	nowhere := "nowhere"
	tests := []struct {
		name   string
		handle func(version uint16) func(*path, net.Conn, int)
		set    func(p *path, d *Dialer)
		class  probe.Class
		reason string // a part of it
		way    string // of Dial: "" for a direct path, an upgrade type, nowhere
		only   uint16 // a version, 0 for both
	}{
		{name: "the router confirms", handle: asRouter(func(*path, *tls.Config) {}), class: probe.Direct, reason: "the router confirmed"},
		{
			name: "the router insists on a client certificate, the client has none", class: probe.Direct, only: tls.VersionTLS12,
			handle: asRouter(wants(tls.RequireAndVerifyClientCert)), reason: "asked for a client certificate", way: nowhere,
		},
		{
			name: "ALPN ignored", handle: behind(func(*path, *tls.Config) {}), class: probe.Terminated, reason: "without ALPN",
			way: "websocket",
		},
		{
			name: "alert 120", handle: behind(func(_ *path, cfg *tls.Config) { cfg.NextProtos = []string{"h2", "http/1.1"} }),
			class: probe.Terminated, reason: "alert 120", way: "websocket",
		},
		{
			name: "http/1.1 forced", handle: behind(func(p *path, cfg *tls.Config) {
				forced := forceHTTP1(p)
				cfg.NextProtos, cfg.GetConfigForClient = forced.NextProtos, forced.GetConfigForClient
			}), class: probe.Terminated, reason: "not offered", way: "websocket",
		},
		{
			name: "ALPN echoed by the load balancer", class: probe.Terminated, reason: "echoed", way: "websocket",
			handle: behind(func(_ *path, cfg *tls.Config) { cfg.NextProtos = []string{service, ProbeALPN} }),
		},
		{
			name: "ALPN echoed by an interceptor", class: probe.Intercepted, reason: "neither", way: nowhere,
			handle: behind(func(p *path, cfg *tls.Config) {
				cfg.Certificates = []tls.Certificate{p.other.leaf(innerName, outerName)}
				cfg.NextProtos = []string{service, ProbeALPN}
			}),
		},
		{
			name: "a certificate nobody trusts", class: probe.Intercepted, reason: "neither", way: nowhere,
			handle: behind(func(p *path, cfg *tls.Config) { cfg.Certificates = []tls.Certificate{p.other.leaf(outerName)} }),
		},
		{
			name: "a load balancer asks for a client certificate", handle: behind(wants(tls.RequestClientCert)),
			class: probe.Terminated, reason: "asked for a client certificate", way: "websocket",
		},
		{
			name: "a load balancer insists on a client certificate, the client has none", class: probe.Terminated,
			handle: behind(wants(tls.RequireAndVerifyClientCert)), reason: "asked for a client certificate", way: nowhere,
		},
		{
			name: "a load balancer insists on a client certificate and gets one", class: probe.Terminated, reason: "without ALPN",
			handle: behind(wants(tls.RequireAndVerifyClientCert)), way: "websocket",
			set: func(p *path, d *Dialer) { d.OuterCertificates = []tls.Certificate{p.outer.leaf("client")} },
		},
		{
			name: "alert 40", handle: first(bytes("\x15\x03\x03\x00\x02\x02\x28")), class: probe.Unknown, reason: "alert 40",
			way: "websocket",
		},
		{name: "EOF", handle: first(func(net.Conn) {}), class: probe.Broken, reason: "closed", way: "websocket"},
		{
			name: "RST", handle: first(func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }), class: probe.Broken,
			reason: "reset", way: "websocket",
		},
		{
			name: "black hole", handle: first(func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), class: probe.Broken,
			reason: "no answer in time", way: "websocket",
			set: func(_ *path, d *Dialer) { d.StepTimeout, d.Timeout = time.Second, 10*time.Second }, only: tls.VersionTLS13,
		},
		{
			name: "plaintext HTTP on the port", class: probe.Broken, reason: "plaintext HTTP", way: nowhere,
			handle: func(uint16) func(*path, net.Conn, int) {
				return func(_ *path, conn net.Conn, _ int) {
					_, _ = conn.Read(make([]byte, 8192))
					_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
				}
			},
		},
		{
			name: "another protocol on the port", handle: first(bytes("SSH-2.0-OpenSSH_9.2\r\n")), class: probe.Broken,
			reason: "not TLS", way: "websocket",
		},
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tt := range tests {
			if tt.only != 0 && tt.only != version {
				continue
			}
			t.Run(tls.VersionName(version)+"/"+tt.name, func(t *testing.T) {
				dialer := func() *Dialer {
					p := listen(t, tt.handle(version))
					d := p.dialer()
					if tt.set != nil {
						tt.set(p, d)
					}
					return d
				}
				probed, err := dialer().Probe(t.Context())
				if err != nil || probed.Class != tt.class || !strings.Contains(probed.Reason, tt.reason) {
					t.Errorf("probe: %s: %s (%v), want %s: …%s…", probed.Class, probed.Reason, err, tt.class, tt.reason)
				}
				conn, err := dialer().Dial(t.Context())
				if err != nil {
					if tt.way != nowhere {
						t.Fatal(err)
					}
					if !strings.Contains(err.Error(), fmt.Sprintf("path %s: %s", probed.Class, probed.Reason)) {
						t.Errorf("the error does not say what the probe does: %v", err)
					}
					return
				}
				if info := conn.Info(); info.Upgrade != tt.way || info.Class != tt.class {
					t.Errorf("dial ended behind %q, class %s, want %q", info.Upgrade, info.Class, tt.way)
				}
				exchange(t, conn)
			})
		}
	}
}
