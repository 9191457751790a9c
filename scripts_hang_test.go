package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// No script outlives its time, and what it was at is named: neither when a descendant that its parent has left keeps a pipe open, nor when
// it has failed before and waits for such a one.
func TestAScriptThatHangsIsEnded(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"in a command": {"exec sh -c 'sleep 1000 & wait'\n", "hangs.txtar:1: test timed out"},
		"in a status":  {"status 0 sh -c 'sleep 1000 & wait'\n", "hangs.txtar:1: context deadline exceeded"},
		"at the end":   {"exec sh -c 'sleep 1000 & wait' &\nexec false\n", "hangs.txtar:2: unexpected command failure"},
		"before":       {"start sleeper sh -c 'sleep 1000 & wait'\nexec false\n", "hangs.txtar:2: unexpected command failure"},
		"left behind":  {"exec sh -c 'sleep 1000 >/dev/null 2>&1 &'\n", "was left running: \"sleep"},
		"in a wait":    {"start early false\nwaitfile nothing\n", "hangs.txtar:2: early ended with status 1 before nothing appears"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "hangs.txtar")
			if err := os.WriteFile(file, []byte(c.script), 0o600); err != nil {
				t.Fatal(err)
			}
			var r recorder
			done := make(chan struct{})
			go func() {
				defer close(done)
				runScript(&r, file, func(beside) scriptCommands { return nil }, 2*time.Second)
			}()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatal("the script goes on")
			}
			if !r.failed || !strings.Contains(r.log.String(), c.want) {
				t.Errorf("failed: %v, want %q in\n%s", r.failed, c.want, &r.log)
			}
		})
	}
}

// recorder is a test that may fail.
type recorder struct {
	failed bool
	log    strings.Builder
}

func (r *recorder) Run(_ string, f func(testscript.T)) { f(r) }
func (r *recorder) Parallel()                          {}
func (r *recorder) Verbose() bool                      { return false }
func (r *recorder) Log(args ...any)                    { fmt.Fprintln(&r.log, args...) }
func (r *recorder) Skip(args ...any)                   { r.Log(args...); runtime.Goexit() }
func (r *recorder) Fatal(args ...any)                  { r.Log(args...); r.FailNow() }
func (r *recorder) FailNow()                           { r.failed = true; runtime.Goexit() }
