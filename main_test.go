package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tlsroute-bench": main, "early-close": earlyClose})
}

// earlyClose is a target that accepts and closes at once; it writes its address to the file it is given and lives until it is
// killed.
func earlyClose() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		err = os.WriteFile(os.Args[1], []byte(l.Addr().String()), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

// TestScripts runs the command line as a person does; a script is a file of testdata/script. Beside the commands of
// testscript there are:
//
//	status N command args…   the command ends with exactly that status; N,M allows either
//	waitfile FILE            waits until FILE exists
//	waitline FILE PATTERN    waits until a line of FILE matches
//	noleft                   no lab has left anything in $TMPDIR
func TestScripts(t *testing.T) { runScripts(t, "testdata/script", nil) }

func runScripts(t *testing.T, dir string, more map[string]func(*testscript.TestScript, bool, []string)) {
	commands := map[string]func(*testscript.TestScript, bool, []string){
		"status": status, "waitfile": waitFile, "waitline": waitLine, "noleft": nothingLeft,
	}
	maps.Copy(commands, more)
	testscript.Run(t, testscript.Params{
		Dir:  dir,
		Cmds: commands,
		// Backends may run as another user, who must be able to reach them: the folders of testscript are for this one only.
		Setup: func(env *testscript.Env) error {
			dir, err := os.MkdirTemp("", "trb-script-") //nolint:usetesting // t.TempDir is below a folder for this user only
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(dir) }) // noleft says what is in it
			env.Setenv("TMPDIR", dir)
			stored, err := filepath.Abs("reports/testdata/run.json")
			if err != nil {
				return err
			}
			env.Setenv("STORED", stored) // a report of before, for the commands that read one
			return os.Chmod(dir, 0o711)
		},
	})
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command args…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if !slices.Contains(strings.Split(args[0], ","), strconv.Itoa(got)) {
		ts.Fatalf("%s ended with status %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

func waitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfile FILE")
	}
	wait(ts, args[0]+" to appear", func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return err == nil
	})
}

func waitLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitline FILE PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	wait(ts, args[0]+" to have "+args[1], func() bool {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && pattern.Match(data)
	})
}

// wait polls: what it waits for happens in another process.
func wait(ts *testscript.TestScript, what string, done func() bool) {
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("waited a minute for %s", what)
		}
	}
}

func nothingLeft(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: noleft")
	}
	left, err := filepath.Glob(filepath.Join(ts.Getenv("TMPDIR"), "*"))
	ts.Check(err)
	if len(left) > 0 {
		ts.Fatalf("left behind: %v", left)
	}
}

// TestVersionAnswersAtOnce guards the start-up time of everything that the binary links (shared/facts/libraries.md, fact
// 6). The best of several starts is taken, since the machine is shared.
func TestVersionAnswersAtOnce(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "tlsroute-bench")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	best := time.Hour
	for range 10 {
		start := time.Now()
		if out, err := exec.CommandContext(t.Context(), binary, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "tlsroute-bench ") {
			t.Fatalf("version: %v\n%s", err, out)
		}
		best = min(best, time.Since(start))
	}
	t.Logf("best of ten starts: %s", best)
	if best > 50*time.Millisecond {
		t.Errorf("version took %s, want at most 50ms: look at GODEBUG=inittrace=1", best)
	}
}
