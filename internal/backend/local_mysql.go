package backend

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/process"
)

func init() {
	Register(Driver{Kind: MySQL, Name: Local, Start: startLocalMySQL, Available: func(ctx context.Context, spec Spec) error {
		_, err := findMySQL(ctx, spec.Version)
		return err
	}})
}

func startLocalMySQL(ctx context.Context, spec Spec, r *Running) error {
	progs, err := findMySQL(ctx, spec.Version)
	if err != nil {
		return err
	}
	maria := progs.product == mariaDB
	acct, err := process.Unprivileged("mysql")
	if err != nil {
		return err
	}
	dir, err := privateDir(acct, spec, r)
	if err != nil {
		return err
	}
	r.Access = Access{User: userName, Password: newPassword(), Database: databaseName}
	data, initSQL := filepath.Join(dir, "data"), filepath.Join(dir, "init.sql")
	if err := acct.WriteFile(initSQL, []byte(mysqlInit(maria, r.Access))); err != nil {
		return fmt.Errorf("write initial statements: %w", err)
	}
	secure, err := mysqlTLSFiles(acct, dir, spec, r)
	if err != nil {
		return err
	}
	create := process.Command{Account: acct, Dir: dir, Log: "install.log", Argv: []string{progs.path, "--no-defaults", "--initialize-insecure", "--datadir=" + data}}
	if maria {
		// With socket authentication no root can log in over TCP.
		create.Argv = []string{
			progs.install, "--no-defaults", "--basedir=" + progs.base, "--datadir=" + data, "--skip-test-db", "--auth-root-authentication-method=socket",
			"--skip-name-resolve", "--innodb-log-file-size=10M", "--innodb-buffer-pool-size=16M",
		}
	}
	if err := create.Run(ctx, spec.Logger); err != nil {
		return err
	}
	server := func(port int) process.Command {
		argv := []string{
			progs.path, "--no-defaults", "--basedir=" + progs.base, "--datadir=" + data, "--bind-address=127.0.0.1", "--port=" + strconv.Itoa(port),
			// Relative to the data directory: the whole name might not fit into a socket's address.
			"--socket=mysqld.sock", "--pid-file=" + filepath.Join(dir, "pid"), "--init-file=" + initSQL, "--skip-log-bin", "--skip-name-resolve",
			"--performance-schema=OFF", "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--max-connections=200",
			"--local-infile=ON", "--max-allowed-packet=" + strconv.Itoa(mysqlAllowedPacket),
		}
		argv = append(argv, secure...)
		if maria {
			argv = append(argv, "--innodb-log-file-size=10M", "--max-connect-errors=1000000")
		} else {
			argv = append(argv, "--mysqlx=OFF")
		}
		if spec.Durable { // the last one counts
			argv = append(argv, "--innodb-flush-log-at-trx-commit=1")
		}
		return process.Command{Account: acct, Dir: dir, Log: "mysqld.log", Argv: argv}
	}
	var version string
	err = listenOn(ctx, spec, r, syscall.SIGTERM, server, func(ctx context.Context, address string) (err error) {
		version, err = AskMySQL(ctx, address, r.Access, "SELECT VERSION()")
		return err
	})
	if err != nil {
		return err
	}
	r.Info.Product, r.Info.Version = "MySQL", version
	if number, rest, ok := strings.Cut(version, "-MariaDB"); ok {
		r.Info.Product, r.Info.Version = "MariaDB", number+rest
	}
	r.Info.Note = "the real server of this machine, run as " + acct.Name + " in a directory of its own, without a binary log, " + Flushing(spec)
	if r.Access.CA != "" {
		r.Info.Note += ", with TLS of its own for who wants it"
	}
	return nil
}

// mysqlAllowedPacket is MySQL's own default, and what its drivers take; MariaDB's is 16 MiB, which a row of 16 MiB does not fit into.
const mysqlAllowedPacket = 64 << 20

// mysqlTLSFiles writes what the server needs for TLS of its own, and for the certificates of clients, and returns the arguments that say so.
func mysqlTLSFiles(acct process.Account, dir string, spec Spec, r *Running) ([]string, error) {
	if len(spec.Certificate.Certificate) == 0 {
		return nil, nil
	}
	cert, key, err := certs.WritePEM(dir, "server", spec.Certificate)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(acct.Own(cert), acct.Own(key)); err != nil {
		return nil, fmt.Errorf("give the certificate to %s: %w", acct.Name, err)
	}
	argv := []string{"--ssl-cert=" + cert, "--ssl-key=" + key}
	for _, ca := range []struct {
		name string
		pem  []byte
		use  func(file string)
	}{
		{"server-ca.pem", spec.CA, func(file string) { r.Access.CA = file }},
		{"client-ca.pem", spec.ClientCA, func(file string) { argv = append(argv, "--ssl-ca="+file) }},
	} {
		if len(ca.pem) == 0 {
			continue
		}
		file := filepath.Join(dir, ca.name)
		if err := acct.WriteFile(file, ca.pem); err != nil {
			return nil, fmt.Errorf("write the authority: %w", err)
		}
		ca.use(file)
	}
	return argv, nil
}

// mysqlInit is what the server runs at its start, before it listens. The account's plugin is the server's own default: caching_sha2_password
// for MySQL since 8.0 (9.0 has no other), mysql_native_password for MariaDB.
func mysqlInit(maria bool, a Access) string {
	var lock string
	if !maria {
		lock = fmt.Sprintf("ALTER USER root@localhost IDENTIFIED BY '%s';\n", newPassword())
	}
	return lock + fmt.Sprintf("CREATE DATABASE IF NOT EXISTS %[1]s;\nCREATE USER IF NOT EXISTS '%[2]s'@'%%' IDENTIFIED BY '%[3]s';\nGRANT ALL ON %[1]s.* TO '%[2]s'@'%%';\n",
		a.Database, a.User, a.Password)
}
