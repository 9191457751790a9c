package splice

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// opening is what a pair has until its second end is connected.
type opening struct {
	to        netip.AddrPort
	before    int // so many bytes of what is pending did not come from the client
	timeout   time.Duration
	timer     *time.Timer
	connected func()
	refused   func(client net.Conn, err error)
}

func (l *Loop) dial(client net.Conn, d Dial) *Taken {
	from := carried(client)
	if !from.hold() {
		return nil
	}
	defer from.free()
	fd, err := connect(d)
	if err != nil {
		return nil //nolint:nilerr // whoever dials in the usual way meets it too
	}
	p, err := l.poller()
	if err != nil {
		unix.Close(fd)
		return nil //nolint:nilerr // no descriptors for an epoll instance, or the loop is closed
	}
	taken, err := detach(from.tcp)
	if err != nil {
		unix.Close(fd)
		return nil //nolint:nilerr // no descriptors
	}
	x := &pair{opening: &opening{to: d.To, timeout: d.Timeout, connected: d.Connected, refused: d.Refused}}
	x.ends[1].fd = fd
	h := &x.ends[0]
	h.seat(from, taken)
	h.writable, h.unasked = true, !h.framed // layers that write on their own may need the event at any time
	if before := len(d.Before); before > 0 {
		h.pending = slices.Concat(d.Before, h.pending)
		h.moved, x.opening.before = -int64(before), before // it is none of the client's bytes
	}
	return &Taken{poller: p, pair: x}
}

// connect begins a connection. That it cannot even begin is as rare as an interface that is down.
func connect(d Dial) (fd int, err error) {
	family := unix.AF_INET6
	if d.To.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == nil && d.Control != nil {
		err = d.Control(fd)
	}
	if err == nil {
		if err = rawConnect(fd, d.To); err == unix.EINPROGRESS || err == unix.EINTR { //nolint:errorlint // as the kernel says it
			err = nil
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// await begins the time that a connection has; mu is held.
func (p *poller) await(x *pair) {
	if x.opening != nil {
		x.opening.timer = time.AfterFunc(x.opening.timeout, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.late = append(p.late, x)
			p.rouse()
		})
	}
}

// opened takes down how a connection went, and returns false when the tunnel is not to be: its client is then somebody else's.
func (p *poller) opened(x *pair, err error) bool {
	o := x.opening
	o.timer.Stop()
	x.opening = nil
	if err == nil {
		if o.connected != nil {
			o.connected()
		}
		return true
	}
	err = &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(o.to), Err: err}
	p.detach(x)
	unix.Close(x.ends[1].fd)
	x.ends[0].pending = x.ends[0].pending[o.before:]
	p.loop.wg.Go(func() { o.refused(x.client(), err) })
	return false
}

// connected asks a socket how its connection went.
func connected(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if code != 0 {
		return os.NewSyscallError("connect", syscall.Errno(code))
	}
	return nil
}

// expire ends the connections that have taken too long.
func (p *poller) expire() {
	p.mu.Lock()
	late := p.late
	p.late = nil
	p.mu.Unlock()
	for _, x := range late {
		if !x.gone && x.opening != nil {
			p.opened(x, os.ErrDeadlineExceeded)
		}
	}
}

// client gives the first end back, with what was read of it; nil when there is no descriptor to do it with.
func (x *pair) client() net.Conn {
	conn, err := x.ends[0].conn()
	if err != nil {
		return nil
	}
	if held := x.ends[0].pending; len(held) > 0 {
		return &ahead{conn, held}
	}
	return conn
}
