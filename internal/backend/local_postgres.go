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
	Register(Driver{Kind: Postgres, Name: Local, Start: startLocalPostgres, Available: func(context.Context, Spec) error {
		_, _, err := postgresPrograms()
		return err
	}})
}

const postgresPackage = "postgresql"

// postgresPrograms finds the server, and the initdb beside it: they must be of one version.
func postgresPrograms() (initdb, postgres string, err error) {
	patterns := append([]string{"/usr/lib/postgresql/*/bin"}, process.SystemFolders...)
	if postgres, err = program(postgresPackage, patterns, "postgres"); err != nil {
		return "", "", err
	}
	// PATH may lead to a link.
	real, err := filepath.EvalSymlinks(postgres)
	if err != nil {
		return "", "", err
	}
	initdb = filepath.Join(filepath.Dir(real), "initdb")
	if _, err := os.Stat(initdb); err != nil {
		return "", "", missing("initdb", postgresPackage)
	}
	return initdb, real, nil
}

func startLocalPostgres(ctx context.Context, spec Spec, r *Running) error {
	initdb, postgres, err := postgresPrograms()
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
	server := func(port int) process.Command {
		argv := []string{postgres, "-D", data}
		// Nothing here outlives the run: no fsync. No socket: a long folder name would not fit into its address.
		for _, set := range []string{
			"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(port), "unix_socket_directories=", "fsync=off", "full_page_writes=off",
			"synchronous_commit=off", "shared_buffers=16MB", "max_connections=200", "max_wal_senders=0", "wal_level=minimal", "jit=off",
			"logging_collector=off",
		} {
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
	r.Access = Access{User: userName, Password: newPassword(), Database: databaseName}
	for _, sql := range []string{
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", r.Access.User, r.Access.Password),
		fmt.Sprintf("CREATE DATABASE %s OWNER %s", r.Access.Database, r.Access.User),
	} {
		if _, err := askPostgres(ctx, r.Address, "postgres", super, "postgres", sql); err != nil {
			return fmt.Errorf("create role and database: %w", err)
		}
	}
	version, err := askPostgres(ctx, r.Address, r.Access.User, r.Access.Password, r.Access.Database, "SELECT version()")
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	// PostgreSQL 15.14 (Debian 15.14-0+deb12u1) on x86_64-pc-linux-gnu, compiled by …
	product, rest, _ := strings.Cut(version, " ")
	number, _, _ := strings.Cut(rest, " on ")
	r.Info.Product, r.Info.Version = product, number
	r.Info.Note = "the real server of this machine, run as " + acct.Name + " in a directory of its own, " + flushing(spec)
	return nil
}
