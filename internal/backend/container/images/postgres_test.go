//go:build docker

package images

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestPostgres(t *testing.T) {
	for _, version := range []string{"15", "17"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			testPostgres(t, version)
		})
	}
}

// postgresURL is for a user and a database with letters that have to be quoted.
func postgresURL(t *testing.T, c *container, password, parameters string) string {
	t.Helper()
	u := url.URL{Scheme: "postgres", User: url.UserPassword("bench-user", password), Host: c.address(t), Path: `/a "base"`, RawQuery: parameters}
	return u.String()
}

// connectPostgres logs in; the connection is closed when the test is over.
func connectPostgres(t *testing.T, address string) (*pgx.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the server may have ended by then
	}
	return conn, err
}

// postgresAnswers logs in, asks query for one text, and compares.
func postgresAnswers(t *testing.T, address, query, want string) {
	t.Helper()
	conn, err := connectPostgres(t, address)
	if err != nil {
		t.Errorf("log in: %v", err)
		return
	}
	var got string
	if err := conn.QueryRow(t.Context(), query).Scan(&got); err != nil || !strings.HasPrefix(got, want) {
		t.Errorf("%s is %q (%v), want %q", query, got, err, want)
	}
}

// postgresEnvironment is what a program of a session sees.
func postgresEnvironment(t *testing.T, address string) string {
	t.Helper()
	conn, err := connectPostgres(t, address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "CREATE TEMPORARY TABLE environment (line text); COPY environment FROM PROGRAM 'env' (DELIMITER E'\\x01')"); err != nil {
		t.Fatal(err)
	}
	var lines string
	if err := conn.QueryRow(t.Context(), "SELECT string_agg(line, E'\\n') FROM environment").Scan(&lines); err != nil || !strings.Contains(lines, "PGDATA=") {
		t.Fatalf("the environment is %q (%v)", lines, err)
	}
	return lines
}

func testPostgres(t *testing.T, version string) {
	caFile, _, files := tlsFiles(t)
	in := "/docker-entrypoint-initdb.d/"
	files = append(files, gate, file{"/password", 0o644, []byte(password + "\n")},
		file{in + "1.sql", 0o644, []byte("CREATE TABLE ran (script text); INSERT INTO ran VALUES ('sql');")},
		file{in + "2.sql.gz", 0o644, gzipped(t, "INSERT INTO ran VALUES ('gz');")},
		file{in + "3.sh", 0o755, []byte("#!/bin/sh\npsql -U \"$POSTGRES_USER\" -d \"$POSTGRES_DB\" -c \"INSERT INTO ran VALUES ('run')\"\n")},
		file{in + "4.sh", 0o644, []byte("sourced=sourced; psql -U \"$POSTGRES_USER\" -d \"$POSTGRES_DB\" -c \"INSERT INTO ran VALUES ('$sourced')\"\n")})
	c := start(t, "tlsroute-bench/postgres:"+version, "5432", []string{
		"--env", "POSTGRES_PASSWORD_FILE=/password", "--env", "POSTGRES_USER=bench-user", "--env", `POSTGRES_DB=a "base"`,
		"--env", "POSTGRES_INITDB_ARGS=--data-checksums --no-sync",
	}, files, "-c", "max_connections=77", "-c", "fsync=off", "-c", "ssl=on", "-c", "ssl_cert_file=/etc/tls/server.crt",
		"-c", "ssl_key_file=/etc/tls/server.key", "-c", "ssl_ca_file=/etc/tls/ca.crt")

	c.atGate(t)
	if _, err := connectPostgres(t, postgresURL(t, c, password, "sslmode=disable")); err == nil {
		t.Error("a client got in while the database was initialised")
	}
	c.open(t)
	plain, verified := postgresURL(t, c, password, "sslmode=disable"), postgresURL(t, c, password, "sslmode=verify-full&sslrootcert="+url.QueryEscape(caFile))
	c.eventually(t, "log in", func() error { _, err := connectPostgres(t, plain); return err })

	postgresAnswers(t, plain, "SHOW server_version", version+".")
	postgresAnswers(t, plain, "SHOW max_connections", "77")
	postgresAnswers(t, plain, "SHOW data_checksums", "on")
	postgresAnswers(t, plain, "SHOW password_encryption", "scram-sha-256")
	postgresAnswers(t, plain, "SELECT string_agg(script, ' ') FROM ran", "sql gz run sourced")
	tls := "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
	postgresAnswers(t, plain, tls, "false")
	postgresAnswers(t, verified, tls, "true")

	// Without SSLRequest: TLS from the first byte, with ALPN "postgresql". PostgreSQL takes it from 17 on.
	direct := verified + "&sslnegotiation=direct"
	if version == "15" {
		if _, err := connectPostgres(t, direct); err == nil {
			t.Error("PostgreSQL 15 took direct TLS, which it does not know")
		}
	} else {
		postgresAnswers(t, direct, tls, "true")
	}

	var refused *pgconn.PgError
	if _, err := connectPostgres(t, postgresURL(t, c, "wrong", "sslmode=disable")); !errors.As(err, &refused) || refused.Code != "28P01" {
		t.Errorf("a wrong password is answered with %v, want 28P01", err)
	}
	if id := c.exec(t, "stat", "--format", "%u:%g", "/proc/1"); id != "999:999" {
		t.Errorf("the server runs as %s, want 999:999", id)
	}
	if owner := c.exec(t, "stat", "--format", "%U %a", "/etc/tls/server.key"); owner != "postgres 600" {
		t.Errorf("the key is of %s, want postgres 600", owner)
	}
	if env := postgresEnvironment(t, plain); strings.Contains(env, "POSTGRES_PASSWORD") {
		t.Errorf("a session has the password in its environment:\n%s", env)
	}

	// What is there is kept, and no script runs again.
	c.stop(t)
	docker(t, "start", c.id)
	c.eventually(t, "log in after a second start", func() error { _, err := connectPostgres(t, postgresURL(t, c, password, "sslmode=disable")); return err })
	postgresAnswers(t, postgresURL(t, c, password, "sslmode=disable"), "SELECT count(*)::text FROM ran", "4")
	c.stop(t)
}

// The wrapper is what makes the official images take files of root's; ours have to run it too. trust lets everybody in.
func TestPostgresByAWrapperAndTrust(t *testing.T) {
	t.Parallel()
	caFile, _, files := tlsFiles(t)
	for i := range files {
		files[i].path = strings.Replace(files[i].path, "/etc/tls/", "/srv/", 1)
	}
	c := start(t, "tlsroute-bench/postgres:17", "5432", []string{"--env", "POSTGRES_HOST_AUTH_METHOD=trust", "--env", "POSTGRES_INITDB_ARGS=--no-sync"}, files,
		"sh", "-c", "chown postgres:postgres /srv/* && chmod 600 /srv/* && exec docker-entrypoint.sh postgres -c ssl=on -c ssl_cert_file=/srv/server.crt -c ssl_key_file=/srv/server.key")
	c.eventually(t, "log in", func() error {
		_, err := connectPostgres(t, "postgres://postgres@"+c.address(t)+"/postgres?sslmode=verify-full&sslrootcert="+url.QueryEscape(caFile))
		return err
	})
	c.stop(t)
}

func TestPostgresSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	refuses(t, "tlsroute-bench/postgres:15", "POSTGRES_PASSWORD is not set")
	image := "tlsroute-bench/postgres:17"
	refuses(t, image, "POSTGRES_PASSWORD is not set")
	refuses(t, image, "both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are set", "--env", "POSTGRES_PASSWORD=a", "--env", "POSTGRES_PASSWORD_FILE=/b")
	refuses(t, image, "POSTGRES_PASSWORD_FILE names /nowhere", "--env", "POSTGRES_PASSWORD_FILE=/nowhere")
}
