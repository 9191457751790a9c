package backend

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// TestEmbeddedPostgresLacksWhatItSays tries everything that the note says it does not do. What it has learnt meanwhile must leave the note.
func TestEmbeddedPostgresLacksWhatItSays(t *testing.T) {
	r := start(t, Embedded, Postgres)
	ctx := t.Context()
	connect := func(t *testing.T, mode string) (*pgx.Conn, error) {
		conn, err := pgx.Connect(ctx, strings.Replace(postgresURL(r), "sslmode=disable", mode, 1))
		if err == nil {
			t.Cleanup(func() { _ = conn.Close(context.Background()) })
		}
		return conn, err
	}
	session := func(t *testing.T) *pgx.Conn {
		t.Helper()
		conn, err := connect(t, "sslmode=disable")
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	// refuses sends statements; each must be refused in the server's words, and the session go on.
	refuses := func(statements ...string) func(*testing.T) {
		return func(t *testing.T) {
			conn := session(t)
			for _, sql := range statements {
				_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
				if _, refused := errors.AsType[*pgconn.PgError](err); !refused {
					t.Errorf("%s: %v", sql, err)
				}
			}
			if err := conn.Ping(ctx); err != nil {
				t.Error(err)
			}
		}
	}
	proofs := map[string]func(*testing.T){
		"other statements":      refuses("SELECT 1 + 1", "SELECT now()", "SELECT pg_sleep(1)", "SHOW server_version", "SET search_path TO x"),
		"tables but bench_copy": refuses("CREATE TABLE t (n int)", "CREATE TEMPORARY TABLE t (n int)", "INSERT INTO t VALUES (1)", "SELECT * FROM pg_class"),
		"transactions":          refuses("BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK"),
		"LISTEN and NOTIFY":     refuses("LISTEN x", "NOTIFY x"),
		"cancelling (a CancelRequest is taken and nothing comes of it)": func(t *testing.T) {
			conn := session(t)
			rows, err := conn.Query(ctx, "SELECT g, md5(g::text) FROM generate_series($1::int, $2::int) AS g", 1, 200_000)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for ; rows.Next(); n++ {
				if n == 0 {
					if err := conn.PgConn().CancelRequest(ctx); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := rows.Err(); err != nil || n != 200_000 {
				t.Errorf("%d rows, %v", n, err)
			}
		},
		"TLS of its own": func(t *testing.T) {
			if _, err := connect(t, "sslmode=require"); err == nil || !strings.Contains(err.Error(), "refused TLS") {
				t.Errorf("%v", err)
			}
		},
		"client certificates": func(t *testing.T) {
			if r.Access.CertUser != "" || r.Access.CA != "" {
				t.Errorf("%+v", r.Access)
			}
		},
		"COPY with escapes or in binary": func(t *testing.T) {
			conn := session(t)
			if _, err := conn.Exec(ctx, "CREATE TEMPORARY TABLE bench_copy (n int, t text)"); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.PgConn().CopyFrom(ctx, strings.NewReader("1\ta\\tb\n"), "COPY bench_copy FROM STDIN"); err == nil {
				t.Error("an escape is taken")
			}
			if _, err := conn.PgConn().CopyFrom(ctx, strings.NewReader(""), "COPY bench_copy FROM STDIN BINARY"); err == nil {
				t.Error("binary is taken")
			}
		},
		"bench_copy in the extended protocol": func(t *testing.T) {
			if _, err := session(t).Prepare(ctx, "x", "CREATE TEMPORARY TABLE bench_copy (n int, t text)"); err == nil {
				t.Error("it is taken")
			}
		},
		"messages above 16 MiB": func(t *testing.T) {
			fe := session(t).PgConn().Frontend()
			fe.Send(&pgproto3.Query{String: "SELECT '" + strings.Repeat("x", maxPGMessage) + "'"})
			err := fe.Flush() // the server may close before it has read all
			for err == nil {
				var msg pgproto3.BackendMessage
				if msg, err = fe.Receive(); err == nil {
					if _, answered := msg.(*pgproto3.DataRow); answered {
						t.Fatal("it is answered")
					}
				}
			}
		},
	}
	lead, lacks, found := strings.Cut(r.Info.Note, "It does not do: ")
	if !found || !strings.HasPrefix(lead, "protocol server: ") {
		t.Fatalf("note %q", r.Info.Note)
	}
	for lack := range strings.SplitSeq(lacks, "; ") {
		proof := proofs[lack]
		if proof == nil {
			t.Errorf("nothing here tries whether it does %q", lack)
			continue
		}
		t.Run(lack, proof)
		delete(proofs, lack)
	}
	for lack := range proofs {
		t.Errorf("the note does not say %q", lack)
	}
}
