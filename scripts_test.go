package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

type scriptCommands = map[string]func(*testscript.TestScript, bool, []string)

// scriptTime bounds one script: the longest takes half a minute, and ten times that where other tests take the machine.
const scriptTime = 10 * time.Minute

// TestScripts runs the command line as a person does; a script is a file of testdata/script. Beside the commands of
// testscript there are:
//
//	status N command args…   the command ends with exactly that status; N,M allows either
//	start NAME command args… a command runs beside the script; it writes NAME.out and NAME.err
//	signal SIGNAL NAME       it gets the signal
//	ended N NAME             it ends with exactly that status, as a shell counts signals; N,M allows either
//	norace                   from here on tlsroute-bench is without the race detector, which makes the bench six times as dear, and late
//	waitfile FILE            waits until FILE exists
//	waitline FILE PATTERN    waits until a line of FILE matches
//	noleft                   no lab has left anything in $TMPDIR
//
// The waits end at once when a command beside the script does.
func TestScripts(t *testing.T) {
	runScripts(t, "testdata/script", func(beside) scriptCommands { return nil })
}

func runScripts(t *testing.T, dir string, more func(beside) scriptCommands) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in %s: %v", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			runScript(script{t}, file, more, scriptTime)
		})
	}
}

// script is a test that is one script's already, and beside others already, so that a script's time counts from its own start.
type script struct{ *testing.T }

func (s script) Run(_ string, f func(testscript.T)) { f(s) }
func (s script) Parallel()                          {}
func (s script) Verbose() bool                      { return testing.Verbose() }

// runScript runs one script, which fails at the line where it is when nine tenths of its time are over (testscript keeps the rest for what
// then has to end). When all of it is, what the script has started is killed: a script that has failed waits for it.
func runScript(t testscript.T, file string, more func(beside) scriptCommands, limit time.Duration) {
	b := beside{}
	commands := scriptCommands{
		"status": status, "norace": noRace, "start": b.start, "signal": b.signal, "ended": b.ended,
		"waitfile": b.waitFile, "waitline": b.waitLine, "noleft": nothingLeft,
	}
	maps.Copy(commands, more(b))
	// Backends may run as another user, who must be able to reach them: the folders of testscript are for this one only.
	dir, err := os.MkdirTemp("", "trb-script-") //nolint:usetesting // t.TempDir is below a folder for this user only
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }() // noleft says what is in it
		err = os.Chmod(dir, 0o711)
	}
	stored, absErr := filepath.Abs("reports/testdata/run.json")
	if err = errors.Join(err, absErr); err != nil {
		t.Fatal(err)
	}
	mark := "TMPDIR=" + dir
	defer killAll(mark)
	func() {
		defer endAfter(limit, mark)()
		testscript.RunT(t, testscript.Params{
			Files:    []string{file},
			Cmds:     commands,
			Deadline: time.Now().Add(limit),
			Setup: func(env *testscript.Env) error {
				env.Setenv("TMPDIR", dir)
				env.Setenv("STORED", stored) // a report of before, for the commands that read one
				// The race detector keeps every program for a second when it ends, and scripts start hundreds.
				if env.Getenv("GORACE") == "" {
					env.Setenv("GORACE", "atexit_sleep_ms=10")
				}
				return nil
			},
		})
	}()
	noneLeft(t, mark)
}

// noneLeft fails a script that passed and left a process behind. Those whose parent was killed are killed by the system, a moment later.
func noneLeft(t testscript.T, mark string) {
	left := processes(mark)
	for deadline := time.Now().Add(10 * time.Second); len(left) > 0 && time.Now().Before(deadline); left = processes(mark) {
		time.Sleep(10 * time.Millisecond)
	}
	for _, pid := range left {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		t.Log(fmt.Sprintf("process %d was left running: %q %v", pid, line, err))
	}
	if len(left) > 0 {
		t.FailNow()
	}
}

// endAfter kills, once the time is over, every process that has the variable in its environment. What it returns calls that off.
func endAfter(limit time.Duration, variable string) (stop func()) {
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		over := time.NewTimer(limit)
		defer over.Stop()
		select {
		case <-stopped:
		case <-over.C:
			killAll(variable)
		}
	}()
	return func() { close(stopped); <-done }
}

// killAll kills until none is left, since they may be starting others.
func killAll(variable string) {
	for pids := processes(variable); len(pids) > 0; pids = processes(variable) {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may just have ended
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// processes are those that have the variable in their environment, whoever their parent is by now. One that has ended has none.
func processes(variable string) (pids []int) {
	environments, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is in order
	for _, file := range environments {
		data, err := os.ReadFile(file)
		if err != nil || !slices.Contains(strings.Split(string(data), "\x00"), variable) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func noRace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: norace")
	}
	dir, err := plain()
	ts.Check(err)
	ts.Setenv("PATH", dir+string(filepath.ListSeparator)+ts.Getenv("PATH"))
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
	checkStatus(ts, strings.Join(args[1:], " "), got, args[0])
}

func checkStatus(ts *testscript.TestScript, what string, got int, want string) {
	if !slices.Contains(strings.Split(want, ","), strconv.Itoa(got)) {
		ts.Fatalf("%s ended with status %d, want %s", what, got, want)
	}
}

func (b beside) waitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfile FILE")
	}
	b.wait(ts, args[0]+" appears", func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return err == nil
	})
}

func (b beside) waitLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitline FILE PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	b.wait(ts, args[0]+" has "+args[1], func() bool {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && pattern.Match(data)
	})
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
