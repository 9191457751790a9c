package backend

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
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
	r, err := Start(ctx, driver, Spec{Name: kind, Kind: kind, Dir: testDir(t)})
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

func postgresURL(r *Running) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", r.Access.User, r.Access.Password, r.Address, r.Access.Database)
}

// mysqlSeriesSQL means the same to MariaDB, MySQL and the embedded server.
const mysqlSeriesSQL = "WITH RECURSIVE s(n) AS (SELECT ? UNION ALL SELECT n+1 FROM s WHERE n < ?) SELECT n, MD5(n) FROM s"

func TestWitnessHasOneDriverForAll(t *testing.T) {
	r := start(t, Local, Witness)
	if r.Info.Driver != Embedded || r.Witness == nil {
		t.Fatalf("got %+v", r.Info)
	}
}
