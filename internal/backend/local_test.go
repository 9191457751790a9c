package backend

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

func TestMissingProgramNamesTheDebianPackage(t *testing.T) {
	t.Setenv(process.SearchVariable, t.TempDir())
	for kind, pkg := range map[string]string{Postgres: "postgresql", MySQL: "mariadb-server", SSH: "openssh-server"} {
		r, err := Start(t.Context(), Local, Spec{Name: "db", Kind: kind, Dir: testDir(t)})
		if err == nil {
			closeBackend(t, r)
			t.Fatalf("%s started without its program", kind)
		}
		var missing *MissingError
		if !errors.As(err, &missing) || missing.Package != pkg || !strings.HasSuffix(missing.Error(), "not found: install the Debian package "+pkg+", or use --backends embedded") {
			t.Errorf("%s: %v", kind, err)
		}
		if err := Available(t.Context(), Local, Spec{Kind: kind}); !errors.As(err, &missing) {
			t.Errorf("%s is available: %v", kind, err)
		}
	}
}

func TestAvailableHere(t *testing.T) {
	for _, kind := range Kinds() {
		for _, driver := range []string{Embedded, Local} {
			if err := Available(t.Context(), driver, Spec{Kind: kind}); err != nil {
				t.Errorf("%s %s: %v", driver, kind, err)
			}
		}
	}
}

func TestStartRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, c := range []struct{ driver, kind, want string }{
		{Embedded, "redis", `no backend kind "redis": there are http, kube, mysql, postgres, ssh, witness`},
		{"container", Postgres, `no driver "container" for postgres: there are embedded, local`},
	} {
		_, err := Start(t.Context(), c.driver, Spec{Name: "b", Kind: c.kind})
		if err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s %s: %v", c.driver, c.kind, err)
		}
	}
}

func TestRegisteringTwicePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it did not")
		}
	}()
	Register(Driver{Kind: Postgres, Name: Local})
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	for kind, after := range map[string]time.Duration{Postgres: 300 * time.Millisecond, MySQL: 200 * time.Millisecond, SSH: 5 * time.Millisecond} {
		before := len(process.Descendants(os.Getpid()))
		dir := testDir(t) // complains about what is left in it
		ctx, cancel := context.WithTimeout(t.Context(), after)
		r, err := Start(ctx, Local, Spec{Name: kind, Kind: kind, Dir: dir})
		cancel()
		if err == nil {
			closeBackend(t, r)
			t.Fatalf("%s was ready in %v", kind, after)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", kind, err)
		}
		if now := process.Descendants(os.Getpid()); len(now) > before {
			t.Errorf("%s left processes %v", kind, now)
		}
	}
}

func TestLocalBackendStartsBelowAFolderThatBarsIt(t *testing.T) {
	parent, err := os.MkdirTemp("", "tlsroute-bench-test-") //nolint:usetesting // the mode, 0700, is what this is about
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(parent) }()
	dir := filepath.Join(parent, "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := Start(t.Context(), Local, Spec{Name: "ssh", Kind: SSH, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	used := filepath.Dir(r.Access.IdentityFile)
	closeBackend(t, r)
	if _, err := os.Stat(used); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", used, err)
	}
	if info, err := os.Stat(parent); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder above was opened: %v, %v", info.Mode(), err)
	}
}

func TestCloseWithoutTimeKillsAndCleansUp(t *testing.T) {
	before := len(process.Descendants(os.Getpid()))
	r, err := Start(t.Context(), Local, Spec{Name: "pg", Kind: Postgres, Dir: testDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), postgresURL(r))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Close(now); err != nil {
		t.Error(err)
	}
	if left := process.Descendants(os.Getpid()); len(left) > before {
		t.Errorf("left processes %v", left)
	}
}
