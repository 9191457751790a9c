package splice

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller is one epoll instance and the goroutine that serves its tunnels. Sockets are watched edge-triggered: what an event said holds
// until a call comes back short.
type poller struct {
	loop    *Loop
	epoll   int
	file    *os.File // has the descriptor of epoll
	ready   syscall.RawConn
	wake    int // an eventfd
	scratch [bufferSize]byte
	pipes   pipePool

	mu      sync.Mutex // guards what follows
	pairs   []*pair    // by index; events name a tunnel by it
	free    []int32
	stopped bool
	late    []*pair // whose time to connect is over
	stirred []stir  // whose layers want to be read
	ended   []ended // whose owners are still to be told

	again   []*pair // of the goroutine alone: tunnels that have used up their turn
	endings chan struct{}
}

// wakeEvent is the event of poller.wake; tunnels have events from 0.
const wakeEvent = -1

const watched = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | edge

const edge = unix.EPOLLET & (1<<32 - 1)

// pair is a tunnel.
type pair struct {
	ends   [2]half // a, b
	index  int32
	gone   bool
	queued bool // in poller.again
	done   func(Report)

	opening *opening // nil once both ends are connected
}

func (l *Loop) take(a, b net.Conn) *Taken {
	ca, cb := carried(a), carried(b)
	if !ca.hold() {
		return nil
	}
	defer ca.free()
	if !cb.hold() {
		return nil
	}
	defer cb.free()
	p, err := l.poller()
	if err != nil {
		return nil //nolint:nilerr // no descriptors for an epoll instance: the tunnel is Join's
	}
	fa, err := detach(ca.tcp)
	if err != nil {
		return nil //nolint:nilerr // the same
	}
	fb, err := detach(cb.tcp)
	if err != nil {
		unix.Close(fa)
		return nil
	}
	x := &pair{}
	x.ends[0].seat(ca, fa)
	x.ends[1].seat(cb, fb)
	return &Taken{poller: p, pair: x}
}

// detach returns a descriptor of the socket that the Go runtime does not know, and which survives the Close of conn.
func detach(conn *net.TCPConn) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	controlErr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if controlErr != nil {
		return -1, controlErr
	}
	return fd, err
}

// poller chooses one, the next in turn. The first call makes them.
func (l *Loop) poller() (*poller, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, net.ErrClosed
	}
	if l.pollers == nil {
		l.ctx, l.cancel = context.WithCancel(context.Background())
		for range max(1, min(runtime.GOMAXPROCS(0), maxPollers)) {
			p, err := newPoller(l)
			if err != nil {
				break
			}
			l.pollers = append(l.pollers, p)
			l.wg.Go(p.run)
			l.wg.Go(p.tellEnds)
		}
		if len(l.pollers) == 0 {
			return nil, fmt.Errorf("epoll: %w", unix.EMFILE)
		}
	}
	l.next++
	return l.pollers[l.next%len(l.pollers)], nil
}

const maxPollers = 64

func newPoller(l *Loop) (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &poller{loop: l, epoll: epoll, wake: wake, endings: make(chan struct{}, 1)}
	if err := p.init(); err != nil {
		unix.Close(wake)
		return nil, err
	}
	return p, nil
}

// init puts the epoll instance under the Go runtime's own, so that the loop's goroutine waits like any other. In a system call of its
// own it would have to get its place back from goroutines that compute, which takes milliseconds when all places are taken.
func (p *poller) init() error {
	err := unix.SetNonblock(p.epoll, true) // or os.NewFile would not watch it
	p.file = os.NewFile(uintptr(p.epoll), "epoll")
	if err == nil {
		p.ready, err = p.file.SyscallConn()
	}
	if err == nil {
		err = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, p.wake, &unix.EpollEvent{Events: unix.EPOLLIN | edge, Fd: wakeEvent})
	}
	if err != nil {
		p.file.Close()
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// wait returns the next events, at least one unless now is set.
func (p *poller) wait(events []unix.EpollEvent, now bool) (n int) {
	poll := func(fd uintptr) bool {
		n, _ = rawPoll(int(fd), events) // the descriptor is ours and the arguments are right: it can only be interrupted
		return n > 0
	}
	if poll(uintptr(p.epoll)); n > 0 || now {
		return max(n, 0)
	}
	_ = p.ready.Read(poll) // an error means that the file is closed, which it is only behind the loop
	return max(n, 0)
}

// add begins to serve a tunnel.
func (p *poller) add(x *pair) {
	p.mu.Lock()
	stopped := p.stopped
	if !stopped {
		if n := len(p.free); n > 0 {
			x.index = p.free[n-1]
			p.free = p.free[:n-1]
			p.pairs[x.index] = x
		} else {
			x.index = int32(len(p.pairs))
			p.pairs = append(p.pairs, x)
		}
		p.await(x)
		for side := range x.ends {
			p.listen(x, side)
		}
		for side := range x.ends {
			// It fails for want of kernel memory or of fs.epoll.max_user_watches.
			if err := p.watch(unix.EPOLL_CTL_ADD, x, side); err != nil {
				p.forget(x)
				p.mu.Unlock()
				x.abort()
				x.done(x.report(EndErrorA, err))
				return
			}
		}
	}
	p.mu.Unlock()
	if stopped {
		x.abort()
		x.done(x.report(EndCancelled, context.Canceled))
	}
}

// watch says what a socket's events are for: op is EPOLL_CTL_ADD or, for one that is watched, EPOLL_CTL_MOD, which makes an event of
// what is so already.
func (p *poller) watch(op int, x *pair, side int) error {
	event := unix.EpollEvent{Events: x.ends[side].events(), Fd: x.index<<1 | int32(side)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, op, x.ends[side].fd, &event))
}

// stir names an end whose layers want to be read though nothing has come.
type stir struct {
	pair *pair
	side int
}

// listen lets the layers of an end stir the loop.
func (p *poller) listen(x *pair, side int) {
	if !x.ends[side].framed {
		return
	}
	wake := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stirred = append(p.stirred, stir{x, side})
		p.rouse()
	}
	x.ends[side].base.wake.Store(&wake)
}

// stop makes run reset every tunnel and return.
func (p *poller) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rouse()
	p.stopped = true
}

// rouse makes run look up; mu is held, or run might have returned.
func (p *poller) rouse() {
	if p.stopped {
		return
	}
	one := [8]byte{1}
	_, _ = unix.Write(p.wake, one[:]) // it can only be full already
}

func (p *poller) run() {
	defer p.pipes.close()
	defer p.file.Close()
	defer unix.Close(p.wake)
	var events [128]unix.EpollEvent
	var named [len(events)]*pair
	for {
		n := p.wait(events[:], len(p.again) > 0)
		p.mu.Lock()
		for i := range n {
			named[i] = nil
			if e := events[i].Fd; e != wakeEvent && int(e>>1) < len(p.pairs) {
				named[i] = p.pairs[e>>1]
			}
		}
		stopped, late := p.stopped, len(p.late) > 0
		stirred := p.stirred
		p.stirred = nil
		p.mu.Unlock()
		if stopped {
			p.abortAll()
			return
		}
		if late {
			p.expire()
		}
		turn := p.again
		p.again = nil
		for i := range n {
			// One that has come to its end in this round is in named still.
			if x := named[i]; x != nil && !x.gone && p.note(x, int(events[i].Fd&1), events[i].Events) {
				p.pump(x)
			}
		}
		for _, s := range stirred {
			if !s.pair.gone {
				s.pair.ends[s.side].readable = true
				p.pump(s.pair)
			}
		}
		for _, x := range turn {
			x.queued = false
			if !x.gone {
				p.pump(x)
			}
		}
	}
}

// forget gives the index of a tunnel back; mu is held. An event at hand may still name it, and then reaches the next one that has it:
// that one is looked at in vain.
func (p *poller) forget(x *pair) {
	x.gone = true
	p.pairs[x.index] = nil
	p.free = append(p.free, x.index)
}

// remove forgets a tunnel; its sockets are the caller's.
func (p *poller) remove(x *pair) {
	p.mu.Lock()
	p.forget(x)
	p.mu.Unlock()
}
