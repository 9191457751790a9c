package lab

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// postgresEndedByServer has the server end idle sessions: its last words must arrive before the end does.
func postgresEndedByServer(t *testing.T, l postgresLab, path string) {
	watcher := l.session(t, path, "one")
	behindProxy, err := startProxy(t, l.dialer(t, path, "one", nil)).through(t, l.config(t, "one", "sslmode=require"))
	if err != nil {
		t.Fatal(err)
	}
	for name, conn := range map[string]*pgx.Conn{
		"plain": l.session(t, path, "one"), "own TLS": l.session(t, path, "own-tls"), "local port": behindProxy,
	} {
		if !ask1[bool](t, watcher, "SELECT pg_terminate_backend($1)", conn.PgConn().PID()) {
			t.Errorf("%s: the server does not know session %d", name, conn.PgConn().PID())
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := conn.PgConn().ReceiveMessage(ctx)
		cancel()
		if refusal(err) != "57P01" { // admin_shutdown
			t.Errorf("%s: the session ended with %v", name, err)
		}
	}
}

// postgresLeftByClient has clients leave in the middle of an endless answer: the server must learn of it.
func postgresLeftByClient(t *testing.T, l postgresLab, path string) {
	watcher := l.session(t, path, "one")
	behindProxy, err := startProxy(t, l.dialer(t, path, "one", nil)).through(t, l.config(t, "one", "sslmode=disable"))
	if err != nil {
		t.Fatal(err)
	}
	for name, conn := range map[string]*pgx.Conn{"plain": l.session(t, path, "one"), "local port": behindProxy} {
		pid := conn.PgConn().PID()
		left := &leaving{conn: conn.PgConn(), after: 1 << 20}
		if _, err := conn.PgConn().CopyTo(t.Context(), left, "COPY (SELECT md5(generate_series(1, 2000000000)::text)) TO STDOUT"); err == nil {
			t.Errorf("%s: an endless COPY has ended", name)
		}
		waitUntil(t, name+": the server to end the session", func() bool {
			return !ask1[bool](t, watcher, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid)
		})
	}
}

// leaving closes a session's connection, without a word, once so many bytes have been read.
type leaving struct {
	conn  *pgconn.PgConn
	after int
}

func (l *leaving) Write(p []byte) (int, error) {
	if l.after -= len(p); l.after > 0 {
		return len(p), nil
	}
	_ = l.conn.Conn().Close() // how it takes that does not matter
	return 0, io.ErrClosedPipe
}
