package lab

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// realPostgres starts the PostgreSQL of this machine, which does TLS by itself, under a certificate of ca for name.
func realPostgres(t *testing.T, ca *certs.CA, name string) *backend.Running {
	t.Helper()
	parent, err := os.MkdirTemp("", "trb-postgres-") //nolint:usetesting // t.TempDir is below a folder for this user only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	leaf, err := ca.Issue(certs.Leaf{CommonName: name, DNS: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := backend.Start(t.Context(), backend.Local, backend.Spec{Name: "pg", Kind: backend.Postgres, Dir: parent, Certificate: leaf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// psql runs the real client with settings, as a user of pg.
func psql(t *testing.T, pg *backend.Running, settings, query string) (stdout, stderr *bytes.Buffer, cmd *exec.Cmd) {
	t.Helper()
	a := pg.Access
	cmd = exec.CommandContext(t.Context(), "psql", "-XAtc", query, settings+" user="+a.User+" dbname="+a.Database+" connect_timeout=20")
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Env = append(os.Environ(), "PGPASSWORD="+a.Password, "PGCHANNELBINDING=require", // to the server's own TLS
		"PGOPTIONS=-c statement_timeout=60s")
	return stdout, stderr, cmd
}

// TestRealPostgresBehindAPassthroughRoute has psql verify the server's own certificate through a router that answered its
// SSLRequest, and cancel a query: the request, which has no name, reaches the server of plaintext.postgres.
func TestRealPostgresBehindAPassthroughRoute(t *testing.T) {
	ca, err := certs.NewCA("databases")
	if err != nil {
		t.Fatal(err)
	}
	pg := realPostgres(t, ca, "pg.example.test")
	other := realPostgres(t, ca, "other.example.test")
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	route := func(name string, r *backend.Running) router.Route {
		return router.Route{
			Name: name, SNI: []string{name + ".example.test"}, ALPN: []string{"postgresql"}, Mode: router.ModePassthrough,
			Backend: router.Backend{Address: r.Address},
		}
	}
	addr := startRouter(t, router.Config{
		Listen: "127.0.0.1:0", Routes: []router.Route{route("other", other), route("pg", pg)}, Plaintext: router.Plaintext{Postgres: "pg"},
	})
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	settings := func(host, mode string) string {
		return "host=" + host + " hostaddr=127.0.0.1 port=" + port + " sslmode=" + mode + " sslrootcert=" + caFile
	}
	const who = "select current_setting('port'), ssl, version from pg_stat_ssl where pid = pg_backend_pid()"
	for host, server := range map[string]*backend.Running{"pg.example.test": pg, "other.example.test": other} {
		_, own, _ := net.SplitHostPort(server.Address)
		out, says, cmd := psql(t, server, settings(host, "verify-full"), who)
		if err := cmd.Run(); err != nil || out.String() != own+"|t|TLSv1.3\n" {
			t.Errorf("%s: %q, %v, %s; want port %s, under TLS", host, out, err, says, own)
		}
	}
	// An address is no name: it leads to the route of plaintext.postgres.
	_, own, _ := net.SplitHostPort(pg.Address)
	out, says, cmd := psql(t, pg, settings("127.0.0.1", "verify-ca"), who)
	if err := cmd.Run(); err != nil || out.String() != own+"|t|TLSv1.3\n" {
		t.Errorf("without a name: %q, %v, %s; want port %s, under TLS", out, err, says, own)
	}
	_, says, cmd = psql(t, pg, settings("127.0.0.1", "verify-full"), who)
	if err := cmd.Run(); err == nil || !strings.Contains(says.String(), "does not match host name") {
		t.Errorf("a certificate for another name: %v, %s", err, says)
	}

	_, says, cmd = psql(t, pg, settings("pg.example.test", "verify-full"), "select pg_sleep(300)")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	const active = "select count(*) from pg_stat_activity where query = 'select pg_sleep(300)' and state = 'active'"
	waitUntil(t, "the query to run", func() bool {
		out, _, ask := psql(t, pg, settings("pg.example.test", "verify-full"), active)
		return ask.Run() == nil && out.String() == "1\n"
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(says.String(), "canceling statement due to user request") {
		t.Errorf("the cancelled query: %v, %s", err, says)
	}
}

// TestPsqlBehindTheLocalPortReachesAServerUnderTLS: such a server offers a login that is bound to its TLS, which ends in the router.
func TestPsqlBehindTheLocalPortReachesAServerUnderTLS(t *testing.T) {
	ca, err := certs.NewCA("databases")
	if err != nil {
		t.Fatal(err)
	}
	const name = "pg.example.test"
	pg := realPostgres(t, ca, name)
	dir := t.TempDir()
	caFile := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(certs.Leaf{CommonName: name, DNS: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := certs.WritePEM(dir, "router", leaf)
	if err != nil {
		t.Fatal(err)
	}
	addr := startRouter(t, router.Config{
		Listen: "127.0.0.1:0", Certificates: []router.Certificate{{Cert: cert, Key: key}},
		Routes: []router.Route{{
			Name: "pg", SNI: []string{name}, ALPN: []string{"postgresql"}, Mode: router.ModeTerminate,
			Backend: router.Backend{Address: pg.Address, TLS: router.StartTLSPostgres, CA: caFile, ServerName: name},
		}},
	})
	t.Setenv("PGPASSWORD", pg.Access.Password)
	var out, says bytes.Buffer
	err = Proxy{
		Kind: "db", Router: addr, SNI: name, ALPN: []string{"postgresql"}, OuterCA: caFile, InnerCA: caFile, Upgrade: "direct", Listen: "127.0.0.1:0",
		Exec: []string{
			"psql", "-XAtc", "select ssl from pg_stat_ssl where pid = pg_backend_pid()", "-U", pg.Access.User, "-d", pg.Access.Database,
		},
		Stdout: &out, Stderr: &says, Warn: t.Logf,
	}.Run(t.Context())
	if err != nil || out.String() != "t\n" {
		t.Errorf("%q, %v, %s", out.String(), err, says.String())
	}
}

// waitUntil polls: what it waits for happens in another process.
func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// startRouter serves until the end of the test.
func startRouter(t *testing.T, c router.Config) (addr string) {
	t.Helper()
	r, err := router.New(c, router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := r.Listen(ctx); err != nil {
		cancel()
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("router: %v", err)
		}
	})
	return r.Addr().String()
}
