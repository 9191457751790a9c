package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// beside are the commands of a script that run beside it, by name. Unlike those of testscript's "&" they can get any signal and have their
// exact status asked for, and what they write goes to files, NAME.out and NAME.err: a pipe would have to be waited for until the last
// descendant that holds it has ended.
type beside map[string]*started

type started struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	seen bool          // by ended
}

func (s *started) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// status is as a shell counts it.
func (s *started) status() int {
	if w, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.cmd.ProcessState.ExitCode()
}

func (b beside) get(ts *testscript.TestScript, name string) *started {
	s, ok := b[name]
	if !ok {
		ts.Fatalf("%q was not started", name)
	}
	return s
}

// wait polls, since what it waits for happens in another process, until one that was to bring it about has ended.
func (b beside) wait(ts *testscript.TestScript, what string, done func() bool) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var ended string
		for name, s := range b {
			if !s.seen && s.over() {
				ended = name
			}
		}
		switch {
		case done():
			return
		case ended != "":
			ts.Fatalf("%s ended with status %d before %s", ended, b[ended].status(), what)
		case time.Now().After(deadline):
			ts.Fatalf("waited a minute until %s", what)
		}
	}
}

func (b beside) start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME command args…")
	}
	name := args[0]
	if s, ok := b[name]; ok && !s.seen {
		ts.Fatalf("%s is there already", name)
	}
	ts.Check(ts.Exec("env", "-0"))          // the one way to the script's environment
	cmd := exec.Command("env", args[1:]...) // finds it in that environment, and becomes it
	cmd.Dir, cmd.Env = ts.MkAbs("."), strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\x00"), "\x00")
	out, err := os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	defer out.Close()
	errs, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	defer errs.Close()
	cmd.Stdout, cmd.Stderr = out, errs
	ts.Check(cmd.Start())
	s := &started{cmd: cmd, done: make(chan struct{})}
	b[name] = s
	go func() {
		defer close(s.done)
		_ = cmd.Wait() // the status says it all
	}()
	ts.Defer(func() { s.end(ts, name) })
}

// end sees to it that a command does not outlive its script.
func (s *started) end(ts *testscript.TestScript, name string) {
	if s.over() {
		return
	}
	_ = s.cmd.Process.Signal(os.Interrupt) // it may have ended
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	select {
	case <-s.done:
	case <-late.C:
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	wrote, err := os.ReadFile(ts.MkAbs(name + ".err"))
	ts.Logf("[%s ended with status %d] %s %v", name, s.status(), wrote, err)
}

func (b beside) signal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal SIGNAL NAME")
	}
	signal, ok := map[string]os.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}[args[0]]
	if !ok {
		ts.Fatalf("signal %s: want INT, TERM, HUP or KILL", args[0])
	}
	ts.Check(b.get(ts, args[1]).cmd.Process.Signal(signal))
}

func (b beside) ended(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ended STATUS NAME")
	}
	s := b.get(ts, args[1])
	s.seen = true // the wait is for this one
	b.wait(ts, args[1]+" ends", s.over)
	checkStatus(ts, args[1], s.status(), args[0])
}
