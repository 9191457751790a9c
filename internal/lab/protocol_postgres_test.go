package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
	"github.com/tlsroute/tlsroute-bench/refimpl/client/proxy"
)

// driverVariable names the driver of the real servers in the protocol tests; local when it is not set. A container of PostgreSQL 17 has what
// this machine's 15 has not.
const driverVariable = "TLSROUTE_TEST_BACKENDS"

// postgresTopology is every way to two servers. The load balancer hasty cuts what has been idle for three seconds, and the router pings often.
const postgresTopology = `
name: postgres
topology:
  paths: [direct, alb-https, alb-http, nlb-tcp, haproxy-alb, hasty]
  router: {upgrade: {ping_interval: 250ms}}
  load_balancers:
    alb: {}
    nlb: {protocol: TCP}
    haproxy: {real: haproxy}
    hasty: {attributes: {idle_timeout.timeout_seconds: 3}}
  chains:
    haproxy-alb: [haproxy, alb]
backends:
  - {name: one, kind: postgres}
  - {name: two, kind: postgres}
routes:
  - {name: one, sni: [one.example.test], alpn: [teleport-postgres], mode: terminate, backend: one}
  - {name: two, sni: [two.example.test], alpn: [teleport-postgres], mode: terminate, backend: two}
  - {name: mtls, sni: [mtls.example.test], alpn: [teleport-postgres], mode: terminate, client_auth: require, backend: one}
  - {name: bridged, sni: [bridged.example.test], alpn: [teleport-postgres], mode: terminate, backend: one, backend_tls: starttls-postgres}
  - {name: own-tls, sni: [own.example.test], mode: passthrough, backend: one, backend_tls: starttls-postgres}
  - {name: at-once, sni: [once.example.test], alpn: [postgresql], mode: passthrough, backend: one}
`

// postgresPaths are those of the topology that every case takes; hasty is for idle sessions.
var postgresPaths = []string{scenario.PathDirect, scenario.PathALBHTTPS, scenario.PathALBHTTP, scenario.PathNLBTCP, "haproxy-alb"}

// postgresLab is that topology.
type postgresLab struct{ *Lab }

// TestPostgresOverEveryPath holds PostgreSQL's protocol, spoken by a real client with a real server, to what it is without anything in
// between: one topology, every path, every case.
func TestPostgresOverEveryPath(t *testing.T) {
	l := postgresLab{startReal(t, postgresTopology)}
	cases := []struct {
		name string
		run  func(*testing.T, postgresLab, string)
	}{
		{"login", postgresLogin},
		{"certificate at the router", postgresRouterCertificate},
		{"the server's own TLS", postgresOwnTLS},
		{"TLS at once", postgresAtOnce},
		{"prepared", postgresPrepared},
		{"copy", postgresCopy},
		{"notify", postgresNotify},
		{"large value", postgresLargeValue},
		{"cancel", postgresCancel},
		{"cancel through the local proxy", postgresCancelThroughProxy},
		{"ended by the server", postgresEndedByServer},
		{"left by the client", postgresLeftByClient},
	}
	t.Run("paths", func(t *testing.T) { // returns when those that run side by side have
		for _, path := range postgresPaths {
			t.Run(path, func(t *testing.T) {
				t.Parallel()
				for _, c := range cases {
					t.Run(c.name, func(t *testing.T) { c.run(t, l, path) })
				}
			})
		}
		t.Run("idle", func(t *testing.T) {
			t.Parallel()
			postgresIdle(t, l)
		})
	})
}

// dialer is a client of a route that change may change; nil for nothing.
func (l postgresLab) dialer(t *testing.T, path, route string, change func(*client.Dialer)) *client.Dialer {
	t.Helper()
	d, err := l.Dialer(path, route)
	if err != nil {
		t.Fatal(err)
	}
	d.Ping = true
	if change != nil {
		change(d)
	}
	return d
}

// config is of a session with the server of a route, as the user with the password and by SCRAM alone. settings go before.
func (l postgresLab) config(t *testing.T, route, settings string) *pgx.ConnConfig {
	t.Helper()
	r, _ := l.route(route)
	a := l.backend(r.Backend).Access
	config, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=1 user=%s password=%s dbname=%s connect_timeout=30 statement_timeout=120s require_auth=scram-sha-256 %s",
		a.User, a.Password, a.Database, settings))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// connect opens a session over d.
func (l postgresLab) connect(t *testing.T, d *client.Dialer, config *pgx.ConnConfig) (*pgx.Conn, error) {
	t.Helper()
	config.DialFunc = d.DialContext
	return open(t, config)
}

func open(t *testing.T, config *pgx.ConnConfig) (*pgx.Conn, error) {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the server may have gone first
	}
	return conn, err
}

// session is one that must come about, plain inside the tunnel.
func (l postgresLab) session(t *testing.T, path, route string) *pgx.Conn {
	t.Helper()
	conn, err := l.connect(t, l.dialer(t, path, route, nil), l.config(t, route, "sslmode=disable"))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// local is a local port that leads to a route, and what its proxy has said.
type local struct {
	host string
	port uint16
	mu   sync.Mutex
	said []string
}

func (p *local) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, line)
}

func (p *local) lines() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.said, "\n")
}

func startProxy(t *testing.T, d *client.Dialer) *local {
	t.Helper()
	cert, err := certs.SelfSigned(certs.Leaf{CommonName: "local", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &local{host: "127.0.0.1", port: uint16(listener.Addr().(*net.TCPAddr).Port)}
	s := &proxy.Server{Kind: proxy.Database, Dialer: d, LocalTLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Say: p.say}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("local proxy: %v", err)
		}
	})
	return p
}

// through opens a session by the local port.
func (p *local) through(t *testing.T, config *pgx.ConnConfig) (*pgx.Conn, error) {
	t.Helper()
	config.Host, config.Port, config.Fallbacks = p.host, p.port, nil
	return open(t, config)
}

// ask is a query of one value.
func ask1[T any](t *testing.T, conn *pgx.Conn, query string, args ...any) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var v T
	if err := conn.QueryRow(ctx, query, args...).Scan(&v); err != nil {
		t.Fatalf("%.100s: %v", query, err)
	}
	return v
}

// refusal is the code of a server that has refused, or what else went wrong.
func refusal(err error) string {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refused.Code
	}
	return fmt.Sprint(err)
}

// major is the 15 of "15.14 (Debian 15.14-0+deb12u1)".
func (l postgresLab) major(t *testing.T, name string) int {
	t.Helper()
	version := l.backend(name).Info.Version
	text, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("version %q: %v", version, err)
	}
	return n
}
