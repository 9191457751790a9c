package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

// mysqlTopology is every way to a real server, and to the embedded one for the password plugin that MariaDB 10.11 does not have. The load balancer
// hasty cuts what has been idle for three seconds, and the router pings often.
const mysqlTopology = `
name: mysql
topology:
  paths: [direct, alb-https, alb-http, nlb-tcp, hasty]
  router: {upgrade: {ping_interval: 250ms}}
  load_balancers:
    alb: {}
    nlb: {protocol: TCP}
    hasty: {attributes: {idle_timeout.timeout_seconds: 3}}
backends:
  - {name: db, kind: mysql}
  - {name: sha2, kind: mysql, driver: embedded}
routes:
  - {name: db, sni: [db.example.test], alpn: [teleport-mysql], mode: terminate, backend: db}
  - {name: bridged, sni: [bridged.example.test], alpn: [teleport-mysql], mode: terminate, backend: db, backend_tls: starttls-mysql}
  - {name: passed, sni: [passed.example.test], mode: passthrough, backend: db}
  - {name: sha2, sni: [sha2.example.test], alpn: [teleport-mysql], mode: terminate, backend: sha2}
`

// mysqlPaths are those of the topology that every case takes; hasty is for idle sessions.
var mysqlPaths = []string{scenario.PathDirect, scenario.PathALBHTTPS, scenario.PathALBHTTP, scenario.PathNLBTCP}

// mysqlLab is that topology.
type mysqlLab struct{ *Lab }

// TestMySQLOverEveryPath holds MySQL's protocol, spoken by a real client with a real server, to what it is without anything in between: one
// topology, every path, every case.
func TestMySQLOverEveryPath(t *testing.T) {
	l := mysqlLab{startReal(t, mysqlTopology)}
	cases := []struct {
		name string
		run  func(*testing.T, mysqlLab, string)
	}{
		{"login", mysqlLogin},
		{"the server's own TLS", mysqlOwnTLS},
		{"no name before the greeting", mysqlPassthrough},
		{"prepared", mysqlPrepared},
		{"load data local", mysqlLoadData},
		{"compression", mysqlCompression},
		{"large row", mysqlLargeRow},
		{"kill query", mysqlKill},
	}
	t.Run("paths", func(t *testing.T) { // returns when those that run side by side have
		for _, path := range mysqlPaths {
			t.Run(path, func(t *testing.T) {
				t.Parallel()
				for _, c := range cases {
					t.Run(c.name, func(t *testing.T) { c.run(t, l, path) })
				}
			})
		}
		t.Run("caching_sha2_password", func(t *testing.T) { // one path after the other: the server's memory is one
			t.Parallel()
			for _, path := range mysqlPaths {
				t.Run(path, func(t *testing.T) { mysqlCachingSHA2(t, l, path) })
			}
		})
		t.Run("idle", func(t *testing.T) {
			t.Parallel()
			mysqlIdle(t, l)
		})
	})
}

// dialer is a client of a route.
func (l mysqlLab) dialer(t *testing.T, path, route string) *client.Dialer {
	t.Helper()
	d, err := l.Dialer(path, route)
	if err != nil {
		t.Fatal(err)
	}
	d.Ping = true
	return d
}

// config is of a session with the server of a route. d is the way; nil is for those who set another.
func (l mysqlLab) config(t *testing.T, route string, d *client.Dialer) *mysql.Config {
	t.Helper()
	r, ok := l.route(route)
	if !ok {
		t.Fatalf("no route %s", route)
	}
	a := l.backend(r.Backend).Access
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd, c.DBName = "tcp", "127.0.0.1:1", a.User, a.Password, a.Database
	c.Timeout, c.ReadTimeout, c.WriteTimeout = time.Minute, time.Minute, time.Minute
	c.Logger = &mysql.NopLogger{}
	if d != nil {
		c.DialFunc = d.DialContext
	}
	return c
}

// ownTLS has the client ask the server for TLS and verify its certificate, as far as it is the server's and not the router's.
func (l mysqlLab) ownTLS(t *testing.T, c *mysql.Config) {
	t.Helper()
	authority, err := os.ReadFile(l.backend("db").Access.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		t.Fatal("no certificate of the server's authority")
	}
	c.TLS = &tls.Config{RootCAs: roots, ServerName: "db.example.test", MinVersion: tls.VersionTLS12}
}

// mysqlSession is one connection.
type mysqlSession struct{ *sql.Conn }

func openMySQL(t *testing.T, c *mysql.Config) (mysqlSession, error) {
	t.Helper()
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() }) // the server may have gone first
	conn, err := db.Conn(t.Context())
	if err != nil {
		return mysqlSession{}, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return mysqlSession{conn}, nil
}

// session is one that must come about.
func session(t *testing.T, c *mysql.Config) mysqlSession {
	t.Helper()
	s, err := openMySQL(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// throughLocal is a session by a local port.
func (p *local) mysqlConfig(c *mysql.Config) *mysql.Config {
	c.Addr, c.DialFunc = net.JoinHostPort(p.host, strconv.Itoa(int(p.port))), nil
	return c
}

// value is a query of one value.
func (s mysqlSession) value(t *testing.T, query string, args ...any) string {
	t.Helper()
	var v sql.NullString
	if err := s.QueryRowContext(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%.100s: %v", query, err)
	}
	return v.String
}

// status is one of the session's.
func (s mysqlSession) status(t *testing.T, name string) string {
	t.Helper()
	var v string
	if err := s.QueryRowContext(t.Context(), "SHOW SESSION STATUS LIKE '"+name+"'").Scan(&name, &v); err != nil {
		t.Fatalf("status %s: %v", name, err)
	}
	return v
}

func (s mysqlSession) do(t *testing.T, query string) {
	t.Helper()
	if _, err := s.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%.100s: %v", query, err)
	}
}

// mysqlRefusal is the number of a server's error, or what else went wrong.
func mysqlRefusal(err error) string {
	if refused, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return strconv.Itoa(int(refused.Number))
	}
	return fmt.Sprint(err)
}

// table is a name for a path.
func table(what, path string) string { return what + "_" + strings.ReplaceAll(path, "-", "_") }

// mysqlCounted is a way whose bytes from the server are counted.
func mysqlCounted(d *client.Dialer, count func(int)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &countedReads{conn, count}, nil
	}
}

type countedReads struct {
	net.Conn
	count func(int)
}

func (c *countedReads) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.count(n)
	return n, err
}
