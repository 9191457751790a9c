package lab

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// asleep is a query that ends only when somebody cancels it.
type asleep struct {
	*pgx.Conn
	ended chan error
}

// fallAsleep has a session run such a query, and returns once the server says that it runs.
func fallAsleep(t *testing.T, conn, watcher *pgx.Conn) *asleep {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	s := &asleep{conn, make(chan error, 1)}
	pid := conn.PgConn().PID()
	go func() {
		defer cancel()
		_, err := conn.Exec(ctx, "SELECT pg_sleep(300)")
		s.ended <- err
	}()
	waitUntil(t, "the query to run", func() bool { return sleeps(t, watcher, pid) })
	return s
}

func sleeps(t *testing.T, watcher *pgx.Conn, pid uint32) bool {
	t.Helper()
	return ask1[bool](t, watcher, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND wait_event = 'PgSleep')", pid)
}

// postgresCancel cancels a query on one of two servers, and then the other's.
func postgresCancel(t *testing.T, l postgresLab, path string) {
	watchers := [2]*pgx.Conn{l.session(t, path, "one"), l.session(t, path, "two")}
	cancelEach(t, watchers, [2]*pgx.Conn{l.session(t, path, "one"), l.session(t, path, "two")})
	// The server's own TLS: the request is under it as its session is.
	own := l.session(t, path, "own-tls")
	cancelEach(t, watchers, [2]*pgx.Conn{own, l.session(t, path, "two")})
}

// postgresCancelThroughProxy is the same by the local ports, where the proxy dials for a CancelRequest as for a session.
func postgresCancelThroughProxy(t *testing.T, l postgresLab, path string) {
	watchers := [2]*pgx.Conn{l.session(t, path, "one"), l.session(t, path, "two")}
	for mode, first := range map[string]string{"disable": "one", "require": "own-tls"} {
		var sessions [2]*pgx.Conn
		for i, route := range []string{first, "two"} {
			p := startProxy(t, l.dialer(t, path, route, nil))
			conn, err := p.through(t, l.config(t, route, "channel_binding=disable sslmode="+mode))
			if err != nil {
				t.Fatal(err)
			}
			sessions[i] = conn
		}
		cancelEach(t, watchers, sessions)
	}
}

func cancelEach(t *testing.T, watchers, sessions [2]*pgx.Conn) {
	t.Helper()
	var queries [2]*asleep
	for i, conn := range sessions {
		queries[i] = fallAsleep(t, conn, watchers[i])
	}
	for i, q := range queries {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := q.PgConn().CancelRequest(ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-q.ended:
			if refusal(err) != "57014" {
				t.Errorf("query %d ended with %v, want query_canceled", i, err)
			}
		case <-ctx.Done():
			t.Fatalf("query %d goes on a minute after its CancelRequest", i)
		}
		if i == 0 && !sleeps(t, watchers[1], sessions[1].PgConn().PID()) {
			t.Error("the query on the other server does not run any more")
		}
		if got := ask1[int](t, q.Conn, "SELECT 1"); got != 1 {
			t.Errorf("SELECT 1 is %d in a session whose query was cancelled", got)
		}
	}
}
