package backendtest

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

// mysqlSeriesSQL means the same to MariaDB, MySQL and the embedded server.
const mysqlSeriesSQL = "WITH RECURSIVE s(n) AS (SELECT ? UNION ALL SELECT n+1 FROM s WHERE n < ?) SELECT n, MD5(n) FROM s"

func mysqlContract(t *testing.T, r *backend.Running) {
	open := func(password string) *sql.DB {
		config := mysql.NewConfig()
		config.Net, config.Addr, config.User, config.Passwd, config.DBName = "tcp", r.Address, r.Access.User, password, r.Access.Database
		config.InterpolateParams = true
		connector, err := mysql.NewConnector(config)
		if err != nil {
			t.Fatal(err)
		}
		db := sql.OpenDB(connector)
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	ctx, db := t.Context(), open(r.Access.Password)
	if err := db.PingContext(ctx); err != nil {
		t.Fatalf("ping: %v", err)
	}
	var one int
	if err := db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil || one != 1 {
		t.Fatalf("SELECT 1: %d, %v", one, err)
	}
	for _, query := range []string{"SELECT VERSION()", "SELECT @@version"} {
		var version string
		if err := db.QueryRowContext(ctx, query).Scan(&version); err != nil || version == "" {
			t.Fatalf("%s: %q, %v", query, version, err)
		}
	}
	if _, err := db.ExecContext(ctx, "SET NAMES utf8mb4"); err != nil {
		t.Fatal(err)
	}
	want := "it's\n\"1\" \\ ? -- é"
	var got string
	if err := db.QueryRowContext(ctx, "SELECT ?", want).Scan(&got); err != nil || got != want {
		t.Fatalf("%q came back as %q, %v", want, got, err)
	}
	prepared, err := db.PrepareContext(ctx, strings.Replace(mysqlSeriesSQL, "?", "CAST(? AS SIGNED)", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = prepared.Close() }()
	for _, bounds := range [][2]int{{1, 1000}, {-3, 3}, {7, 7}} {
		rows, err := db.QueryContext(ctx, mysqlSeriesSQL, bounds[0], bounds[1])
		if err != nil {
			t.Fatal(err)
		}
		mysqlRows(t, rows, series(bounds[0], bounds[1]))
		if rows, err = prepared.QueryContext(ctx, bounds[0], bounds[1]); err != nil {
			t.Fatal(err)
		}
		mysqlRows(t, rows, series(bounds[0], bounds[1]))
	}
	var refused *mysql.MySQLError
	if _, err := db.ExecContext(ctx, "SELECT FROM WHERE"); !errors.As(err, &refused) || refused.Number != 1064 {
		t.Fatalf("nonsense: %v", err)
	}
	if err := open("wrong").PingContext(ctx); !errors.As(err, &refused) || refused.Number != 1045 {
		t.Fatalf("wrong password: %v", err)
	}
	if (r.Access.CA == "") != (r.Info.Driver == backend.Embedded) {
		t.Fatalf("driver %s was given a certificate, and its authority is in %q", r.Info.Driver, r.Access.CA)
	}
	if r.Info.Driver != backend.Embedded { // its note says so
		for variable, want := range map[string]string{"max_allowed_packet": "67108864", "local_infile": "1"} {
			got, err := backend.AskMySQL(ctx, r.Address, r.Access, "SELECT @@"+variable)
			if err != nil || got != want {
				t.Errorf("%s is %q, want %s: %v", variable, got, want, err)
			}
		}
	}
	if r.Access.CA != "" {
		secure := r.Access // verified by AskMySQL
		if got, err := backend.AskMySQL(ctx, r.Address, secure, "SHOW SESSION STATUS LIKE 'Ssl_version'"); err != nil || got != "Ssl_version" {
			t.Errorf("under the server's TLS: %q, %v", got, err)
		}
		other, err := certs.NewCA("others")
		if err != nil {
			t.Fatal(err)
		}
		secure.CA = filepath.Join(t.TempDir(), "other.pem")
		if err := os.WriteFile(secure.CA, other.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := backend.AskMySQL(ctx, r.Address, secure, "SELECT 1"); err == nil || !strings.Contains(err.Error(), "unknown authority") {
			t.Errorf("a certificate of another authority: %v", err)
		}
	}
}

func mysqlRows(t *testing.T, rows *sql.Rows, want []numbered) {
	t.Helper()
	var got []numbered
	for rows.Next() {
		var row numbered
		if err := rows.Scan(&row.N, &row.Sum); err != nil {
			t.Fatal(err)
		}
		got = append(got, row)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("series: %s", diff)
	}
}
