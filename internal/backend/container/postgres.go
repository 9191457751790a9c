package container

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

func init() {
	register(kind{name: backend.Postgres, ports: []string{"5432/tcp"}, plan: postgresPlan, images: []string{
		"postgres:17", "postgres:18", "postgres:16", "postgres:15", "postgres:latest", "postgres:17-alpine", "postgres:alpine",
		"tlsroute-bench/postgres:17", "tlsroute-bench/postgres:15",
	}})
}

// Who gets in.
const (
	hbaFile   = "pg_hba.conf"
	identFile = "pg_ident.conf"
)

func postgresPlan(spec backend.Spec, r *backend.Running, dir string) (plan, error) {
	r.Access = backend.Access{User: userName, Password: rand.Text(), Database: databaseName}
	files, err := tlsFiles(spec, r, dir)
	if err != nil {
		return plan{}, err
	}
	if len(spec.ClientCA) > 0 && len(files) > 0 {
		r.Access.CertUser = backend.PostgresCertUser
	}
	// The entry point makes databases over the local socket, without a password.
	hba, ident := backend.PostgresDoors("trust", r.Access.CertUser != "")
	files = append(files, file{name: hbaFile, data: []byte(hba), mode: 0o644}, file{name: identFile, data: []byte(ident), mode: 0o644})
	// Nothing here outlives the run: no fsync.
	settings := []string{"fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=16MB", "max_connections=200", "jit=off"}
	if spec.Durable { // the last one counts
		settings = append(settings, "fsync=on", "full_page_writes=on", "synchronous_commit=on")
	}
	names := map[string]string{certFile: "ssl_cert_file", keyFile: "ssl_key_file", clientCAFile: "ssl_ca_file", hbaFile: "hba_file", identFile: "ident_file"}
	for _, f := range files {
		settings = append(settings, names[f.name]+"="+f.ownPath())
		if f.name == certFile {
			settings = append(settings, "ssl=on")
		}
	}
	args := []string{"postgres"}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	super := rand.Text()
	statements := []string{
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", r.Access.User, r.Access.Password),
		fmt.Sprintf("CREATE DATABASE %s OWNER %s", r.Access.Database, r.Access.User),
	}
	if r.Access.CertUser != "" { // no password: its certificate is all it has
		statements = append(statements, fmt.Sprintf("CREATE ROLE %s LOGIN IN ROLE %s", r.Access.CertUser, r.Access.User))
	}
	access := r.Access
	return plan{
		files: files, account: "postgres", args: args,
		env: map[string]string{
			"POSTGRES_PASSWORD": super, "POSTGRES_HOST_AUTH_METHOD": "scram-sha-256",
			"POSTGRES_INITDB_ARGS": "--encoding=UTF8 --locale=C --no-sync --auth-host=scram-sha-256",
		},
		// The superuser's password is thrown away with this function.
		probe: func(ctx context.Context, at []string) (about, error) {
			for _, sql := range statements {
				_, err := backend.AskPostgres(ctx, at[0], "postgres", super, "postgres", sql)
				if err != nil && !strings.Contains(err.Error(), "already exists") { // it was done, and the answer was lost
					return about{}, err
				}
			}
			statements = nil
			all, err := backend.AskPostgres(ctx, at[0], access.User, access.Password, access.Database, "SELECT version()")
			// PostgreSQL 17.6 (Debian 17.6-1.pgdg13+1) on x86_64-pc-linux-gnu, compiled by …
			product, rest, _ := strings.Cut(all, " ")
			version, _, _ := strings.Cut(rest, " on ")
			return about{product, version, realServer + ", " + backend.Flushing(spec)}, err
		},
	}, nil
}
