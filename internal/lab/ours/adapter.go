package ours

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// Waits of our adapter, each well within what a verb may take.
const (
	readyTime = 15 * time.Second
	stopTime  = 10 * time.Second
	lookEvery = 20 * time.Millisecond
)

// daemon is one of our commands, run as a program of its own from a private directory.
type daemon struct {
	program string // this very executable
	command string // router or alb
	dir     string
}

func (d daemon) file(name string) string { return filepath.Join(d.dir, name) }

// start runs the command on a configuration that is there already, and returns its pid and addresses.
func (d daemon) start(ctx context.Context) (pid int, addresses map[string]string, err error) {
	log, err := os.OpenFile(d.file("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, nil, err
	}
	defer log.Close()
	cmd := exec.Command(d.program, d.command, "--config", d.file("config.json"), "--ready", d.file("ready.json"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives this adapter
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its log says why
		close(ended)
	}()
	err = d.await(ctx, readyTime, func() (bool, error) {
		select {
		case <-ended:
			return false, fmt.Errorf("it ended at once: %s", d.tail())
		default:
		}
		raw, err := os.ReadFile(d.file("ready.json"))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		var ready struct{ Addresses map[string]string }
		err = errors.Join(err, json.Unmarshal(raw, &ready))
		addresses = ready.Addresses
		return err == nil, err
	})
	if err != nil {
		_ = cmd.Process.Kill()
		return 0, nil, err
	}
	return cmd.Process.Pid, addresses, os.WriteFile(d.file("pid"), fmt.Appendln(nil, cmd.Process.Pid), 0o600)
}

func (d daemon) await(ctx context.Context, most time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("it is not ready after %v: %s", most, d.tail()))
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (d daemon) tail() string {
	const most = 2 << 10
	raw, _ := os.ReadFile(d.file("log")) // without a log there is nothing to say
	return strings.TrimSpace(string(raw[max(0, len(raw)-most):]))
}

func (d daemon) pid() (pid int, err error) {
	raw, err := os.ReadFile(d.file("pid"))
	if err == nil {
		_, err = fmt.Sscan(string(raw), &pid)
	}
	return pid, err
}

func (d daemon) signal(s syscall.Signal) error {
	pid, err := d.pid()
	if err != nil {
		return fmt.Errorf("nothing was started in %s: %w", d.dir, err)
	}
	return syscall.Kill(pid, s)
}

// reload puts what is in config.json in force: the daemon says in one line what came of it.
func (d daemon) reload(ctx context.Context) error {
	before, err := os.Stat(d.file("log"))
	if err != nil {
		return err
	}
	if err := d.signal(syscall.SIGHUP); err != nil {
		return err
	}
	return d.await(ctx, readyTime, func() (bool, error) {
		raw, err := os.ReadFile(d.file("log"))
		if err != nil {
			return false, err
		}
		for line := range strings.Lines(string(raw[min(len(raw), int(before.Size())):])) {
			if said, ok := strings.CutPrefix(line, "router: "); ok && strings.HasSuffix(line, "\n") {
				if strings.HasPrefix(said, "reloaded") {
					return true, nil
				}
				return false, errors.New(strings.TrimSpace(said))
			}
		}
		return false, nil
	})
}

// stop ends the daemon whatever it is doing.
func (d daemon) stop(ctx context.Context) error {
	pid, err := d.pid()
	if err != nil {
		return nil //nolint:nilerr // nothing was started
	}
	_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	return d.await(ctx, stopTime, func() (bool, error) { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid), nil })
}

// zombie tells a process that has ended and that its parent, whoever that is by now, has not looked after.
func zombie(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, ok := bytes.Cut(raw, []byte(") "))
	return ok && rest[0] == 'Z'
}

// verbs are what router and simulator have in common. write makes config.json of the harness's document.
func (d daemon) verbs(start func(context.Context, door.Request, daemon) (door.Answer, error)) door.Handler {
	at := func(r door.Request) daemon { d.dir = r.Dir; return d }
	return door.Handler{
		"start": func(ctx context.Context, r door.Request) (door.Answer, error) { return start(ctx, r, at(r)) },
		"drain": func(_ context.Context, r door.Request) (door.Answer, error) {
			return door.Answer{}, at(r).signal(syscall.SIGTERM)
		},
		"stop": func(ctx context.Context, r door.Request) (door.Answer, error) { return door.Answer{}, at(r).stop(ctx) },
		"logs": func(_ context.Context, r door.Request) (door.Answer, error) {
			raw, err := os.ReadFile(at(r).file("log"))
			return door.Answer{Text: string(raw[max(0, len(raw)-mostLog/2):])}, err
		},
	}
}

// RouterAdapter is the adapter of our router; program is the path of tlsroute-bench.
func RouterAdapter(program string) door.Handler {
	h := daemon{program: program, command: "router"}.verbs(func(ctx context.Context, r door.Request, d daemon) (door.Answer, error) {
		var doc door.Router
		if err := json.Unmarshal(r.Config, &doc); err != nil {
			return door.Answer{}, err
		}
		if doc.Admin == "" {
			doc.Admin = "127.0.0.1:0"
		}
		if err := d.write(doc); err != nil {
			return door.Answer{}, err
		}
		pid, addresses, err := d.start(ctx)
		return door.Answer{Listen: addresses["router"], Admin: addresses["admin"], PID: pid}, err
	})
	h["describe"] = func(context.Context, door.Request) (door.Answer, error) {
		return door.Answer{Name: "tlsroute-bench", Version: version(), Role: "router", Features: RouterFeatures()}, nil
	}
	h["reload"] = func(ctx context.Context, r door.Request) (door.Answer, error) {
		d := daemon{program: program, command: "router", dir: r.Dir}
		var doc, old door.Router
		raw, err := os.ReadFile(d.file("config.json"))
		if err = errors.Join(err, json.Unmarshal(raw, &old), json.Unmarshal(r.Config, &doc)); err != nil {
			return door.Answer{}, err
		}
		doc.Listen, doc.Admin = old.Listen, old.Admin // the port that was picked is the one that the document left open
		if err := d.write(doc); err != nil {
			return door.Answer{}, err
		}
		return door.Answer{}, d.reload(ctx)
	}
	return h
}

// write makes config.json, if our router can be set up so.
func (d daemon) write(doc door.Router) error {
	if _, err := Config(doc); err != nil {
		return err
	}
	doc.Require = nil
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(d.file("config.json"), raw, 0o600)
}

// version is what this program was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

// pump is the tunnel of a client's adapter: until both sides have ended.
func pump(in io.Reader, out io.Writer, conn io.ReadWriteCloser) error {
	up := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, in)
		if half, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
			err = half.CloseWrite()
		}
		up <- err
	}()
	_, err := io.Copy(out, conn)
	if err != nil {
		// The process ends with a status that says so; whoever waits in the other direction, for input that may never come, ends with it.
		return errors.Join(err, conn.Close())
	}
	if closer, ok := out.(io.Closer); ok {
		err = errors.Join(err, closer.Close())
	}
	return errors.Join(err, <-up, conn.Close())
}
