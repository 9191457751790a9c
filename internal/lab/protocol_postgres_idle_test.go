package lab

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

// postgresIdle has sessions idle for longer than the load balancer allows. Those whose tunnel is pinged live on; one on a raw tunnel, where
// nothing can be, dies, and its end is the sign that the others have been idle for that long: it fell silent last.
func postgresIdle(t *testing.T, l postgresLab) {
	by := func(upgrade string) *client.Dialer {
		return l.dialer(t, "hasty", "one", func(d *client.Dialer) { d.Upgrade = upgrade })
	}
	kept := map[string]*pgx.Conn{}
	for _, upgrade := range []string{"websocket", "alpn-ping"} {
		for how, connect := range map[string]func(d *client.Dialer) (*pgx.Conn, error){
			"tunnel": func(d *client.Dialer) (*pgx.Conn, error) {
				return l.connect(t, d, l.config(t, "one", "sslmode=disable"))
			},
			"local port": func(d *client.Dialer) (*pgx.Conn, error) {
				return startProxy(t, d).through(t, l.config(t, "one", "sslmode=disable"))
			},
		} {
			conn, err := connect(by(upgrade))
			if err != nil {
				t.Fatalf("%s, %s: %v", upgrade, how, err)
			}
			kept[upgrade+", "+how] = conn
		}
	}
	proxied := startProxy(t, by("alpn"))
	behindProxy, err := proxied.through(t, l.config(t, "one", "sslmode=disable"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.connect(t, by("alpn"), l.config(t, "one", "sslmode=disable"))
	if err != nil {
		t.Fatal(err)
	}
	pid := raw.PgConn().PID()
	for name, conn := range kept { // the last word that they say
		if _, err := conn.Exec(t.Context(), "LISTEN idle"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, conn := range []*pgx.Conn{behindProxy, raw} {
		ask1[int](t, conn, "SELECT 1")
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// The end of the stream without TLS's goodbye: nobody takes it for the server's.
	if _, err := raw.PgConn().ReceiveMessage(ctx); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the raw tunnel ended with %v, want an end that is not the server's", err)
	}
	if _, err := behindProxy.PgConn().ReceiveMessage(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the raw tunnel behind the local port ended with %v", err)
	}
	waitUntil(t, "the local proxy to say so", func() bool { return strings.Contains(proxied.lines(), "the route cut the connection off") })
	// The first bytes after that time may be the server's, as here, or the client's.
	watcher := l.session(t, "hasty", "one")
	if _, err := watcher.Exec(ctx, "NOTIFY idle, 'still there?'"); err != nil {
		t.Fatal(err)
	}
	for name, conn := range kept {
		if n, err := conn.WaitForNotification(ctx); err != nil || n.PID != watcher.PgConn().PID() {
			t.Errorf("%s: after the idle time: %v, %v", name, n, err)
		}
		if got := ask1[uint32](t, conn, "SELECT pg_backend_pid()"); got != conn.PgConn().PID() {
			t.Errorf("%s: after the idle time session %d answers for %d", name, got, conn.PgConn().PID())
		}
	}
	// The server has not kept the session of a client that is gone.
	waitUntil(t, "the server to end the session", func() bool {
		return !ask1[bool](t, watcher, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid)
	})
}
