package bench

import (
	"errors"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loop sends the requests of some tunnels and takes their answers on the one thread that paces them: while nothing is due it waits
// for the next instant and for the answers at once, by epoll. A worker for each request costs a thread's wake-up for its arrival and one
// for its answer, and leaves the runtime's scheduler to look for work after each. A tunnel that the loop cannot read by itself, or that
// broke in this window, is the workers'.
//
// The thread has no higher priority than others: on a machine that is full it would be late less often, and what it measures starved.
type loop struct {
	w       *window
	slots   []slot
	workers *crew
	fd      int                // of epoll
	events  [8]unix.EpollEvent // few, so that what falls due meanwhile is not kept waiting long
	flying  int
}

// loopRate is how many requests a second one loop has at the most, as long as there are processors: half of them, for two that share
// the work of one send smaller batches, at half as much again of processor time, and what is measured may be on the same machine.
const loopRate = 25000

// newLoops are the loops over the tunnels of an arm for one window of open loop, shared out by a tunnel's number modulo theirs; none
// where the first tunnel is not of that kind.
func (r *run) newLoops(a *armState) (loops []*loop) {
	slots := r.active(a)
	if r.w.Mode == ModeClosed || len(slots) == 0 || slots[0].tunnel == nil || !slots[0].tunnel.poll() {
		return nil
	}
	for range min(1+int(r.w.peak()/loopRate), max(1, runtime.GOMAXPROCS(0)/2), len(slots)) {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			break
		}
		l := &loop{slots: slots, fd: fd}
		if loops = append(loops, l); l.wait(0) != nil { // epoll_pwait2 is of Linux 5.11, and not of every container
			endLoops(loops, nil)
			return nil
		}
	}
	for i := range slots {
		if t := slots[i].tunnel; len(loops) > 0 && t != nil && t.poll() {
			event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(i)}
			t.polled.setEager(unix.EpollCtl(loops[i%len(loops)].fd, unix.EPOLL_CTL_ADD, int(t.polled.fd.Load()), &event) == nil)
		}
	}
	return loops
}

// poll takes the tunnel out of the runtime's poller, if that can be done.
func (t *tunnel) poll() bool {
	if t.polled != nil {
		return true
	}
	halves, ok := t.sess.(splitter)
	if !ok {
		return false
	}
	c := pollableUnder(t.conn)
	if c == nil || c.detach() != nil {
		return false
	}
	t.polled, t.halves = c, halves
	return true
}

// send takes the arrivals of a tunnel that nobody is on.
func (l *loop) send(s *slot) {
	for {
		t := s.tunnel
		if t == nil || t.polled == nil || !t.polled.eager.Load() {
			l.workers.send(s)
			return
		}
		a, ok := s.pop()
		if !ok {
			s.settle()
			return
		}
		if err := l.w.ctx.Err(); err != nil {
			l.w.neverSent(a, err)
			continue
		}
		s.flying, s.sent = a, l.w.now()
		if err := t.halves.Start(); err != nil {
			l.w.finish(a, s.sent, err, t.sess, l.w.steady, l.w.service)
			s.abort()
			continue
		}
		s.inFlight = true
		l.flying++
		return
	}
}

// take looks at what has come of an answer. When it is whole or wrong, or waiting is over, the tunnel is free for the next.
func (l *loop) take(s *slot, over bool) {
	if !s.inFlight {
		return // what comes unasked is in front of the next answer
	}
	_, err := s.tunnel.polled.flush()
	if err == nil {
		err = s.tunnel.halves.Finish()
	}
	if !over && errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	s.inFlight = false
	l.flying--
	l.w.finish(s.flying, s.sent, err, s.tunnel.sess, l.w.steady, l.w.service)
	if err != nil {
		s.abort()
	}
	l.send(s)
}

// until waits for answers to that instant of the window at the latest, and takes those that are there.
func (l *loop) until(offset time.Duration) { _ = l.wait(max(0, offset-l.w.now())) } // EINTR comes back early, by the runtime's own signals

func (l *loop) wait(d time.Duration) error {
	at := unix.NsecToTimespec(int64(d))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.fd), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)),
		uintptr(unsafe.Pointer(&at)), 0, 0)
	if errno != 0 {
		return errno
	}
	for _, e := range l.events[:n] {
		l.take(&l.slots[e.Fd], false)
	}
	return nil
}

// drain waits for what is under way, until the drain time is over.
func (l *loop) drain(index, of int) {
	for l.flying > 0 && l.w.ctx.Err() == nil {
		l.until(l.w.now() + pollSlice)
	}
	for i := index; i < len(l.slots); i += of {
		l.take(&l.slots[i], true)
	}
}

// endLoops ends the loops of a window that is over, and has the tunnels wait again where they are asked to.
func endLoops(loops []*loop, slots []slot) {
	for _, l := range loops {
		_ = unix.Close(l.fd)
	}
	for i := range slots {
		if t := slots[i].tunnel; t != nil && t.polled != nil {
			t.polled.setEager(false)
		}
	}
}
