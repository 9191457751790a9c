// Package process runs the programs of others as children of this one: servers behind the router, load balancers before it.
//
// A child runs in a directory of the caller's, as an unprivileged account where the caller is root, in a process group of its
// own, and dies with this process. Programs are looked for in PATH and where Debian puts them; with TLSROUTE_BACKEND_PATH set, in
// its folders only. A missing one is a [*MissingError] that names the Debian package. Every wait has a bound.
package process

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// ReadyTimeout bounds the time from a server's start to its first answer, probeTimeout one try, probePause the wait
	// between two.
	ReadyTimeout = 60 * time.Second
	probeTimeout = 5 * time.Second
	probePause   = 20 * time.Millisecond
	// politeTimeout is how long a server may take to stop before it is killed, if the caller's context allows it.
	politeTimeout = 5 * time.Second
	// portTries is how often a port that somebody else took meanwhile is replaced by another.
	portTries = 4
	// maxTail is how much of a log is shown in an error.
	maxTail = 2 << 10
)

// Command is a program to run.
type Command struct {
	Account Account
	Dir     string // working directory, also where the log is
	Log     string // name of the log file there
	Argv    []string
	Env     []string // besides PATH, HOME and LC_ALL
	// Death is the signal that the program gets should this process die first; SIGKILL when 0. One with children of its own wants one by
	// which it ends them too.
	Death syscall.Signal
}

// Child is a running program. It is in a process group of its own, so that a Ctrl-C at the terminal reaches it by our hand
// only, and dies with this process.
type Child struct {
	Command
	cmd      *exec.Cmd
	logger   *slog.Logger
	stopping atomic.Bool
	done     chan struct{} // closed when the program has ended and err is set
	err      error
}

// Start runs a program. One goroutine stays with it, locked to its thread, from start to end: Pdeathsig fires when the
// thread that forked ends, not the process, and a thread that Go owns may end at any time.
func (c Command) Start(logger *slog.Logger) (*Child, error) {
	out, err := os.OpenFile(filepath.Join(c.Dir, c.Log), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, out, out
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + c.Dir, "LC_ALL=C"}, c.Env...)
	cmd.SysProcAttr = childAttributes(c.Account, cmp.Or(c.Death, syscall.SIGKILL))
	ch := &Child{Command: c, cmd: cmd, logger: logger, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ch.err = cmd.Wait()
			if !ch.stopping.Load() {
				logger.Debug("program ended by itself", "program", c.Argv[0], "err", ch.err)
			}
			close(ch.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Argv[0], err)
	}
	return ch, nil
}

// Run runs a program to its end; ctx kills it.
func (c Command) Run(ctx context.Context, logger *slog.Logger) error {
	ch, err := c.Start(logger)
	if err != nil {
		return err
	}
	ch.stopping.Store(true) // ending by itself is what it should do
	select {
	case <-ch.done:
	case <-ctx.Done():
		ch.Kill()
		return fmt.Errorf("run %s: %w", c.Argv[0], context.Cause(ctx))
	}
	if ch.err != nil {
		return fmt.Errorf("run %s: %w%s", c.Argv[0], ch.err, ch.tail())
	}
	return nil
}

// Stop ends the program with a signal and kills it, with all its descendants, when it does not obey in time. Signal 0
// kills at once: that is for a server whose sessions would outlive it.
func (ch *Child) Stop(ctx context.Context, polite syscall.Signal) error {
	select {
	case <-ch.done:
		return fmt.Errorf("%s had ended by itself: %w%s", ch.Argv[0], ch.how(), ch.tail())
	default:
	}
	ch.stopping.Store(true)
	if polite != 0 && ctx.Err() == nil && ch.cmd.Process.Signal(polite) == nil {
		late := time.NewTimer(politeTimeout)
		defer late.Stop()
		select {
		case <-ch.done:
			return nil
		case <-ctx.Done():
		case <-late.C:
			ch.logger.Warn("program did not stop, killing it", "program", ch.Argv[0], "after", politeTimeout)
		}
	}
	ch.Kill()
	return nil
}

// Kill ends the program and its descendants at once and waits for it.
func (ch *Child) Kill() {
	ch.stopping.Store(true)
	select {
	case <-ch.done: // its id may be somebody else's by now
	default:
		killTree(ch.cmd.Process.Pid)
	}
	<-ch.done
}

// Pause freezes the program with its descendants until Resume. Should this process be killed meanwhile, descendants that are not of its
// process group stay as they are.
func (ch *Child) Pause() error { return ch.tree(func(root int) { stopTree(root) }) }

// Resume lets what was paused go on.
func (ch *Child) Resume() error { return ch.tree(contTree) }

// tree does something to the program and its descendants while it lives.
func (ch *Child) tree(do func(root int)) error {
	select {
	case <-ch.done: // its id may be somebody else's by now
		return fmt.Errorf("%s had ended by itself: %w%s", ch.Argv[0], ch.how(), ch.tail())
	default:
	}
	do(ch.cmd.Process.Pid)
	return nil
}

// PID is the program's process id.
func (ch *Child) PID() int { return ch.cmd.Process.Pid }

// Done is closed when the program has ended.
func (ch *Child) Done() <-chan struct{} { return ch.done }

// how says how the program ended, once done is closed.
func (ch *Child) how() error {
	if ch.err == nil {
		return errExit0
	}
	return ch.err
}

var errExit0 = errors.New("exit status 0")

// Await calls probe until it succeeds. It gives up when the program ends, when ctx does, or after ReadyTimeout.
func (ch *Child) Await(ctx context.Context, probe func(context.Context) error) error {
	all, cancel := context.WithTimeoutCause(ctx, ReadyTimeout, fmt.Errorf("not ready after %v", ReadyTimeout))
	defer cancel()
	for {
		once, cancel := context.WithTimeout(all, probeTimeout)
		err := probe(once)
		cancel()
		select {
		case <-ch.done:
			return fmt.Errorf("%s ended before it was ready: %w%s", ch.Argv[0], ch.how(), ch.tail())
		default:
		}
		if err == nil {
			return nil
		}
		pause := time.NewTimer(probePause)
		select {
		case <-pause.C:
		case <-ch.done:
			pause.Stop()
		case <-all.Done():
			pause.Stop()
			return fmt.Errorf("%s: %w; the last try: %w%s", ch.Argv[0], context.Cause(all), err, ch.tail())
		}
	}
}

// LogEnd is the end of the program's log, no more than size bytes and whole lines.
func (c Command) LogEnd(size int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(c.Dir, c.Log))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > size {
		_, _ = f.Seek(-size, io.SeekEnd)
	}
	text, err := io.ReadAll(io.LimitReader(f, size))
	if int64(len(text)) == size {
		if _, whole, ok := bytes.Cut(text, []byte{'\n'}); ok {
			text = whole
		}
	}
	return text, err
}

// tail is the end of the log, to be put behind an error.
func (ch *Child) tail() string {
	text, err := ch.LogEnd(maxTail)
	if err != nil && len(text) == 0 {
		return ""
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return "; its log is empty"
	}
	return "; the end of its log:\n\t" + strings.ReplaceAll(string(bytes.TrimSpace(text)), "\n", "\n\t")
}

// Listen starts a server on a free port of 127.0.0.1 and waits until probe succeeds at its address. The caller stops the child.
func Listen(ctx context.Context, logger *slog.Logger, at func(port int) Command, probe func(ctx context.Context, address string) error) (*Child, string, error) {
	first := func(addresses []*net.TCPAddr) Command { return at(addresses[0].Port) }
	var address string
	ch, err := ListenAt(ctx, logger, 1, first, func(ctx context.Context, addresses []*net.TCPAddr) error {
		address = addresses[0].String()
		return probe(ctx, address)
	})
	return ch, address, err
}

// ListenAt is Listen for a server with several ports. A port is free only until somebody takes it: others are tried then.
func ListenAt(ctx context.Context, logger *slog.Logger, ports int, at func([]*net.TCPAddr) Command, probe func(context.Context, []*net.TCPAddr) error) (*Child, error) {
	for try := 1; ; try++ {
		addresses, err := freeAddresses(ports)
		if err != nil {
			return nil, err
		}
		ch, err := at(addresses).Start(logger)
		if err != nil {
			return nil, err
		}
		err = ch.Await(ctx, func(ctx context.Context) error { return probe(ctx, addresses) })
		if err == nil {
			return ch, nil
		}
		ch.Kill()
		if try == portTries || ctx.Err() != nil || !slices.ContainsFunc(addresses, taken) {
			return nil, err
		}
		logger.Debug("a port was taken meanwhile, trying others", "addresses", addresses)
	}
}

// freeAddresses are ports of 127.0.0.1, no two the same, that are free until somebody takes them.
func freeAddresses(n int) ([]*net.TCPAddr, error) {
	free := make([]*net.TCPAddr, n)
	for i := range free {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		free[i] = l.Addr().(*net.TCPAddr)
	}
	return free, nil
}

func taken(address *net.TCPAddr) bool {
	l, err := net.ListenTCP("tcp", address)
	if err != nil {
		return errors.Is(err, syscall.EADDRINUSE)
	}
	_ = l.Close()
	return false
}
