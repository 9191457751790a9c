package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// tlsSpec is a server with TLS of its own, the authority of its clients, and a certificate of that.
func tlsSpec(t *testing.T) (spec Spec, clients *certs.CA, client tls.Certificate) {
	t.Helper()
	ca, err := certs.NewCA("databases")
	if err != nil {
		t.Fatal(err)
	}
	if clients, err = certs.NewCA("clients"); err != nil {
		t.Fatal(err)
	}
	server, err := ca.Issue(certs.Leaf{CommonName: "db.example.test", DNS: []string{"db.example.test"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	if client, err = clients.Issue(certs.Leaf{CommonName: "tlsroute", Client: true}); err != nil {
		t.Fatal(err)
	}
	return Spec{Name: "db", Kind: Postgres, Dir: testDir(t), Certificate: server, CA: ca.PEM(), ClientCA: clients.PEM()}, clients, client
}

// whoAmI logs in and says as whom, and under which TLS.
func whoAmI(t *testing.T, r *Running, user, password, mode string, certificates ...tls.Certificate) (string, error) {
	t.Helper()
	config, err := pgx.ParseConfig(fmt.Sprintf("postgres://%s@%s/%s?sslmode=%s&sslrootcert=%s", user, r.Address, r.Access.Database, mode, r.Access.CA))
	if err != nil {
		t.Fatal(err)
	}
	config.Password = password
	if config.TLSConfig != nil && len(certificates) > 0 { // shown whatever authority the server names
		config.TLSConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificates[0], nil }
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(t.Context()) }()
	var who string
	err = conn.QueryRow(t.Context(), "SELECT current_user || ' ' || coalesce(version, 'in the clear') || ' ' || coalesce(client_dn, 'without a certificate') "+
		"FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&who)
	return who, err
}

func TestLocalPostgresHasTLSOfItsOwn(t *testing.T) {
	spec, clients, client := tlsSpec(t)
	r, err := Start(t.Context(), Local, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer closeBackend(t, r)
	otherName, err := clients.Issue(certs.Leaf{CommonName: "somebody", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	strangers, err := certs.NewCA("strangers")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := strangers.Issue(certs.Leaf{CommonName: "tlsroute", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	a := r.Access
	for _, c := range []struct {
		name, user, password, mode string
		certificates               []tls.Certificate
		want                       string // who it is, or the code of the refusal, or "ended" by an alert, or by a reset that overtook it
	}{
		{"password, plaintext", a.User, a.Password, "disable", nil, "tlsroute in the clear without a certificate"},
		{"password, TLS", a.User, a.Password, "verify-full", nil, "tlsroute TLSv1.3 without a certificate"},
		{"password and certificate", a.User, a.Password, "verify-full", []tls.Certificate{client}, "tlsroute TLSv1.3 /CN=tlsroute"},
		{"certificate", a.CertUser, "", "verify-full", []tls.Certificate{client}, a.CertUser + " TLSv1.3 /CN=tlsroute"},
		{"wrong password, TLS", a.User, a.Password + "x", "verify-full", []tls.Certificate{client}, "28P01"},
		{"certificate's role without one", a.CertUser, a.Password, "verify-full", nil, "28000"},
		{"certificate's role in plaintext", a.CertUser, a.Password, "disable", nil, "28000"},
		{"certificate for another name", a.CertUser, "", "verify-full", []tls.Certificate{otherName}, "28000"},
		{"certificate of strangers", a.CertUser, "", "verify-full", []tls.Certificate{stranger}, "ended"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := whoAmI(t, r, c.user, c.password, c.mode, c.certificates...)
			var refused *pgconn.PgError
			var ended *net.OpError
			switch {
			case errors.As(err, &refused):
				got = refused.Code
			case errors.As(err, &ended) && (ended.Op == "remote error" || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)):
				got = "ended"
			}
			if got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// fakePostgres is a folder with programs that say their version and do nothing else.
func fakePostgres(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"postgres", "initdb"} {
		script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %s (Debian %[2]s-1)'\n", name, version)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLocalPostgresOfAVersion(t *testing.T) {
	v15, v17, beta := fakePostgres(t, "15.14"), fakePostgres(t, "17.2"), fakePostgres(t, "18beta1")
	t.Setenv(process.SearchVariable, strings.Join([]string{v15, v17, beta}, string(filepath.ListSeparator)))
	for version, dir := range map[string]string{"": v15, "15": v15, "15.14": v15, "17": v17, "18": beta} {
		initdb, postgres, err := postgresPrograms(t.Context(), version)
		if err != nil || postgres != filepath.Join(dir, "postgres") || initdb != filepath.Join(dir, "initdb") {
			t.Errorf("version %q: %s and %s, %v", version, initdb, postgres, err)
		}
	}
	for _, version := range []string{"1", "15.1", "16.4"} {
		err := Available(t.Context(), Local, Spec{Kind: Postgres, Version: version})
		major, _, _ := strings.Cut(version, ".")
		var missing *MissingError
		if !errors.As(err, &missing) || missing.Package != "postgresql-"+major {
			t.Errorf("version %s: %v", version, err)
			continue
		}
		for _, there := range []string{"postgres " + version + " not found", "15.14 in " + v15, "17.2 in " + v17, "18beta1 in " + beta, "--backends embedded"} {
			if !strings.Contains(err.Error(), there) {
				t.Errorf("version %s: %v does not say %q", version, err, there)
			}
		}
	}
}

// TestTwoLocalPostgresSideBySide starts two of one version at once; each has a database, a password and a certificate of its own.
func TestTwoLocalPostgresSideBySide(t *testing.T) {
	var both [2]*Running
	var starting sync.WaitGroup
	for i := range both {
		spec, _, _ := tlsSpec(t)
		spec.Version = "15"
		starting.Go(func() {
			r, err := Start(t.Context(), Local, spec)
			if err != nil {
				t.Error(err)
				return
			}
			both[i] = r
		})
	}
	starting.Wait()
	for i, r := range both {
		if r == nil {
			continue
		}
		t.Cleanup(func() { closeBackend(t, r) })
		if !strings.HasPrefix(r.Info.Version, "15.") {
			t.Errorf("version %s", r.Info.Version)
		}
		if _, err := whoAmI(t, r, r.Access.User, r.Access.Password, "verify-full"); err != nil {
			t.Error(err)
		}
		if other := both[1-i]; other != nil {
			if _, err := whoAmI(t, r, r.Access.User, other.Access.Password, "verify-full"); err == nil {
				t.Error("the other server's password is good here")
			}
		}
	}
}

// TestLocalPostgresOfACallerThatIsNotRoot runs the contract in this program as another account.
func TestLocalPostgresOfACallerThatIsNotRoot(t *testing.T) {
	dir, err := os.MkdirTemp("", "tlsroute-bench-test-") //nolint:usetesting // other accounts cannot reach t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := filepath.Join(dir, "backend.test") // where go test has put it, nobody else gets
	if err := copyFile(program, os.Args[0]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-test.run=^TestContract$/^postgres$/^local$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		err = os.Chown(dir, nobody, nobody)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestContract/postgres/local") {
		t.Errorf("%v\n%s", err, out)
	}
	if os.Geteuid() == 0 && !strings.Contains(string(out), "run as nobody") {
		t.Errorf("somebody else ran it:\n%s", out)
	}
}

const nobody = 65534 // of Debian

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
