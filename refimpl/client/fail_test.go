package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
)

func TestLadderGoesOnWhereTheTokenMayBeToBlame(t *testing.T) {
	tests := []struct {
		answer int // to websocket
		next   bool
	}{
		{200, true}, // a catch-all page
		{400, true},
		{403, true},
		{404, true},
		{405, true},
		{426, true},
		{464, true},
		{500, true},
		{501, true},
		{502, true},
		{-1, true},   // the connection is closed
		{hang, true}, // the step's time is up
		{401, false},
		{407, false},
		{429, false},
		{503, false},
		{504, false}, // the endpoint
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.answer), func(t *testing.T) {
			t.Parallel()
			p := listen(t, front{answers: map[string]int{"websocket": tt.answer}}.handle)
			d := p.dialer()
			if tt.answer == hang {
				d.StepTimeout, d.Timeout = time.Second, 10*time.Second
			}
			conn, err := d.Dial(t.Context())
			var failed *DialError
			var steps []Step
			switch {
			case err == nil:
				steps = conn.Info().Steps
				exchange(t, conn)
			case errors.As(err, &failed):
				steps = failed.Info.Steps
			}
			if tt.next != (err == nil) || len(steps) < 2 {
				t.Fatalf("%v, steps %v", err, steps)
			}
			if refused := steps[1]; refused.Try != "websocket" || refused.Status != max(tt.answer, 0) || refused.Err == nil {
				t.Errorf("the refusal is noted as %+v", refused)
			}
			want := []string{"websocket"}
			if tt.next {
				want = append(want, "alpn")
			}
			if _, _, offered := p.seen(); !slices.Equal(offered, want) {
				t.Errorf("offered %v, want %v", offered, want)
			}
			if last := steps[len(steps)-1]; tt.next && (last.Try != "alpn" || last.Status != 101 || last.Err != nil) {
				t.Errorf("the last step is %+v", last)
			}
		})
	}
}

func TestDialFailsWithEveryStepInTheError(t *testing.T) {
	stranger := func(p *path) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{p.other.leaf(innerName, outerName)}}
	}
	tests := []struct {
		name    string
		handle  func(p *path, conn net.Conn, n int)
		set     func(p *path, d *Dialer)
		class   probe.Class
		conns   int
		steps   []string // what was tried
		text    []string // parts of the error
		offered []string
		timeout bool
	}{
		{
			name: "no token is taken", handle: front{answers: map[string]int{"websocket": 403, "alpn": 400}}.handle,
			class: probe.Terminated, conns: 1,
			steps: []string{"direct", "websocket", "alpn"}, text: []string{"403", "400", "without ALPN", "sorry"},
			offered: []string{"websocket", "alpn"},
		},
		{
			name: "the endpoint has no target", handle: front{answers: map[string]int{"websocket": 503}}.handle,
			class: probe.Terminated, conns: 1,
			steps: []string{"direct", "websocket"}, text: []string{"503"}, offered: []string{"websocket"},
		},
		{
			name: "intercepted", handle: front{tls: stranger}.handle, class: probe.Intercepted, conns: 1,
			steps: []string{"direct"}, text: []string{"neither the router's", "other"},
		},
		{name: "an interceptor that echoes ALPN", handle: func(p *path, conn net.Conn, _ int) {
			c := stranger(p)
			c.NextProtos = []string{service}
			_, _ = p.tls("front", conn, c)
		}, class: probe.Intercepted, conns: 1, steps: []string{"direct"}},
		{
			name: "intercepted behind the upgrade", handle: front{inside: stranger}.handle, class: probe.Terminated, conns: 1,
			steps: []string{"direct", "websocket"}, text: []string{"inner tls"}, offered: []string{"websocket"},
		},
		{
			name:   "the router does not know the ALPN",
			handle: front{inside: func(p *path) *tls.Config { c := p.routerConfig(); c.NextProtos = []string{"x"}; return c }}.handle,
			class:  probe.Terminated, conns: 1, steps: []string{"direct", "websocket"}, text: []string{"inner tls"},
			offered: []string{"websocket"},
		},
		{
			name: "a service that speaks no TLS, such as PostgreSQL 15 before an SSLRequest", handle: front{hangsUp: true}.handle, class: probe.Terminated, conns: 2,
			steps: []string{"direct", "websocket", "alpn"}, text: []string{"inner tls: the connection was closed after the ClientHello, without an answer"},
			offered: []string{"websocket", "alpn"},
		},
		{
			name: "the router does not confirm the ALPN", handle: front{inside: func(p *path) *tls.Config {
				c := p.routerConfig()
				c.NextProtos = nil
				return c
			}}.handle, class: probe.Terminated, conns: 1, steps: []string{"direct", "websocket"},
			text: []string{`offered ["teleport-postgres"], got ""`}, offered: []string{"websocket"},
		},
		{
			name: "only direct was asked for", handle: front{}.handle, set: func(_ *path, d *Dialer) { d.Upgrade = Direct },
			class: probe.Terminated, conns: 1, steps: []string{"direct"},
		},
		{
			name: "EOF whatever is tried", handle: func(_ *path, conn net.Conn, _ int) { _, _ = conn.Read(make([]byte, 8192)) },
			class: probe.Broken, conns: 2,
			steps: []string{"direct", "tls"}, text: []string{"closed after the ClientHello"},
		},
		{
			name: "black hole", handle: func(_ *path, conn net.Conn, _ int) { _, _ = io.Copy(io.Discard, conn) },
			set:   func(_ *path, d *Dialer) { d.StepTimeout = 300 * time.Millisecond },
			class: probe.Broken, conns: 2, steps: []string{"direct", "tls"}, text: []string{"no answer in time"}, timeout: true,
		},
		{
			name:   "black hole, the whole dial's time is up",
			handle: func(_ *path, conn net.Conn, _ int) { _, _ = io.Copy(io.Discard, conn) },
			set:    func(_ *path, d *Dialer) { d.Timeout = 300 * time.Millisecond },
			class:  probe.Broken, conns: 1, steps: []string{"direct"}, timeout: true,
		},
		{
			name: "silence behind the request", handle: front{answers: nil, tls: nil}.silent,
			set:   func(_ *path, d *Dialer) { d.StepTimeout = time.Second },
			class: probe.Terminated, conns: 2, steps: []string{"direct", "websocket", "alpn"}, timeout: true,
		},
		{name: "plaintext HTTP where TLS was expected", handle: func(_ *path, conn net.Conn, _ int) {
			_, _ = conn.Read(make([]byte, 8192))
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}, class: probe.Broken, conns: 2, steps: []string{"direct", "tls"}, text: []string{"not TLS"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := listen(t, tt.handle)
			d := p.dialer()
			if tt.set != nil {
				tt.set(p, d)
			}
			began := time.Now()
			conn, err := d.DialContext(t.Context(), "tcp", "ignored:1")
			var failed *DialError
			if conn != nil || !errors.As(err, &failed) {
				t.Fatalf("%v, %v, want a DialError", conn, err)
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
			var steps []string
			for _, s := range failed.Info.Steps {
				steps = append(steps, s.Try)
			}
			if diff := cmp.Diff(tt.steps, steps); diff != "" || failed.Info.Class != tt.class {
				t.Errorf("class %s, steps %s: %v", failed.Info.Class, diff, err)
			}
			for _, part := range append(tt.text, tt.steps...) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in %q", part, err)
				}
			}
			if failed.Timeout() != tt.timeout {
				t.Errorf("timeout %v: %v", failed.Timeout(), err)
			}
			conns, _, offered := p.seen()
			if conns != tt.conns || tt.offered != nil && !slices.Equal(offered, tt.offered) {
				t.Errorf("%d connections, tokens %v", conns, offered)
			}
		})
	}
}

// silent completes TLS and answers nothing.
func (f front) silent(p *path, conn net.Conn, _ int) {
	if s, err := p.tls("front", conn, &tls.Config{Certificates: []tls.Certificate{p.outer.leaf(outerName)}}); err == nil {
		_, _ = io.Copy(io.Discard, s)
	}
}

func TestDialErrorsAreTyped(t *testing.T) {
	bare := func(p *path) *tls.Config {
		c := p.routerConfig()
		c.NextProtos = nil
		return c
	}
	d := listen(t, front{inside: bare}.handle).dialer()
	_, err := d.Dial(t.Context())
	var unconfirmed *ALPNError
	if !errors.As(err, &unconfirmed) || !slices.Equal(unconfirmed.Offered, d.ALPN) || unconfirmed.Got != "" {
		t.Errorf("ALPN not confirmed: %v, want an ALPNError", err)
	}
	// Who offers nothing expects nothing.
	d.ALPN = nil
	conn, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, conn)

	d = listen(t, front{tls: func(p *path) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{p.other.leaf(innerName, outerName)}}
	}}.handle).dialer()
	_, err = d.Dial(t.Context())
	if _, ok := errors.AsType[*probe.IdentityError](err); !ok {
		t.Errorf("intercepted: %v, want an IdentityError", err)
	}
}

func TestDialIsCancelled(t *testing.T) {
	for name, handle := range map[string]func(p *path, conn net.Conn, reached chan<- struct{}){
		"in the first handshake": func(_ *path, conn net.Conn, reached chan<- struct{}) {
			_, _ = conn.Read(make([]byte, 8192))
			close(reached)
			_, _ = io.Copy(io.Discard, conn)
		},
		"behind the upgrade request": func(p *path, conn net.Conn, reached chan<- struct{}) {
			s, err := p.tls("front", conn, &tls.Config{Certificates: []tls.Certificate{p.outer.leaf(outerName)}})
			if err == nil {
				_, _ = s.Read(make([]byte, 8192))
				close(reached)
				_, _ = io.Copy(io.Discard, s)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			reached := make(chan struct{})
			p := listen(t, func(p *path, conn net.Conn, _ int) { handle(p, conn, reached) })
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-reached; cancel() }()
			began := time.Now()
			conn, err := p.dialer().Dial(ctx)
			if conn != nil || !errors.Is(err, context.Canceled) || time.Since(began) > 15*time.Second {
				t.Errorf("%v, %v after %v", conn, err, time.Since(began))
			}
			if conns, _, _ := p.seen(); conns != 1 {
				t.Errorf("%d connections", conns)
			}
		})
	}
}
