package backend

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestMissingProgramNamesTheDebianPackage(t *testing.T) {
	t.Setenv(searchVariable, t.TempDir())
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
		if err := Available(Local, kind); !errors.As(err, &missing) {
			t.Errorf("%s is available: %v", kind, err)
		}
	}
}

func TestAvailableHere(t *testing.T) {
	for _, kind := range Kinds() {
		for _, driver := range []string{Embedded, Local} {
			if err := Available(driver, kind); err != nil {
				t.Errorf("%s %s: %v", driver, kind, err)
			}
		}
	}
}

func TestStartRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, c := range []struct{ driver, kind, want string }{
		{Embedded, "redis", `no backend kind "redis": there are mysql, postgres, ssh, witness`},
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
	register(driver{kind: Postgres, name: Local})
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	for kind, after := range map[string]time.Duration{Postgres: 300 * time.Millisecond, MySQL: 200 * time.Millisecond, SSH: 5 * time.Millisecond} {
		before := len(descendants(os.Getpid()))
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
		if now := descendants(os.Getpid()); len(now) > before {
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
	before := len(descendants(os.Getpid()))
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
	if left := descendants(os.Getpid()); len(left) > before {
		t.Errorf("left processes %v", left)
	}
}

// shell is a program for the tests of the process code.
func shell(t *testing.T, script string) command {
	acct, err := self()
	if err != nil {
		t.Fatal(err)
	}
	return command{account: acct, dir: t.TempDir(), log: "log", argv: []string{"/bin/sh", "-c", script}}
}

func discarding() Spec {
	spec := Spec{}
	spec.Logger = logDiscard
	return spec
}

func TestFailureShowsTheEndOfTheLog(t *testing.T) {
	r := &Running{}
	fails := shell(t, "echo no such luck; exit 3")
	err := listenOn(t.Context(), discarding(), r, syscall.SIGTERM, func(int) command { return fails }, func(context.Context, string) error { return errors.New("refused") })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("got %v", err)
	}
}

func TestTakenPortIsReplaced(t *testing.T) {
	r := &Running{}
	var thief net.Listener
	tries := 0
	err := listenOn(t.Context(), discarding(), r, syscall.SIGTERM, func(port int) command {
		if tries++; tries > 1 {
			return shell(t, "exec sleep 60")
		}
		var err error
		if thief, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err != nil {
			t.Fatal(err)
		}
		return shell(t, "exit 1")
	}, func(context.Context, string) error {
		if tries == 1 {
			return errors.New("somebody else answers")
		}
		return nil
	})
	if thief != nil {
		thief.Close()
	}
	if err != nil || tries != 2 || r.Address == "" {
		t.Errorf("%d tries, address %q: %v", tries, r.Address, err)
	}
	closeBackend(t, r)
}

func TestKillReachesThoseWhoLeftTheGroup(t *testing.T) {
	before := len(descendants(os.Getpid()))
	stubborn := shell(t, "trap '' INT TERM; setsid sh -c 'trap \"\" TERM; sleep 60 & echo up; wait' & wait; wait")
	ch, err := stubborn.start(logDiscard)
	if err != nil {
		t.Fatal(err)
	}
	err = ch.await(t.Context(), func(context.Context) error {
		if text, err := os.ReadFile(filepath.Join(stubborn.dir, "log")); err != nil || len(text) == 0 {
			return errors.New("not up")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if below := len(descendants(os.Getpid())); below < before+3 {
		t.Fatalf("only %d processes are up", below-before)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := ch.stop(ctx, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if left := descendants(os.Getpid()); len(left) > before {
		t.Errorf("left %v", left)
	}
}

func TestCloseTellsThatTheServerWasGone(t *testing.T) {
	r := &Running{}
	brief := shell(t, "read -r line < fifo; echo bye")
	if err := syscall.Mkfifo(filepath.Join(brief.dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	ch, err := brief.start(logDiscard)
	if err != nil {
		t.Fatal(err)
	}
	r.onClose(func(ctx context.Context) error { return ch.stop(ctx, syscall.SIGTERM) })
	if err := os.WriteFile(filepath.Join(brief.dir, "fifo"), []byte("go\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	<-ch.done
	if err := r.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "bye") {
		t.Errorf("got %v", err)
	}
}

// orphanVariable makes the test program one that starts a child, tells its id, and waits to be killed.
const orphanVariable = "TLSROUTE_TEST_ORPHAN"

func makeOrphan(dir string) {
	acct, err := unprivileged()
	if err != nil {
		fmt.Println(err)
		return
	}
	ch, err := command{account: acct, dir: dir, log: "log", argv: []string{"/bin/sleep", "60"}}.start(logDiscard)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ch.cmd.Process.Pid)
	<-ch.done
}

func TestChildDiesWithItsParent(t *testing.T) {
	dir := testDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), orphanVariable+"="+dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, convErr := strconv.Atoi(strings.TrimSpace(line))
	if killErr := parent.Process.Kill(); err != nil || convErr != nil || killErr != nil {
		t.Fatalf("child %q: %v, %v", line, err, killErr)
	}
	_ = parent.Wait() // killed
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(goneInterval) {
		if _, state, ok := processStat(pid); !ok || state == 'Z' {
			break
		}
		if time.Now().After(end) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the child outlived its parent")
		}
	}
	if err := os.Remove(filepath.Join(dir, "log")); err != nil {
		t.Error(err)
	}
}
