//go:build docker

package container_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/ssh"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

// authority signs servers and clients of these tests.
var authority = sync.OnceValues(func() (*certs.CA, error) { return certs.NewCA("test") })

func issue(t *testing.T, leaf certs.Leaf) tls.Certificate {
	t.Helper()
	ca, err := authority()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func clients(t *testing.T) tls.Certificate {
	return issue(t, certs.Leaf{CommonName: "tlsroute", Client: true})
}

// start starts a container that has TLS of its own. A missing engine or image fails the test with the next step.
func start(t *testing.T, kind, image string) (*backend.Running, *x509.CertPool) {
	t.Helper()
	cert := issue(t, certs.Leaf{CommonName: "server", DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	ca, err := authority()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	r, err := backend.Start(ctx, backend.Container, backend.Spec{
		Name: "it", Kind: kind, Image: image, Dir: t.TempDir(), Certificate: cert, CA: ca.PEM(), ClientCA: ca.PEM(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, r) })
	t.Logf("ready in %v: %s %s of %s %s", r.Ready.Round(time.Millisecond), r.Info.Product, r.Info.Version, r.Info.Image, r.Info.ImageDigest)
	return r, ca.Pool()
}

func closeIt(t *testing.T, r *backend.Running) {
	t.Helper()
	if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// Each image is run by the same code, says itself what it is, and leaves nothing.
func TestEveryImageServesOverTLSAndLeavesNothing(t *testing.T) {
	for _, c := range []struct {
		kind, image, product, version string
		use                           func(*testing.T, *backend.Running, *x509.CertPool)
	}{
		{backend.Postgres, "", "PostgreSQL", "17.", usePostgres},
		{backend.Postgres, "tlsroute-bench/postgres:15", "PostgreSQL", "15.", usePostgres},
		{backend.MySQL, "", "", "", useMySQL},
		{backend.SSH, "", "OpenSSH", "9.2", useSSH},
	} {
		t.Run(c.kind+" "+c.image, func(t *testing.T) {
			t.Parallel()
			r, roots := start(t, c.kind, c.image)
			if r.Info.Product == "" || r.Info.Version == "" || r.Info.Note == "" || !strings.HasPrefix(r.Info.Product, c.product) || !strings.HasPrefix(r.Info.Version, c.version) {
				t.Errorf("it says of itself %+v", r.Info)
			}
			if !strings.HasPrefix(r.Info.ImageDigest, "sha256:") || c.image != "" && r.Info.Image != c.image {
				t.Errorf("image %s, digest %s", r.Info.Image, r.Info.ImageDigest)
			}
			_, port, err := net.SplitHostPort(r.Address)
			if err != nil || !strings.HasPrefix(r.Address, "127.0.0.1:") {
				t.Fatalf("it is at %s", r.Address)
			}
			mine := docker(t, "ps", "--all", "--filter", "label=org.tlsroute-bench.run", "--filter", "publish="+port, "--format", "{{.ID}} {{.Ports}}")
			id, ports, _ := strings.Cut(mine, " ")
			if strings.Contains(mine, "\n") || !strings.Contains(ports, r.Address+"->") || strings.Contains(ports, "0.0.0.0") || strings.Contains(ports, ":::") {
				t.Fatalf("containers of port %s: %q", port, mine)
			}
			c.use(t, r, roots)
			if log, err := r.Log(t.Context()); err != nil || len(log) == 0 {
				t.Errorf("its log is %q, %v", log, err)
			}
			closeIt(t, r)
			if left := docker(t, "ps", "--all", "--quiet", "--filter", "id="+id); left != "" {
				t.Errorf("container %s is left", left)
			}
			if c, err := net.DialTimeout("tcp", r.Address, time.Second); err == nil {
				c.Close()
				t.Error("something still listens after Close")
			}
		})
	}
}

func usePostgres(t *testing.T, r *backend.Running, roots *x509.CertPool) {
	config, err := pgx.ParseConfig("postgres://" + r.Address + "/" + r.Access.Database + "?sslmode=verify-full&sslrootcert=" + r.Access.CA)
	if err != nil {
		t.Fatal(err)
	}
	config.User, config.Password, config.TLSConfig.RootCAs = r.Access.User, r.Access.Password, roots
	usePostgresByCertificate(t, r, config.Copy())
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	var encrypted, super bool
	err = conn.QueryRow(t.Context(), "SELECT s.ssl, u.usesuper FROM pg_stat_ssl s, pg_user u WHERE s.pid = pg_backend_pid() AND u.usename = current_user").Scan(&encrypted, &super)
	if err != nil || !encrypted || super {
		t.Errorf("encrypted %t, superuser %t, %v", encrypted, super, err)
	}
}

// usePostgresByCertificate has no password.
func usePostgresByCertificate(t *testing.T, r *backend.Running, config *pgx.ConnConfig) {
	config.User, config.Password = r.Access.CertUser, ""
	if conn, err := pgx.ConnectConfig(t.Context(), config); err == nil {
		_ = conn.Close(t.Context())
		t.Error("without a certificate it lets the certificate's user in")
	}
	config.TLSConfig.Certificates = []tls.Certificate{clients(t)}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	var user string
	if err := conn.QueryRow(t.Context(), "SELECT current_user").Scan(&user); err != nil || user != r.Access.CertUser {
		t.Errorf("by its certificate it is %q, %v", user, err)
	}
}

func useMySQL(t *testing.T, r *backend.Running, roots *x509.CertPool) {
	config := mysql.NewConfig()
	config.Net, config.Addr, config.User, config.Passwd, config.DBName = "tcp", r.Address, r.Access.User, r.Access.Password, r.Access.Database
	config.TLS = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	var name, cipher string
	if err := db.QueryRowContext(t.Context(), "SHOW STATUS LIKE 'Ssl_cipher'").Scan(&name, &cipher); err != nil || cipher == "" {
		t.Errorf("cipher %q, %v", cipher, err)
	}
}

func useSSH(t *testing.T, r *backend.Running, _ *x509.CertPool) {
	client, err := ssh.Dial("tcp", r.Address, &ssh.ClientConfig{
		User: r.Access.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(r.Access.ClientKey)}, HostKeyCallback: ssh.FixedHostKey(r.Access.HostKey),
		HostKeyAlgorithms: []string{r.Access.HostKey.Type()}, Timeout: 10 * time.Second, // else it would show its certificate
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := session.Output("echo it answers; id -un"); err != nil || string(out) != "it answers\n"+r.Access.User+"\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

// Lines of configuration reach the server, or what is wrong with them the caller.
func TestConfigurationReachesSSHD(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := backend.Start(ctx, backend.Container, backend.Spec{Name: "it", Kind: backend.SSH, Dir: t.TempDir(), Config: []string{"NoSuchKeyword yes"}})
	if err == nil {
		closeIt(t, r)
		t.Fatal("it starts whatever its configuration")
	}
	if !strings.Contains(err.Error(), "NoSuchKeyword") || !strings.Contains(err.Error(), "ended with status") {
		t.Error(err)
	}
}

// The programs of an image for another processor do not run here; the engine notices at the start.
func TestAnImageOfAnotherArchitectureIsSaidToBeOne(t *testing.T) {
	const tag = "tlsroute-bench-test/other:1"
	load := exec.CommandContext(t.Context(), "docker", "import", "--change", `ENTRYPOINT ["/program"]`, "-", tag)
	load.Stdin = strings.NewReader(otherArchitecture(t))
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("docker import: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("docker", "image", "rm", tag).CombinedOutput(); err != nil {
			t.Errorf("docker image rm: %v\n%s", err, out)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := backend.Start(ctx, backend.Container, backend.Spec{Name: "it", Kind: backend.SSH, Image: tag, Dir: t.TempDir()})
	if err == nil {
		closeIt(t, r)
		t.Fatal("it runs")
	}
	if !strings.Contains(err.Error(), "which this engine (linux/") || !strings.Contains(err.Error(), "exec format error") {
		t.Error(err)
	}
}
