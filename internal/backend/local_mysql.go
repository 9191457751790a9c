package backend

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

func init() {
	Register(Driver{Kind: MySQL, Name: Local, Start: startLocalMySQL, Available: func(context.Context, Spec) error {
		_, err := findMySQL()
		return err
	}})
}

const mysqlPackage = "mariadb-server"

// mysqlPrograms is a server and how to make its data directory.
type mysqlPrograms struct {
	server  string
	install string // mariadb-install-db; empty for MySQL, which does it by itself
}

// findMySQL prefers MariaDB, which is what Debian has. MySQL's own mysqld is taken when it is alone.
func findMySQL() (mysqlPrograms, error) {
	server, err := program(mysqlPackage, process.SystemFolders, "mariadbd", "mysqld")
	if err != nil {
		return mysqlPrograms{}, err
	}
	install, err := program(mysqlPackage, process.SystemFolders, "mariadb-install-db", "mysql_install_db")
	if err != nil && filepath.Base(server) == "mariadbd" {
		return mysqlPrograms{}, err
	}
	return mysqlPrograms{server, install}, nil
}

func startLocalMySQL(ctx context.Context, spec Spec, r *Running) error {
	progs, err := findMySQL()
	if err != nil {
		return err
	}
	said, err := exec.CommandContext(ctx, progs.server, "--no-defaults", "--version").Output()
	if err != nil {
		return fmt.Errorf("run %s --version: %w", progs.server, err)
	}
	maria := strings.Contains(string(said), "MariaDB")
	if maria && progs.install == "" {
		return missing("mariadb-install-db", mysqlPackage)
	}
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
	create := process.Command{Account: acct, Dir: dir, Log: "install.log", Argv: []string{progs.server, "--no-defaults", "--initialize-insecure", "--datadir=" + data}}
	if maria {
		// With socket authentication no root can log in over TCP.
		create.Argv = []string{
			progs.install, "--no-defaults", "--datadir=" + data, "--skip-test-db", "--auth-root-authentication-method=socket",
			"--skip-name-resolve", "--innodb-log-file-size=10M", "--innodb-buffer-pool-size=16M",
		}
	}
	if err := create.Run(ctx, spec.Logger); err != nil {
		return err
	}
	server := func(port int) process.Command {
		argv := []string{
			progs.server, "--no-defaults", "--datadir=" + data, "--bind-address=127.0.0.1", "--port=" + strconv.Itoa(port),
			// Relative to the data directory: the whole name might not fit into a socket's address.
			"--socket=mysqld.sock", "--pid-file=" + filepath.Join(dir, "pid"), "--init-file=" + initSQL, "--skip-log-bin", "--skip-name-resolve",
			"--performance-schema=OFF", "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--max-connections=200",
		}
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
		version, err = askMySQL(ctx, address, r.Access, "SELECT VERSION()")
		return err
	})
	if err != nil {
		return err
	}
	r.Info.Product, r.Info.Version = "MySQL", version
	if number, rest, ok := strings.Cut(version, "-MariaDB"); ok {
		r.Info.Product, r.Info.Version = "MariaDB", number+rest
	}
	r.Info.Note = "the real server of this machine, run as " + acct.Name + " in a directory of its own, without a binary log, " + flushing(spec)
	return nil
}

// mysqlInit is what the server runs at its start, before it listens.
func mysqlInit(maria bool, a Access) string {
	identified := fmt.Sprintf("IDENTIFIED BY '%s'", a.Password) // MariaDB: mysql_native_password
	var lock string
	if !maria {
		identified = fmt.Sprintf("IDENTIFIED WITH mysql_native_password BY '%s'", a.Password)
		lock = fmt.Sprintf("ALTER USER root@localhost IDENTIFIED BY '%s';\n", newPassword())
	}
	return lock + fmt.Sprintf("CREATE DATABASE IF NOT EXISTS %[1]s;\nCREATE USER IF NOT EXISTS '%[2]s'@'%%' %[3]s;\nGRANT ALL ON %[1]s.* TO '%[2]s'@'%%';\n",
		a.Database, a.User, identified)
}

// askMySQL logs in with mysql_native_password, runs one statement and returns the first value of its first row.
func askMySQL(ctx context.Context, address string, a Access, sql string) (string, error) {
	conn, stop, err := dialProbe(ctx, address)
	if err != nil {
		return "", err
	}
	defer stop()
	c := newMySQLConn(conn)
	greeting, err := c.read()
	if err != nil {
		return "", fmt.Errorf("read greeting: %w", err)
	}
	if err := mysqlRefusal(greeting); err != nil {
		return "", err
	}
	r := mysqlReader{b: greeting}
	if v := r.byte(); v != 10 {
		return "", fmt.Errorf("greeting of version %d", v)
	}
	r.text() // version
	r.uint32()
	nonce := append([]byte(nil), r.take(8)...)
	r.take(1 + 2 + 1 + 2 + 2 + 1 + 10)
	nonce = append(nonce, r.take(12)...)
	if r.bad {
		return "", errMySQLShort
	}
	flags := uint32(mysqlLongPassword | mysqlProtocol41 | mysqlSecure | mysqlPluginAuth | mysqlConnectWithDB)
	b := []byte{byte(flags), byte(flags >> 8), byte(flags >> 16), byte(flags >> 24), 0, 0, 0x40, 0, mysqlCharset}
	b = append(b, make([]byte, 23)...)
	b = append(append(b, a.User...), 0)
	b = appendLenenc(b, string(scrambleNative(a.Password, nonce)))
	b = append(append(b, a.Database...), 0)
	c.write(append(b, mysqlNativePassword+"\x00"...))
	answer, err := c.exchange()
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	if answer[0] == 0xfe { // AuthSwitchRequest: the plugin's name and its nonce
		r := mysqlReader{b: answer[1:]}
		if plugin := r.text(); plugin != mysqlNativePassword || len(r.b) < 20 {
			return "", fmt.Errorf("log in: the server wants %s", plugin)
		}
		c.write(scrambleNative(a.Password, r.b[:20]))
		if _, err := c.exchange(); err != nil {
			return "", fmt.Errorf("log in: %w", err)
		}
	}
	c.seq = 0
	c.write(append([]byte{0x03}, sql...))
	head, err := c.exchange()
	if err != nil {
		return "", err
	}
	for range int(head[0]) + 1 { // columns and the EOF behind them
		if _, err := c.read(); err != nil {
			return "", err
		}
	}
	row, err := c.read()
	if err != nil {
		return "", err
	}
	r = mysqlReader{b: row}
	return r.string(), nil
}

// exchange flushes and reads one packet, an ERR packet as an error.
func (c *mysqlConn) exchange() ([]byte, error) {
	if err := c.flush(); err != nil {
		return nil, err
	}
	body, err := c.read()
	if err != nil {
		return nil, err
	}
	return body, mysqlRefusal(body)
}

func mysqlRefusal(body []byte) error {
	switch {
	case len(body) == 0:
		return errors.New("empty packet")
	case body[0] == 0xff && len(body) > 9 && body[3] == '#':
		return &mysqlError{uint16(body[1]) | uint16(body[2])<<8, string(body[4:9]), string(body[9:])}
	case body[0] == 0xff:
		return fmt.Errorf("refused: %q", body[1:])
	}
	return nil
}
