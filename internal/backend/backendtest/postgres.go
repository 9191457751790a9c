package backendtest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

func postgresURL(r *backend.Running) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", r.Access.User, r.Access.Password, r.Address, r.Access.Database)
}

func postgresContract(t *testing.T, r *backend.Running) {
	for name, mode := range map[string]pgx.QueryExecMode{
		"cached statements": pgx.QueryExecModeCacheStatement, "described": pgx.QueryExecModeDescribeExec,
		"text parameters": pgx.QueryExecModeExec, "simple protocol": pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(name, func(t *testing.T) {
			config, err := pgx.ParseConfig(postgresURL(r))
			if err != nil {
				t.Fatal(err)
			}
			config.DefaultQueryExecMode = mode
			ctx := t.Context()
			conn, err := pgx.ConnectConfig(ctx, config)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(ctx) }()
			if err := conn.Ping(ctx); err != nil {
				t.Fatalf("ping: %v", err)
			}
			var one int
			if err := conn.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil || one != 1 {
				t.Fatalf("SELECT 1: %d, %v", one, err)
			}
			var version string
			if err := conn.QueryRow(ctx, "SELECT version()").Scan(&version); err != nil || version == "" {
				t.Fatalf("version: %q, %v", version, err)
			}
			for _, want := range []string{"", "it's\n\"1\" \\ $1 -- é", strings.Repeat("x", 1<<20)} {
				var got string
				if err := conn.QueryRow(ctx, "SELECT $1::text", want).Scan(&got); err != nil || got != want {
					t.Fatalf("%.40q came back as %.40q, %v", want, got, err)
				}
			}
			for _, want := range []int{0, -1, 1<<31 - 1, -1 << 31} {
				var got int
				if err := conn.QueryRow(ctx, "SELECT $1::int", want).Scan(&got); err != nil || got != want {
					t.Fatalf("%d came back as %d, %v", want, got, err)
				}
			}
			for _, bounds := range [][2]int{{1, 1000}, {-3, 3}, {5, 4}, {7, 7}} {
				rows, err := conn.Query(ctx, "SELECT g, md5(g::text) FROM generate_series($1::int, $2::int) AS g", bounds[0], bounds[1])
				if err != nil {
					t.Fatal(err)
				}
				got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[numbered])
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(series(bounds[0], bounds[1]), got); diff != "" && len(got) > 0 || len(got) != max(0, bounds[1]-bounds[0]+1) {
					t.Fatalf("series %v: %d rows\n%s", bounds, len(got), diff)
				}
			}
			var refused *pgconn.PgError
			if _, err := conn.Exec(ctx, "SELECT nothing FROM nowhere"); !errors.As(err, &refused) || len(refused.Code) != 5 {
				t.Fatalf("nonsense: %v", err)
			}
			if err := conn.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
				t.Fatalf("the session does not survive an error: %v", err)
			}
		})
	}
	t.Run("the server's own TLS", func(t *testing.T) {
		if (r.Access.CA == "") != (r.Info.Driver == backend.Embedded) {
			t.Fatalf("driver %s was given a certificate, and its authority is in %q", r.Info.Driver, r.Access.CA)
		}
		if r.Access.CA == "" {
			return // the note says so
		}
		conn, err := pgx.Connect(t.Context(), strings.Replace(postgresURL(r), "sslmode=disable", "sslmode=verify-full&sslrootcert="+r.Access.CA, 1))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		var secure bool
		if err := conn.QueryRow(t.Context(), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&secure); err != nil || !secure {
			t.Errorf("under TLS: %v, %v", secure, err)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		config, err := pgx.ParseConfig(postgresURL(r))
		if err != nil {
			t.Fatal(err)
		}
		config.Password += "x"
		_, err = pgx.ConnectConfig(t.Context(), config)
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "28P01" {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("cancel request", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), postgresURL(r))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		if err := conn.PgConn().CancelRequest(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := conn.Ping(t.Context()); err != nil {
			t.Fatalf("after a cancel of nothing: %v", err)
		}
	})
}
