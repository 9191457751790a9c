package bench

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// readiness wakes those who wait for a descriptor that is not in the runtime's poller, by an epoll of its own that is. To wait by poll(2)
// instead keeps one of the runtime's processors until its monitor takes it away, up to 10 ms later: the idle tunnels of one arm then stall
// what another arm's window measures. Its goroutine lives while somebody waits.
type readiness struct {
	mu      sync.Mutex // guards what follows
	epoll   *os.File   // nil while nobody waits
	waiting map[int]chan<- struct{}
	ended   chan struct{} // closed when the goroutine is over
}

// readable is for all pollable connections.
var readable readiness

// add has the channel receive when the descriptor can be read or is at its end, once.
func (r *readiness) add(fd int, woken chan<- struct{}) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoll == nil {
		if err := r.startLocked(); err != nil {
			return err
		}
	}
	op := unix.EPOLL_CTL_ADD
	if _, again := r.waiting[fd]; again {
		op = unix.EPOLL_CTL_MOD
	}
	if err := r.control(op, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd)}); err != nil {
		return err
	}
	r.waiting[fd] = woken
	return nil
}

// remove forgets a descriptor that is still open, and ends the goroutine when it was the last.
func (r *readiness) remove(fd int) {
	r.mu.Lock()
	if _, ok := r.waiting[fd]; !ok {
		r.mu.Unlock()
		return
	}
	_ = r.control(unix.EPOLL_CTL_DEL, fd, nil)
	delete(r.waiting, fd)
	ended := r.ended
	over := len(r.waiting) == 0
	if over {
		_ = r.epoll.SetReadDeadline(past)
		r.epoll = nil
	}
	r.mu.Unlock()
	if over {
		<-ended
	}
}

func (r *readiness) control(op, fd int, event *unix.EpollEvent) error {
	raw, err := r.epoll.SyscallConn()
	if err != nil {
		return err
	}
	failed := error(nil)
	if err := raw.Control(func(epoll uintptr) { failed = unix.EpollCtl(int(epoll), op, fd, event) }); err != nil {
		return err
	}
	return os.NewSyscallError("epoll_ctl", failed)
}

func (r *readiness) startLocked() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // without it the runtime's poller does not take it
		_ = unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	epoll := os.NewFile(uintptr(fd), "epoll")
	if err := epoll.SetReadDeadline(time.Time{}); err != nil {
		_ = epoll.Close()
		return err
	}
	r.epoll, r.waiting, r.ended = epoll, map[int]chan<- struct{}{}, make(chan struct{})
	go r.run(epoll, r.ended)
	return nil
}

// run ends with the deadline that remove sets.
func (r *readiness) run(epoll *os.File, ended chan<- struct{}) {
	defer close(ended)
	defer epoll.Close()
	raw, err := epoll.SyscallConn()
	if err != nil {
		return
	}
	var events [64]unix.EpollEvent
	_ = raw.Read(func(fd uintptr) bool {
		for {
			n, err := unix.EpollWait(int(fd), events[:], 0)
			r.wake(events[:max(0, n)])
			if n < len(events) && err != unix.EINTR { //nolint:errorlint // a system call's error is bare
				return false // until there are more
			}
		}
	})
}

func (r *readiness) wake(events []unix.EpollEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if woken, ok := r.waiting[int(e.Fd)]; ok {
			signal(woken)
		}
	}
}

// signal is for channels with room for one: who has been woken and has not looked yet will look.
func signal(woken chan<- struct{}) {
	select {
	case woken <- struct{}{}:
	default:
	}
}
