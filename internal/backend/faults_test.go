package backend

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// answers asks a local server something that only one at work can answer.
func answers(ctx context.Context, r *Running) error {
	return r.Faults.(*localServer).probe(ctx, r.Address)
}

// silent wants a connection to be taken, by the kernel, and nothing to come.
func silent(t *testing.T, r *Running) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := answers(ctx, r); err == nil {
		t.Error("a frozen server answers")
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a frozen server refuses: %v", err)
	}
}

func TestFaultsOfLocalServers(t *testing.T) {
	for _, kind := range []string{Postgres, MySQL, SSH} {
		t.Run(kind, func(t *testing.T) {
			before := process.Descendants(os.Getpid())
			t.Cleanup(func() { // runs last, after the backend's end
				if after := process.Descendants(os.Getpid()); len(after) > len(before) {
					t.Errorf("processes left behind: %v, before: %v", after, before)
				}
			})
			ctx := t.Context()
			r := start(t, Local, kind)
			must := func(what string, err error) {
				t.Helper()
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
			must("pause", r.Faults.Pause(ctx))
			silent(t, r)
			must("resume", r.Faults.Resume(ctx))
			must("after resume", answers(ctx, r))
			must("pause", r.Faults.Pause(ctx))
			must("kill a frozen one", r.Faults.Kill(ctx))
			if c, err := net.Dial("tcp", r.Address); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a killed server: %v, %v", c, err)
			}
			for what, do := range map[string]func(context.Context) error{"kill": r.Faults.Kill, "pause": r.Faults.Pause, "resume": r.Faults.Resume} {
				if err := do(ctx); !errors.Is(err, ErrDown) {
					t.Errorf("%s of a killed server: %v", what, err)
				}
			}
			address := r.Address
			must("restart", r.Faults.Restart(ctx))
			must("restart of one at work", r.Faults.Restart(ctx))
			must("after restart", answers(ctx, r))
			if r.Address != address {
				t.Errorf("it has moved from %s to %s", address, r.Address)
			}
			if kind == MySQL {
				must("kill before the end", r.Faults.Kill(ctx))
			} else {
				must("pause before the end", r.Faults.Pause(ctx))
			}
		})
	}
}

func TestWhatIsEmbeddedHasNoFaults(t *testing.T) {
	for _, kind := range []string{Witness, HTTP, Postgres, MySQL, SSH} {
		if r := start(t, Embedded, kind); r.Faults != nil {
			t.Errorf("%s: %T", kind, r.Faults)
		}
	}
}

// TestADurablePostgresKeepsWhatItConfirmed kills it right behind the confirmation: with synchronous_commit off that row is lost, since
// the log is written up to 600 ms later.
func TestADurablePostgresKeepsWhatItConfirmed(t *testing.T) {
	r, err := Start(t.Context(), Local, Spec{Name: "db", Kind: Postgres, Dir: testDir(t), Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer closeBackend(t, r)
	ask := func(sql string) string {
		t.Helper()
		value, err := askPostgres(t.Context(), r.Address, r.Access.User, r.Access.Password, r.Access.Database, sql)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	ask("CREATE TABLE kept (id int)")
	ask("INSERT INTO kept VALUES (1)")
	if err := r.Faults.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Faults.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows := ask("SELECT count(*) FROM kept"); rows != "1" {
		t.Errorf("%s rows of 1 after a kill", rows)
	}
}
