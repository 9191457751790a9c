package bench

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pollable is a TCP connection that can be taken out of the runtime's poller, which wakes a thread of its own for each answer. From
// then on it reads and writes its descriptor itself. It still waits where it is asked to (readiness_linux.go); while
// it is eager it never does: a Read that would is one whose deadline has passed, and what a Write cannot send is kept for flush.
type pollable struct {
	net.Conn // until detach; its addresses after that too
	fd       atomic.Int64
	eager    atomic.Bool

	readBy, writeBy atomic.Int64 // the deadlines in Unix nanoseconds, 0 for none

	mu    sync.Mutex    // guards what follows, and fd while it is in use: a number is soon another file's
	out   []byte        // not sent yet
	woken chan struct{} // for a Read that waits; nil before there was one
	reads int           // that wait
}

// What fd is when it is no descriptor.
const (
	attached int64 = -1 - iota
	closed
)

const (
	// pollSlice is how late a deadline or a Close may be noticed by a Write that waits.
	pollSlice = 20 * time.Millisecond
	// maxOut bounds what waits to be sent: some requests of the largest size.
	maxOut = 4 * maxEcho
)

func newPollable(conn net.Conn) net.Conn {
	if _, ok := conn.(*net.TCPConn); !ok {
		return conn
	}
	c := &pollable{Conn: conn}
	c.fd.Store(attached)
	return c
}

// detach takes the connection out of the runtime's poller, once. Nothing may be reading.
func (c *pollable) detach() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fd := c.fd.Load(); fd != attached {
		if fd == closed {
			return net.ErrClosed
		}
		return nil
	}
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	fd, failed := -1, error(nil)
	if err := raw.Control(func(old uintptr) { fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return err
	}
	if failed != nil {
		return os.NewSyscallError("fcntl", failed)
	}
	if !c.fd.CompareAndSwap(attached, int64(fd)) {
		_ = unix.Close(fd)
		return net.ErrClosed
	}
	return c.Conn.Close() // the descriptor; the connection lives on in its copy
}

func (c *pollable) Read(p []byte) (int, error) {
	if c.fd.Load() == attached {
		return c.Conn.Read(p)
	}
	for {
		n, err := c.try(unix.Read, p)
		switch {
		case err == nil && n == 0 && len(p) > 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		case !errors.Is(err, unix.EAGAIN):
			return 0, c.fault("read", err)
		case c.eager.Load():
			return 0, os.ErrDeadlineExceeded
		}
		if err := c.waitRead(); err != nil {
			return 0, c.fault("read", err)
		}
	}
}

func (c *pollable) Write(p []byte) (int, error) {
	if c.fd.Load() == attached {
		return c.Conn.Write(p)
	}
	for done, err := c.put(p); !done || err != nil; done, err = c.flush() {
		if err == nil && c.eager.Load() {
			break
		}
		if err == nil {
			err = c.waitWrite()
		}
		if err != nil {
			return 0, c.fault("write", err)
		}
	}
	return len(p), nil
}

// put sends p, and keeps what the kernel does not take.
func (c *pollable) put(p []byte) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) == 0 {
		n, err := c.tryLocked(unix.Write, p)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return false, err
		}
		if p = p[max(0, n):]; len(p) == 0 {
			return true, nil
		}
	}
	if len(c.out)+len(p) > maxOut {
		return false, os.ErrDeadlineExceeded
	}
	c.out = append(c.out, p...)
	return false, nil
}

// flush sends what is kept, as far as the kernel takes it.
func (c *pollable) flush() (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > 0 {
		n, err := c.tryLocked(unix.Write, c.out)
		if errors.Is(err, unix.EAGAIN) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		c.out = c.out[:copy(c.out, c.out[n:])]
	}
	return true, nil
}

func (c *pollable) try(call func(int, []byte) (int, error), p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tryLocked(call, p)
}

func (c *pollable) tryLocked(call func(int, []byte) (int, error), p []byte) (int, error) {
	fd := c.fd.Load()
	if fd < 0 {
		return 0, net.ErrClosed
	}
	for {
		n, err := call(int(fd), p)
		if err != unix.EINTR { //nolint:errorlint // the hot loop; a system call's error is bare
			return n, err
		}
	}
}

// waitRead comes back when there is something to read, or something else has changed: one has to look again. The error is that of a
// deadline that has passed, or of a connection that is closed.
func (c *pollable) waitRead() error {
	c.mu.Lock()
	fd := c.fd.Load()
	if fd < 0 {
		c.mu.Unlock()
		return net.ErrClosed
	}
	if c.woken == nil {
		c.woken = make(chan struct{}, 1)
	}
	woken := c.woken
	c.reads++
	err := readable.add(int(fd), woken)
	c.mu.Unlock()
	defer c.forget(fd)
	if err != nil || c.eager.Load() { // eager and the deadline are looked at once the channel is there, or a change would wake nobody
		return err
	}
	var over <-chan time.Time
	if at := c.readBy.Load(); at != 0 {
		left := time.Until(time.Unix(0, at))
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-woken:
	case <-over:
	}
	return nil
}

// forget takes the descriptor back, unless Close has, or has the next one look that waits.
func (c *pollable) forget(fd int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.reads--; {
	case c.reads > 0:
		signal(c.woken)
	case c.fd.Load() == fd:
		readable.remove(int(fd))
	}
}

// setEager wakes who waits when nobody is to wait any more.
func (c *pollable) setEager(eager bool) {
	c.eager.Store(eager)
	c.wake()
}

func (c *pollable) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.woken != nil {
		signal(c.woken)
	}
}

// waitWrite waits by poll(2), for as long as a peer does not read.
func (c *pollable) waitWrite() error {
	for {
		slice := pollSlice
		if at := c.writeBy.Load(); at != 0 {
			left := time.Until(time.Unix(0, at))
			if left <= 0 {
				return os.ErrDeadlineExceeded
			}
			slice = min(slice, left)
		}
		fd := c.fd.Load()
		if fd < 0 {
			return net.ErrClosed
		}
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(ready, int(slice/time.Millisecond)+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
		if n > 0 {
			return nil
		}
	}
}

func (c *pollable) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

func (c *pollable) Close() error {
	if c.fd.CompareAndSwap(attached, closed) {
		return c.Conn.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if fd := c.fd.Swap(closed); fd >= 0 {
		readable.remove(int(fd))
		if c.woken != nil {
			signal(c.woken)
		}
		return os.NewSyscallError("close", unix.Close(int(fd)))
	}
	return net.ErrClosed
}

// CloseWrite ends the sending side.
func (c *pollable) CloseWrite() error {
	if c.fd.Load() == attached {
		return c.Conn.(*net.TCPConn).CloseWrite()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if fd := c.fd.Load(); fd >= 0 {
		return os.NewSyscallError("shutdown", unix.Shutdown(int(fd), unix.SHUT_WR))
	}
	return net.ErrClosed
}

func (c *pollable) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *pollable) SetReadDeadline(t time.Time) error {
	defer c.wake()
	return c.setDeadline(&c.readBy, t, c.Conn.SetReadDeadline)
}

func (c *pollable) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.writeBy, t, c.Conn.SetWriteDeadline)
}

func (c *pollable) setDeadline(by *atomic.Int64, t time.Time, set func(time.Time) error) error {
	at := int64(0)
	if !t.IsZero() {
		at = t.UnixNano()
	}
	by.Store(at)
	switch c.fd.Load() {
	case attached:
		return set(t)
	case closed:
		return net.ErrClosed
	}
	return nil
}
