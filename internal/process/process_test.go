package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	if dir := os.Getenv(orphanVariable); dir != "" {
		makeOrphan(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// shell is a program for the tests of the process code.
func shell(t *testing.T, script string) Command {
	acct, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	return Command{Account: acct, Dir: t.TempDir(), Log: "log", Argv: []string{"/bin/sh", "-c", script}}
}

func TestFailureShowsTheEndOfTheLog(t *testing.T) {
	fails := shell(t, "echo no such luck; exit 3")
	_, _, err := Listen(t.Context(), discard, func(int) Command { return fails }, func(context.Context, string) error { return errors.New("refused") })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("got %v", err)
	}
}

func TestTakenPortIsReplaced(t *testing.T) {
	var thief net.Listener
	tries := 0
	ch, address, err := Listen(t.Context(), discard, func(port int) Command {
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
	if err != nil || tries != 2 || address == "" {
		t.Fatalf("%d tries, address %q: %v", tries, address, err)
	}
	if err := ch.Stop(t.Context(), syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

func TestKillReachesThoseWhoLeftTheGroup(t *testing.T) {
	before := len(Descendants(os.Getpid()))
	stubborn := shell(t, "trap '' INT TERM; setsid sh -c 'trap \"\" TERM; sleep 60 & echo up; wait' & wait; wait")
	ch, err := stubborn.Start(discard)
	if err != nil {
		t.Fatal(err)
	}
	err = ch.Await(t.Context(), func(context.Context) error {
		if text, err := os.ReadFile(filepath.Join(stubborn.Dir, "log")); err != nil || len(text) == 0 {
			return errors.New("not up")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if below := len(Descendants(os.Getpid())); below < before+3 {
		t.Fatalf("only %d processes are up", below-before)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := ch.Stop(ctx, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if left := Descendants(os.Getpid()); len(left) > before {
		t.Errorf("left %v", left)
	}
}

func TestStopTellsThatTheServerWasGone(t *testing.T) {
	brief := shell(t, "read -r line < fifo; echo bye")
	if err := syscall.Mkfifo(filepath.Join(brief.Dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	ch, err := brief.Start(discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(brief.Dir, "fifo"), []byte("go\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	<-ch.done
	if err := ch.Stop(t.Context(), syscall.SIGTERM); err == nil || !strings.Contains(err.Error(), "bye") {
		t.Errorf("got %v", err)
	}
}

// orphanVariable makes the test program one that starts a child, tells its id, and waits to be killed.
const orphanVariable = "TLSROUTE_TEST_ORPHAN"

func makeOrphan(dir string) {
	acct, err := Unprivileged()
	if err != nil {
		fmt.Println(err)
		return
	}
	ch, err := Command{Account: acct, Dir: dir, Log: "log", Argv: []string{"/bin/sleep", "60"}}.Start(discard)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ch.cmd.Process.Pid)
	<-ch.done
}

func TestChildDiesWithItsParent(t *testing.T) {
	dir, err := os.MkdirTemp("", "tlsroute-bench-test-") //nolint:usetesting // other accounts cannot reach t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
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
}
