package backend

import (
	"bytes"
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
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// readyTimeout bounds the time from a server's start to its first answer, probeTimeout one try, probePause the wait
	// between two.
	readyTimeout = 60 * time.Second
	probeTimeout = 5 * time.Second
	probePause   = 20 * time.Millisecond
	// politeTimeout is how long a server may take to stop before it is killed, if the caller's context allows it.
	politeTimeout = 5 * time.Second
	// portTries is how often a port that somebody else took meanwhile is replaced by another.
	portTries = 4
	// maxTail is how much of a log is shown in an error.
	maxTail = 2 << 10
)

// command is a program to run.
type command struct {
	account account
	dir     string // working directory, also where the log is
	log     string // name of the log file there
	argv    []string
	env     []string // besides PATH, HOME and LC_ALL
}

// child is a running program. It is in a process group of its own, so that a Ctrl-C at the terminal reaches it by our hand
// only, and dies with this process.
type child struct {
	command
	cmd      *exec.Cmd
	logger   *slog.Logger
	stopping atomic.Bool
	done     chan struct{} // closed when the program has ended and err is set
	err      error
}

// start runs a program. One goroutine stays with it, locked to its thread, from start to end: Pdeathsig fires when the
// thread that forked ends, not the process, and a thread that Go owns may end at any time.
func (c command) start(logger *slog.Logger) (*child, error) {
	out, err := os.OpenFile(filepath.Join(c.dir, c.log), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, out, out
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + c.dir, "LC_ALL=C"}, c.env...)
	cmd.SysProcAttr = childAttributes(c.account)
	ch := &child{command: c, cmd: cmd, logger: logger, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ch.err = cmd.Wait()
			if !ch.stopping.Load() {
				logger.Debug("program ended by itself", "program", c.argv[0], "err", ch.err)
			}
			close(ch.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.argv[0], err)
	}
	return ch, nil
}

// run runs a program to its end; ctx kills it.
func (c command) run(ctx context.Context, logger *slog.Logger) error {
	ch, err := c.start(logger)
	if err != nil {
		return err
	}
	ch.stopping.Store(true) // ending by itself is what it should do
	select {
	case <-ch.done:
	case <-ctx.Done():
		ch.kill()
		return fmt.Errorf("run %s: %w", c.argv[0], context.Cause(ctx))
	}
	if ch.err != nil {
		return fmt.Errorf("run %s: %w%s", c.argv[0], ch.err, ch.tail())
	}
	return nil
}

// stop ends the program with a signal and kills it, with all its descendants, when it does not obey in time. Signal 0
// kills at once: that is for a server whose sessions would outlive it.
func (ch *child) stop(ctx context.Context, polite syscall.Signal) error {
	select {
	case <-ch.done:
		return fmt.Errorf("%s had ended by itself: %w%s", ch.argv[0], ch.how(), ch.tail())
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
			ch.logger.Warn("program did not stop, killing it", "program", ch.argv[0], "after", politeTimeout)
		}
	}
	ch.kill()
	return nil
}

// kill ends the program and its descendants at once and waits for it.
func (ch *child) kill() {
	ch.stopping.Store(true)
	select {
	case <-ch.done: // its id may be somebody else's by now
	default:
		killTree(ch.cmd.Process.Pid)
	}
	<-ch.done
}

// how says how the program ended, once done is closed.
func (ch *child) how() error {
	if ch.err == nil {
		return errExit0
	}
	return ch.err
}

var errExit0 = errors.New("exit status 0")

// await calls probe until it succeeds. It gives up when the program ends, when ctx does, or after readyTimeout.
func (ch *child) await(ctx context.Context, probe func(context.Context) error) error {
	all, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready after %v", readyTimeout))
	defer cancel()
	for {
		once, cancel := context.WithTimeout(all, probeTimeout)
		err := probe(once)
		cancel()
		select {
		case <-ch.done:
			return fmt.Errorf("%s ended before it was ready: %w%s", ch.argv[0], ch.how(), ch.tail())
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
			return fmt.Errorf("%s: %w; the last try: %w%s", ch.argv[0], context.Cause(all), err, ch.tail())
		}
	}
}

// tail is the end of the log, to be put behind an error.
func (ch *child) tail() string {
	f, err := os.Open(filepath.Join(ch.dir, ch.log))
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > maxTail {
		_, _ = f.Seek(-maxTail, io.SeekEnd)
	}
	text, _ := io.ReadAll(io.LimitReader(f, maxTail))
	if len(text) == maxTail {
		if _, whole, ok := bytes.Cut(text, []byte{'\n'}); ok {
			text = whole
		}
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return "; its log is empty"
	}
	return "; the end of its log:\n\t" + strings.ReplaceAll(string(bytes.TrimSpace(text)), "\n", "\n\t")
}

// listenOn starts a server on a free port of 127.0.0.1 and waits until probe succeeds at its address. A port is free only
// until somebody takes it: another one is tried then. The stop is added to r.
func listenOn(ctx context.Context, spec Spec, r *Running, polite syscall.Signal, at func(port int) command, probe func(ctx context.Context, address string) error) error {
	for try := 1; ; try++ {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		ch, err := at(address.Port).start(spec.Logger)
		if err != nil {
			return err
		}
		err = ch.await(ctx, func(ctx context.Context) error { return probe(ctx, address.String()) })
		if err == nil {
			r.Address = address.String()
			r.onClose(func(ctx context.Context) error { return ch.stop(ctx, polite) })
			return nil
		}
		ch.kill()
		if try == portTries || ctx.Err() != nil || !taken(address) {
			return err
		}
		spec.Logger.Debug("port was taken meanwhile, trying another", "address", address)
	}
}

func freeAddress() (*net.TCPAddr, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr), nil
}

func taken(address *net.TCPAddr) bool {
	l, err := net.ListenTCP("tcp", address)
	if err != nil {
		return errors.Is(err, syscall.EADDRINUSE)
	}
	_ = l.Close()
	return false
}

// removeAll removes a directory at the end. A server that was just killed may have a descendant that still writes.
func removeAll(dir string) func(context.Context) error {
	return func(context.Context) error {
		var err error
		for range 5 {
			if err = os.RemoveAll(dir); err == nil {
				return nil
			}
		}
		return err
	}
}
