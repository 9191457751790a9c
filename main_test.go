package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"tlsroute-bench": main, "early-close": earlyClose})
}

// plain is the folder of a tlsroute-bench that was built without the race detector.
var plain func() (string, error)

type tests struct{ *testing.M }

func (t tests) Run() int {
	dir, err := os.MkdirTemp("", "trb-plain-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the system, in the end
	plain = sync.OnceValues(func() (string, error) {
		out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "tlsroute-bench"), ".").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build: %w: %s", err, out)
		}
		return dir, nil
	})
	return t.M.Run()
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

// TestVersionAnswersAtOnce guards the start-up time of everything that the binary links (shared/facts/libraries.md, fact
// 6). The best of several starts is taken, since the machine is shared.
func TestVersionAnswersAtOnce(t *testing.T) {
	dir, err := plain()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "tlsroute-bench")
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
