package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// lab is a scenario that is served, and the local proxies to its routes.
type lab struct {
	t         *testing.T
	dir       string // of this test; other accounts reach what is in it
	program   string // tlsroute-bench, when asProgram is set
	readyFile string
	ready     ready

	mu      sync.Mutex // guards proxies
	proxies map[way]func() (port string, err error)
}

// way is what a proxy leads to, by which path.
type way struct{ kind, route, path string }

// ready is what is needed of the file that "serve --ready" writes.
type ready struct {
	Addresses map[string]string
	CA        struct{ Inner, Outer string }
	Client    struct{ Cert, Key string }
	Backends  []access
}

type access struct {
	Name, Driver, Address, User, Password, Database, Identity, Folder string
	HostKey                                                           string `json:"host_key"`
}

func (l *lab) backend(name string) access {
	for _, b := range l.ready.Backends {
		if b.Name == name {
			return b
		}
	}
	panic("the scenario has no backend " + name)
}

// serve brings a scenario up for as long as the test takes, on the backends that backendsVariable names.
func serve(t *testing.T, file string) *lab {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(file, ".yaml") {
		if file, err = filepath.Abs(file); err != nil {
			t.Fatal(err)
		}
	}
	driver := os.Getenv(backendsVariable)
	if driver == "" {
		driver = "local"
	}
	dir, err := os.MkdirTemp("", "trb-clients-") //nolint:usetesting // other accounts cannot reach t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := filepath.Glob(filepath.Join(dir, "tlsroute-bench-*"))
		if err != nil || len(left) > 0 {
			t.Errorf("the lab left behind: %v, %v", left, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, dir: dir, program: self, readyFile: filepath.Join(dir, "ready.json"), proxies: map[way]func() (string, error){}}
	child, err := l.start("serve.log", "serve", file, "--backends", driver, "--ready", l.readyFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		log := l.stop(child)
		if t.Failed() {
			t.Logf("serve said: %s", log)
		}
	})
	err = child.Await(t.Context(), func(context.Context) error {
		data, err := os.ReadFile(l.readyFile)
		if err != nil {
			return err
		}
		return json.Unmarshal(data, &l.ready)
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// start runs tlsroute-bench, which takes its backends along should this process die.
func (l *lab) start(log string, args ...string) (*process.Child, error) {
	self, err := process.Self()
	if err != nil {
		return nil, err
	}
	return process.Command{
		Account: self, Dir: l.dir, Log: log, Argv: append([]string{l.program}, args...), Death: syscall.SIGTERM,
		Env: []string{asProgram + "=1", "TMPDIR=" + l.dir, "GORACE=" + os.Getenv("GORACE")},
	}.Start(slog.New(slog.DiscardHandler))
}

// stopTime bounds the end of a program, which drains and stops its backends.
const stopTime = time.Minute

// stop ends a program politely and returns what it logged, which must not speak of a race.
func (l *lab) stop(child *process.Child) string {
	l.t.Helper()
	select {
	case <-child.Done():
		l.t.Errorf("%s: it ended by itself", child.Log)
	default:
		if err := syscall.Kill(child.PID(), syscall.SIGTERM); err != nil {
			l.t.Error(err)
		}
	}
	late := time.NewTimer(stopTime)
	defer late.Stop()
	select {
	case <-child.Done():
	case <-late.C:
		l.t.Errorf("%s: it has not ended %v after SIGTERM", child.Log, stopTime)
		child.Kill()
	}
	log, err := os.ReadFile(filepath.Join(l.dir, child.Log))
	if err != nil {
		l.t.Error(err)
	}
	if strings.Contains(string(log), "DATA RACE") {
		l.t.Errorf("%s: %s", child.Log, log)
	}
	return string(log)
}

// router is the --router of a path.
func router(path string) string {
	if path == "direct" {
		return "router"
	}
	return path
}

// port is the local port of a proxy, which is started when it is first asked for.
func (l *lab) port(w way) (string, error) {
	l.mu.Lock()
	once := l.proxies[w]
	if once == nil {
		once = sync.OnceValues(func() (string, error) { return l.proxy(w) })
		l.proxies[w] = once
	}
	l.mu.Unlock()
	return once()
}

var (
	listening = regexp.MustCompile(`(?m)^proxy: listening on (\S+)$`)
	// cutOff is what a proxy may say of the sessions that a step has the server end.
	cutOff = regexp.MustCompile(`(?m)^proxy: (listening on|the route cut the connection off) .*\n`)
)

func (l *lab) proxy(w way) (string, error) {
	log := fmt.Sprintf("proxy-%s-%s.log", w.route, w.path)
	child, err := l.start(log, "proxy", w.kind, "--ready-from", l.readyFile, "--router", router(w.path), "--route", w.route)
	if err != nil {
		return "", err
	}
	l.t.Cleanup(func() {
		if said := cutOff.ReplaceAllString(l.stop(child), ""); said != "" {
			l.t.Errorf("%s: %s", log, said)
		}
	})
	var port string
	err = child.Await(l.t.Context(), func(context.Context) error {
		said, err := os.ReadFile(filepath.Join(l.dir, log))
		if err != nil {
			return err
		}
		if found := listening.FindSubmatch(said); found != nil {
			_, port, err = net.SplitHostPort(string(found[1]))
			return err
		}
		return fmt.Errorf("it does not listen yet: %s", said)
	})
	return port, err
}
