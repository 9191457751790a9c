package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

func TestProbeTellsWhichUpgradesCross(t *testing.T) {
	tests := []struct {
		name   string
		handle func(p *path, conn net.Conn, n int)
		class  probe.Class
		want   map[string]bool
		status map[string]int
	}{
		{
			name:   "load balancer for websocket only",
			handle: front{answers: map[string]int{"alpn": 403, "alpn-ping": -1}}.handle, class: probe.Terminated,
			want:   map[string]bool{"websocket": true, "alpn": false, "alpn-ping": false},
			status: map[string]int{"websocket": 101, "alpn": 403, "alpn-ping": 0},
		},
		{
			name: "a 101 with nobody behind it", handle: func(p *path, conn net.Conn, _ int) {
				s, err := p.tls("front", conn, &tls.Config{Certificates: []tls.Certificate{p.outer.leaf(outerName)}})
				if err != nil {
					return
				}
				br := bufio.NewReader(s)
				if req, err := http.ReadRequest(br); err == nil {
					_, _, _ = upgrade.Accept(context.Background(), s, br, req, upgrade.ServerOptions{})
				}
				s.Close()
			}, class: probe.Terminated, want: map[string]bool{"websocket": false, "alpn": false, "alpn-ping": false},
			status: map[string]int{"websocket": 101, "alpn": 101, "alpn-ping": 101},
		},
		{
			name: "a TLS server that refuses inside", handle: func(p *path, conn net.Conn, n int) {
				f := front{inside: func(*path) *tls.Config { return &tls.Config{} }} // a server without a certificate answers with an alert
				f.tls = func(p *path) *tls.Config {
					return &tls.Config{Certificates: []tls.Certificate{p.outer.leaf(outerName)}}
				}
				f.handle(p, conn, n)
			}, class: probe.Terminated, want: map[string]bool{"websocket": true, "alpn": true, "alpn-ping": true},
			status: map[string]int{"websocket": 101, "alpn": 101, "alpn-ping": 101},
		},
		{
			name: "the router itself, without an endpoint", handle: router, class: probe.Direct,
			want: map[string]bool{"websocket": false, "alpn": false, "alpn-ping": false}, status: map[string]int{},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := listen(t, tt.handle)
			d := p.dialer()
			d.ALPN = nil
			got, err := d.Probe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.Class != tt.class || got.Address != p.addr || len(got.Upgrades) != len(upgrade.Names()) {
				t.Errorf("%+v", got)
			}
			if tt.class == probe.Direct && got.Negotiated != ProbeALPN {
				t.Errorf("negotiated %q", got.Negotiated)
			}
			for _, u := range got.Upgrades {
				if u.Crosses != tt.want[u.Type] || u.Status != tt.status[u.Type] || u.Reason == "" {
					t.Errorf("%+v", u)
				}
			}
		})
	}
	t.Run("nothing can be said", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		if got, err := (&Dialer{Address: ln.Addr().String()}).Probe(t.Context()); err == nil {
			t.Errorf("%+v", got)
		}
	})
}
