package backend

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/tlsroute/tlsroute-bench/internal/process"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testDir is a folder that the accounts of local backends can reach, unlike t.TempDir.
func testDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tlsroute-bench-test-") //nolint:usetesting // other accounts cannot reach t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// start starts a backend and ends it with the test. A missing program is a failure that names the package.
func start(t *testing.T, driver, kind string) *Running {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	spec := Spec{Name: kind, Kind: kind, Dir: testDir(t)}
	if kind == Kube {
		certify(t, &spec)
	}
	r, err := Start(ctx, driver, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBackend(t, r) })
	t.Logf("ready in %v: %s %s at %s (%s)", r.Ready.Round(time.Millisecond), r.Info.Product, r.Info.Version, r.Address, r.Info.Note)
	return r
}

func closeBackend(t *testing.T, r *Running) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestContract holds every driver of every kind to the same requests and the same answers, asked by the real clients.
func TestContract(t *testing.T) {
	contracts := map[string]func(*testing.T, *Running){
		Witness: witnessContract, Postgres: postgresContract, MySQL: mysqlContract, SSH: sshContract, HTTP: httpContract, Kube: kubeContract,
	}
	for _, kind := range Kinds() {
		contract := contracts[kind]
		if contract == nil {
			t.Errorf("kind %s has no contract", kind)
			continue
		}
		for _, driver := range Drivers(kind) {
			t.Run(kind+"/"+driver, func(t *testing.T) {
				before := process.Descendants(os.Getpid())
				t.Cleanup(func() { // runs last, after the backend's end
					if after := process.Descendants(os.Getpid()); len(after) > len(before) {
						t.Errorf("processes left behind: %v, before: %v", after, before)
					}
				})
				r := start(t, driver, kind)
				if r.Info.Name != kind || r.Info.Kind != kind || r.Info.Driver != driver || r.Info.Product == "" || r.Info.Version == "" || r.Info.Note == "" {
					t.Errorf("incomplete info %+v", r.Info)
				}
				if host, _, _ := net.SplitHostPort(r.Address); host != "127.0.0.1" {
					t.Errorf("listens on %s", r.Address)
				}
				contract(t, r)
				closeBackend(t, r)
				if c, err := net.DialTimeout("tcp", r.Address, time.Second); err == nil {
					c.Close()
					t.Error("still listens after Close")
				}
			})
		}
	}
}

func TestWitnessHasOneDriverForAll(t *testing.T) {
	r := start(t, Local, Witness)
	if r.Info.Driver != Embedded || r.Witness == nil {
		t.Fatalf("got %+v", r.Info)
	}
}

func witnessContract(t *testing.T, r *Running) {
	c, err := net.Dial("tcp", r.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := witness.Ask(c, witness.Order{Nonce: "contract", Do: witness.Close}); err != nil {
		t.Fatal(err)
	}
	if rec, err := r.Witness.Wait(t.Context(), "contract", false); err != nil || rec.Witness != Witness {
		t.Fatalf("record %+v, %v", rec, err)
	}
}

func httpContract(t *testing.T, r *Running) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.Address+"/app/x?y=1", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var seen Seen
	if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil {
		t.Fatal(err)
	}
	if seen.Backend != HTTP || seen.Method != http.MethodPost || seen.Path != "/app/x?y=1" || seen.Host != r.Address || seen.Proto != "HTTP/1.1" ||
		seen.Header.Get("X-Forwarded-For") != "192.0.2.1" || !strings.HasPrefix(seen.Remote, "127.0.0.1:") {
		t.Errorf("got %+v", seen)
	}
	if req, err = http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.Address+"/", bytes.NewReader(make([]byte, maxBody+1))); err != nil {
		t.Fatal(err)
	}
	if resp, err = transport.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body beyond the bound: %s", resp.Status)
	}
}

func postgresURL(r *Running) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", r.Access.User, r.Access.Password, r.Address, r.Access.Database)
}

type numbered struct {
	N   int
	Sum string
}

func series(from, to int) []numbered {
	var rows []numbered
	for n := from; n <= to; n++ {
		sum := md5.Sum([]byte(strconv.Itoa(n)))
		rows = append(rows, numbered{n, hex.EncodeToString(sum[:])})
	}
	return rows
}

func postgresContract(t *testing.T, r *Running) {
	for name, mode := range map[string]pgx.QueryExecMode{
		"cached statements": pgx.QueryExecModeCacheStatement, "described": pgx.QueryExecModeDescribeExec,
		"text parameters": pgx.QueryExecModeExec, "simple protocol": pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(name, func(t *testing.T) {
			config, err := pgx.ParseConfig(postgresURL(r))
			if err != nil {
				t.Fatal(err)
			}
			config.DefaultQueryExecMode = mode
			ctx := t.Context()
			conn, err := pgx.ConnectConfig(ctx, config)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(ctx) }()
			if err := conn.Ping(ctx); err != nil {
				t.Fatalf("ping: %v", err)
			}
			var one int
			if err := conn.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil || one != 1 {
				t.Fatalf("SELECT 1: %d, %v", one, err)
			}
			var version string
			if err := conn.QueryRow(ctx, "SELECT version()").Scan(&version); err != nil || version == "" {
				t.Fatalf("version: %q, %v", version, err)
			}
			for _, want := range []string{"", "it's\n\"1\" \\ $1 -- é", strings.Repeat("x", 1<<20)} {
				var got string
				if err := conn.QueryRow(ctx, "SELECT $1::text", want).Scan(&got); err != nil || got != want {
					t.Fatalf("%.40q came back as %.40q, %v", want, got, err)
				}
			}
			for _, want := range []int{0, -1, 1<<31 - 1, -1 << 31} {
				var got int
				if err := conn.QueryRow(ctx, "SELECT $1::int", want).Scan(&got); err != nil || got != want {
					t.Fatalf("%d came back as %d, %v", want, got, err)
				}
			}
			for _, bounds := range [][2]int{{1, 1000}, {-3, 3}, {5, 4}, {7, 7}} {
				rows, err := conn.Query(ctx, "SELECT g, md5(g::text) FROM generate_series($1::int, $2::int) AS g", bounds[0], bounds[1])
				if err != nil {
					t.Fatal(err)
				}
				got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[numbered])
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(series(bounds[0], bounds[1]), got); diff != "" && len(got) > 0 || len(got) != max(0, bounds[1]-bounds[0]+1) {
					t.Fatalf("series %v: %d rows\n%s", bounds, len(got), diff)
				}
			}
			var refused *pgconn.PgError
			if _, err := conn.Exec(ctx, "SELECT nothing FROM nowhere"); !errors.As(err, &refused) || len(refused.Code) != 5 {
				t.Fatalf("nonsense: %v", err)
			}
			if err := conn.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
				t.Fatalf("the session does not survive an error: %v", err)
			}
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		config, err := pgx.ParseConfig(postgresURL(r))
		if err != nil {
			t.Fatal(err)
		}
		config.Password += "x"
		_, err = pgx.ConnectConfig(t.Context(), config)
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "28P01" {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("cancel request", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), postgresURL(r))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		if err := conn.PgConn().CancelRequest(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := conn.Ping(t.Context()); err != nil {
			t.Fatalf("after a cancel of nothing: %v", err)
		}
	})
}

// mysqlSeriesSQL means the same to MariaDB, MySQL and the embedded server.
const mysqlSeriesSQL = "WITH RECURSIVE s(n) AS (SELECT ? UNION ALL SELECT n+1 FROM s WHERE n < ?) SELECT n, MD5(n) FROM s"

func mysqlContract(t *testing.T, r *Running) {
	open := func(password string) *sql.DB {
		config := mysql.NewConfig()
		config.Net, config.Addr, config.User, config.Passwd, config.DBName = "tcp", r.Address, r.Access.User, password, r.Access.Database
		config.InterpolateParams = true
		connector, err := mysql.NewConnector(config)
		if err != nil {
			t.Fatal(err)
		}
		db := sql.OpenDB(connector)
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	ctx, db := t.Context(), open(r.Access.Password)
	if err := db.PingContext(ctx); err != nil {
		t.Fatalf("ping: %v", err)
	}
	var one int
	if err := db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil || one != 1 {
		t.Fatalf("SELECT 1: %d, %v", one, err)
	}
	for _, query := range []string{"SELECT VERSION()", "SELECT @@version"} {
		var version string
		if err := db.QueryRowContext(ctx, query).Scan(&version); err != nil || version == "" {
			t.Fatalf("%s: %q, %v", query, version, err)
		}
	}
	if _, err := db.ExecContext(ctx, "SET NAMES utf8mb4"); err != nil {
		t.Fatal(err)
	}
	want := "it's\n\"1\" \\ ? -- é"
	var got string
	if err := db.QueryRowContext(ctx, "SELECT ?", want).Scan(&got); err != nil || got != want {
		t.Fatalf("%q came back as %q, %v", want, got, err)
	}
	for _, bounds := range [][2]int{{1, 1000}, {-3, 3}, {7, 7}} {
		rows, err := db.QueryContext(ctx, mysqlSeriesSQL, bounds[0], bounds[1])
		if err != nil {
			t.Fatal(err)
		}
		var got []numbered
		for rows.Next() {
			var row numbered
			if err := rows.Scan(&row.N, &row.Sum); err != nil {
				t.Fatal(err)
			}
			got = append(got, row)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(series(bounds[0], bounds[1]), got); diff != "" {
			t.Fatalf("series %v: %s", bounds, diff)
		}
	}
	var refused *mysql.MySQLError
	if _, err := db.ExecContext(ctx, "SELECT FROM WHERE"); !errors.As(err, &refused) || refused.Number != 1064 {
		t.Fatalf("nonsense: %v", err)
	}
	if err := open("wrong").PingContext(ctx); !errors.As(err, &refused) || refused.Number != 1045 {
		t.Fatalf("wrong password: %v", err)
	}
}

func sshContract(t *testing.T, r *Running) {
	dial := func(key ssh.Signer) (*ssh.Client, error) {
		return ssh.Dial("tcp", r.Address, &ssh.ClientConfig{
			User: r.Access.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(r.Access.HostKey), Timeout: 10 * time.Second,
			HostKeyAlgorithms: []string{r.Access.HostKey.Type()},
		})
	}
	client, err := dial(r.Access.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	file := make([]byte, 1<<20)
	rand.Read(file)
	sum := sha256.Sum256(file)
	for command, want := range map[string]struct {
		stdin  []byte
		stdout string
		status int
	}{
		"cat":                    {file, string(file), 0},
		"sha256sum":              {file, hex.EncodeToString(sum[:]) + "  -\n", 0},
		"true":                   {nil, "", 0},
		"echo one  two/3.4":      {nil, "one two/3.4\n", 0},
		"no-such-program-at-all": {nil, "", 127},
	} {
		session, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		session.Stdin, session.Stdout = bytes.NewReader(want.stdin), &out
		err = session.Run(command)
		status := 0
		if exit := (*ssh.ExitError)(nil); errors.As(err, &exit) {
			status, err = exit.ExitStatus(), nil
		}
		if err != nil || status != want.status || sha256.Sum256(out.Bytes()) != sha256.Sum256([]byte(want.stdout)) {
			t.Errorf("%s: status %d, %d bytes, want %d bytes: %v", command, status, out.Len(), len(want.stdout), err)
		}
		_ = session.Close()
	}
	if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Errorf("keepalive is not answered: %v", err)
	}
	stranger, _, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := dial(stranger); err == nil {
		_ = c.Close()
		t.Error("a key that nobody knows was let in")
	}
	identity, err := os.ReadFile(r.Access.IdentityFile)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(r.Access.IdentityFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("identity file: %v, %v", info.Mode(), err)
	}
	fromFile, err := ssh.ParsePrivateKey(identity)
	if err != nil {
		t.Fatal(err)
	}
	again, err := dial(fromFile)
	if err != nil {
		t.Fatalf("with the identity file: %v", err)
	}
	// A session that runs on must not outlive the backend.
	session, err := again.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.StdinPipe(); err != nil { // keeps cat waiting
		t.Fatal(err)
	}
	if err := session.Start("cat"); err != nil {
		t.Fatal(err)
	}
	closeBackend(t, r)
	if err := session.Wait(); err == nil {
		t.Error("cat ended well though its server is gone")
	}
	_ = again.Close()
}
