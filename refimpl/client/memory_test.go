package client

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
)

func TestMemorySparesTheProbeAndHeals(t *testing.T) {
	// 0: a load balancer that answers alert 120 and takes alpn only; 1: one that takes websocket only; 2: the router itself.
	var now atomic.Int32
	p := listen(t, func(p *path, conn net.Conn, n int) {
		alert := func(p *path) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{p.outer.leaf(outerName)}, NextProtos: []string{"http/1.1"}}
		}
		switch now.Load() {
		case 0:
			front{tls: alert, answers: map[string]int{"websocket": 403}}.handle(p, conn, n)
		case 1:
			front{tls: alert, answers: map[string]int{"alpn": 403}}.handle(p, conn, n)
		default:
			router(p, conn, n)
		}
	})
	var memory Memory
	conns, tokens := 0, 0
	steps := []struct {
		name       string
		path       int32
		class      probe.Class
		upgrade    string
		remembered bool
		steps      []string
		conns      int      // new ones
		offered    []string // new ones
	}{
		{name: "unknown", class: probe.Terminated, upgrade: "alpn", steps: []string{"direct", "websocket", "alpn"}, conns: 2, offered: []string{"websocket", "alpn"}},
		{name: "known", class: probe.Terminated, upgrade: "alpn", remembered: true, steps: []string{"alpn"}, conns: 1, offered: []string{"alpn"}},
		{
			name: "changed", path: 1, class: probe.Terminated, upgrade: "websocket", steps: []string{"alpn", "direct", "websocket"}, conns: 3,
			offered: []string{"alpn", "websocket"},
		},
		{name: "known again", path: 1, class: probe.Terminated, upgrade: "websocket", remembered: true, steps: []string{"websocket"}, conns: 1, offered: []string{"websocket"}},
		{name: "the load balancer is gone", path: 2, class: probe.Direct, steps: []string{"websocket", "direct"}, conns: 2},
		{name: "direct is not remembered", path: 2, class: probe.Direct, steps: []string{"direct"}, conns: 1},
	}
	for _, tt := range steps {
		now.Store(tt.path)
		d := p.dialer()
		d.Memory = &memory
		conn, err := d.Dial(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		info := conn.Info()
		if info.Class != tt.class || info.Upgrade != tt.upgrade || strings.HasPrefix(info.Reason, "remembered") != tt.remembered {
			t.Errorf("%s: %+v", tt.name, info)
		}
		var tried []string
		for _, s := range info.Steps {
			tried = append(tried, s.Try)
		}
		exchange(t, conn)
		n, _, offered := p.seen()
		if diff := cmp.Diff(tt.steps, tried); diff != "" || n-conns != tt.conns || !slices.Equal(offered[tokens:], tt.offered) {
			t.Errorf("%s: %d connections, tokens %v, steps %s", tt.name, n-conns, offered[tokens:], diff)
		}
		conns, tokens = n, len(offered)
	}
}

func TestMemoryIsAskedByAutoAlone(t *testing.T) {
	p := listen(t, front{}.handle)
	var memory Memory
	d := p.dialer()
	d.Memory = &memory
	for i, tt := range []struct {
		upgrade    string
		types      []string
		remembered bool
	}{{Auto, nil, false}, {Auto, nil, true}, {"alpn", nil, false}, {Auto, []string{"alpn"}, false}} {
		d.Upgrade, d.Types = tt.upgrade, tt.types
		conn, err := d.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info := conn.Info(); strings.HasPrefix(info.Reason, "remembered") != tt.remembered {
			t.Errorf("%d: %+v", i, info)
		}
		exchange(t, conn)
	}
}

func TestMemoryIsBoundedInTimeAndSize(t *testing.T) {
	now := time.Now()
	key := func(i int) pathKey { return pathKey{network: "10.0.0.1", address: fmt.Sprint("lb:", i)} }
	m := &Memory{Lifetime: time.Minute, Size: 3}
	for i := range 5 {
		m.keep(key(i), way{upgrade: "alpn"}, now.Add(time.Duration(i)*time.Second))
	}
	m.keep(key(4), way{upgrade: "websocket"}, now.Add(5*time.Second)) // takes its own place
	for i, want := range []string{"", "", "alpn", "alpn", "websocket"} {
		if w, ok := m.recall(key(i), now.Add(6*time.Second)); w.upgrade != want || ok != (want != "") {
			t.Errorf("%d: %+v, %v, want %q", i, w, ok, want)
		}
	}
	other := key(4)
	other.network = "10.0.0.2"
	if w, ok := m.recall(other, now); ok {
		t.Errorf("another network's way was taken: %+v", w)
	}
	if w, ok := m.recall(key(4), now.Add(65*time.Second)); ok {
		t.Errorf("%+v outlived itself", w)
	}
	m = new(Memory)
	for i := range defaultSize + 10 {
		m.keep(key(i), way{upgrade: "alpn"}, now)
	}
	if len(m.ways) != defaultSize {
		t.Errorf("%d paths are kept", len(m.ways))
	}
	last := key(defaultSize + 9)
	if _, ok := m.recall(last, now.Add(defaultLifetime-1)); !ok {
		t.Error("forgotten too early")
	}
	if _, ok := m.recall(last, now.Add(defaultLifetime)); ok {
		t.Error("kept too long")
	}
	m = nil
	m.keep(last, way{}, now)
	if _, ok := m.recall(last, now); ok {
		t.Error("no memory remembers")
	}
}
