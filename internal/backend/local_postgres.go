package backend

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

func init() {
	Register(Driver{Kind: Postgres, Name: Local, Start: startLocalPostgres, Available: func(ctx context.Context, spec Spec) error {
		_, _, err := postgresPrograms(ctx, spec.Version)
		return err
	}})
}

func startLocalPostgres(ctx context.Context, spec Spec, r *Running) error {
	initdb, postgres, err := postgresPrograms(ctx, spec.Version)
	if err != nil {
		return err
	}
	acct, err := process.Unprivileged("postgres")
	if err != nil {
		return err
	}
	dir, err := privateDir(acct, spec, r)
	if err != nil {
		return err
	}
	// The superuser's password is thrown away with this function; nobody but the account itself gets in without one.
	super, data := newPassword(), filepath.Join(dir, "data")
	if err := acct.WriteFile(filepath.Join(dir, "pw"), []byte(super+"\n")); err != nil {
		return fmt.Errorf("write password file: %w", err)
	}
	create := process.Command{Account: acct, Dir: dir, Log: "initdb.log", Argv: []string{
		initdb, "--pgdata", data, "--username=postgres", "--pwfile=" + filepath.Join(dir, "pw"), "--auth-host=scram-sha-256",
		"--auth-local=reject", "--encoding=UTF8", "--locale=C", "--no-sync",
	}}
	if err := create.Run(ctx, spec.Logger); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, "pw")); err != nil {
		return err
	}
	settings, err := writePostgresDoors(acct, dir, spec, r)
	if err != nil {
		return err
	}
	// Nothing here outlives the run: no fsync. No socket: a long folder name would not fit into its address.
	settings = append(settings, "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "full_page_writes=off",
		"synchronous_commit=off", "shared_buffers=16MB", "max_connections=200", "max_wal_senders=0", "wal_level=minimal", "jit=off",
		"logging_collector=off")
	server := func(port int) process.Command {
		argv := []string{postgres, "-D", data, "-c", "port=" + strconv.Itoa(port)}
		for _, set := range settings {
			argv = append(argv, "-c", set)
		}
		if spec.Durable { // the last one counts
			argv = append(argv, "-c", "fsync=on", "-c", "full_page_writes=on", "-c", "synchronous_commit=on")
		}
		return process.Command{Account: acct, Dir: dir, Log: "postgres.log", Argv: argv}
	}
	// SIGINT is a "fast shutdown": sessions are ended, not waited for.
	err = listenOn(ctx, spec, r, syscall.SIGINT, server, func(ctx context.Context, address string) error {
		_, err := askPostgres(ctx, address, "postgres", super, "postgres", "SELECT 1")
		return err
	})
	if err != nil {
		return err
	}
	return r.openPostgres(ctx, super, acct, spec)
}

// openPostgres makes the roles and the database of r.Access, by the superuser's password, and checks that they let a client in.
func (r *Running) openPostgres(ctx context.Context, super string, acct process.Account, spec Spec) error {
	a := &r.Access
	a.User, a.Password, a.Database = userName, newPassword(), databaseName
	statements := []string{
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", a.User, a.Password),
		fmt.Sprintf("CREATE DATABASE %s OWNER %s", a.Database, a.User),
	}
	if a.CertUser != "" { // no password: its certificate is all it has
		statements = append(statements, fmt.Sprintf("CREATE ROLE %s LOGIN IN ROLE %s", a.CertUser, a.User))
	}
	for _, sql := range statements {
		if _, err := askPostgres(ctx, r.Address, "postgres", super, "postgres", sql); err != nil {
			return fmt.Errorf("create role and database: %w", err)
		}
	}
	version, err := askPostgres(ctx, r.Address, a.User, a.Password, a.Database, "SELECT version()")
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	// PostgreSQL 15.14 (Debian 15.14-0+deb12u1) on x86_64-pc-linux-gnu, compiled by …
	product, rest, _ := strings.Cut(version, " ")
	number, _, _ := strings.Cut(rest, " on ")
	r.Info.Product, r.Info.Version = product, number
	r.Info.Note = "the real server of this machine, run as " + acct.Name + " in a directory of its own, " + Flushing(spec)
	return nil
}
