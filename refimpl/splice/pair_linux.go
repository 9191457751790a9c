package splice

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// turn is how often a direction may read before other tunnels have theirs.
const turn = 16

// note takes down what an event says. It returns false when that was the end of the tunnel.
func (p *poller) note(x *pair, side int, events uint32) bool {
	h := &x.ends[side]
	if x.opening != nil && side == 1 && !p.opened(x, connected(h.fd)) {
		return false
	}
	if events&unix.EPOLLOUT != 0 {
		h.writable = true
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		h.readable = true
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		h.hungUp = true
	}
	if events&unix.EPOLLERR != 0 {
		h.writable = true // the next write says why
	}
	if h.writable && h.keeps() {
		if err := h.base.flush(); err != nil {
			p.fail(x, failure{side: side, err: h.gone("write", err)})
			return false
		}
		h.writable = !h.keeps()
		h.readable = true // it may have owed too much to read
	}
	if events&unix.EPOLLERR != 0 {
		if f := x.late(side); f != nil {
			p.fail(x, *f)
			return false
		}
	}
	return true
}

// late looks after an end whose own end was passed on: nobody reads it any more, and a reset would not be found.
func (x *pair) late(side int) *failure {
	if !x.ends[side].told || x.ends[1-side].told {
		return nil // both have ended cleanly: a peer that closed for good answers our end with a reset
	}
	code, err := unix.GetsockoptInt(x.ends[side].fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || code == 0 {
		return nil
	}
	return &failure{side: side, read: true, late: true, err: fmt.Errorf("after its end: %w", os.NewSyscallError("poll", syscall.Errno(code)))}
}

// pump moves what can be moved.
func (p *poller) pump(x *pair) {
	for side := range x.ends {
		f := p.move(x, side)
		if f == nil && x.ends[1-side].keeps() {
			f = p.ask(x, 1-side)
		}
		if f != nil {
			p.fail(x, *f)
			return
		}
	}
	if !x.ends[0].told || !x.ends[1].told || x.ends[0].keeps() || x.ends[1].keeps() {
		return
	}
	if x.ends[0].top != nil || x.ends[1].top != nil {
		p.leave(x, func() Report { return p.loop.bidFarewell(x) })
		return
	}
	// Plain TCP has been read to its FIN: the kernel delivers what is queued after close.
	p.remove(x)
	rawClose(x.ends[0].fd)
	rawClose(x.ends[1].fd)
	p.end(x, x.report(EndEOF, nil))
}

// move serves one direction until it has nothing, is blocked or has had its turn. A failure is the end of the tunnel.
func (p *poller) move(x *pair, side int) *failure {
	src, dst := &x.ends[side], &x.ends[1-side]
	for left := turn; ; {
		switch {
		case src.holds():
			if !dst.writable {
				p.mute(x, side)
				src.waits(false)
				return p.ask(x, 1-side)
			}
			if err := p.flush(src, dst); err != nil {
				return &failure{side: 1 - side, err: err}
			}
		case src.told:
			return nil
		case src.ended:
			return x.tell(side)
		case !dst.writable:
			src.waits(false)
			return p.ask(x, 1-side)
		case !src.readable:
			src.waits(true)
			return nil
		case left == 0:
			if !x.queued {
				x.queued = true
				p.again = append(p.again, x)
			}
			return nil
		default:
			left--
			if f := p.fill(x, side); f != nil {
				return f
			}
		}
	}
}

// tell passes an end on.
func (x *pair) tell(side int) *failure {
	src, dst := &x.ends[side], &x.ends[1-side]
	if src.refused && src.top == nil { // a base says for itself how it ended
		return &failure{side: side, read: true, err: syscall.ECONNRESET}
	}
	src.told = true
	var err error
	switch {
	case dst.top != nil:
		err = CloseWrite(dst.top)
		dst.writable = !dst.keeps()
	case dst.told && src.top == nil:
		return nil // both sockets are closed next, which says it too
	default:
		err = os.NewSyscallError("shutdown", rawShutdown(dst.fd))
	}
	if err != nil {
		return &failure{side: 1 - side, err: err}
	}
	return x.late(side)
}

// fill reads once and hands on what came: small pieces by copying, bulk through a pipe. Below bulkReads full buffers in a row
// splice(2) costs more than it saves.
func (p *poller) fill(x *pair, side int) *failure {
	src, dst := &x.ends[side], &x.ends[1-side]
	if src.top != nil {
		return p.fillStack(x, side)
	}
	if src.full >= bulkReads && dst.top == nil {
		if pipe := p.pipes.get(); pipe != nil {
			return p.fillPipe(x, side, pipe)
		}
	}
	n, err := rawRead(src.fd, p.scratch[:])
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case errors.Is(err, unix.EAGAIN):
		p.drained(x, side)
		return nil
	case err != nil:
		return &failure{side: side, read: true, err: os.NewSyscallError("read", err)}
	case n == 0:
		src.ended = true
		return nil
	case n < len(p.scratch):
		src.full = 0
		if !src.hungUp { // short: that was all, unless its end comes behind it
			p.drained(x, side)
		}
	case src.full < bulkReads:
		src.full++
	}
	return p.hand(x, side, p.scratch[:n])
}

// hand gives the other end what was read, and holds what it does not take.
func (p *poller) hand(x *pair, side int, b []byte) *failure {
	src, dst := &x.ends[side], &x.ends[1-side]
	sent, err := write(dst, b)
	src.moved += int64(sent)
	if err != nil {
		return &failure{side: 1 - side, err: err}
	}
	if sent < len(b) {
		src.buf = buffers.Get().(*[bufferSize]byte)
		src.pending = src.buf[:copy(src.buf[:], b[sent:])]
	}
	return nil
}

func (p *poller) fillPipe(x *pair, side int, to *pipe) *failure {
	src := &x.ends[side]
	n, err := to.fill(src.fd)
	if n > 0 {
		src.pipe = to
		if n < bufferSize/4 {
			src.full = bulkReads - 1 // perhaps no longer bulk: the next read by copying tells
		}
		return nil
	}
	p.pipes.put(to)
	switch {
	case errors.Is(err, unix.EINTR):
	case errors.Is(err, unix.EAGAIN):
		p.drained(x, side)
	case err != nil:
		return &failure{side: side, read: true, err: os.NewSyscallError("splice", err)}
	default:
		src.ended = true
	}
	return nil
}

// mute asks for no more events of bulk that waits for the other end: each segment would wake the loop for nothing, and that costs more
// than moving it does.
func (p *poller) mute(x *pair, side int) {
	if h := &x.ends[side]; !h.muted && h.full >= bulkReads {
		h.muted = true
		h.muted = p.watch(unix.EPOLL_CTL_MOD, x, side) == nil
	}
}

// ask asks for an event when there is room to write, which a new socket has and which most need never wait for.
func (p *poller) ask(x *pair, side int) *failure {
	h := &x.ends[side]
	if !h.unasked {
		return nil
	}
	h.unasked = false
	if err := p.watch(unix.EPOLL_CTL_MOD, x, side); err != nil {
		return &failure{side: side, err: err}
	}
	return nil
}

// drained notes that nothing is left to read: the next event says when there is.
func (p *poller) drained(x *pair, side int) {
	h := &x.ends[side]
	h.readable = false
	if h.muted {
		h.muted = false
		h.muted = p.watch(unix.EPOLL_CTL_MOD, x, side) != nil // what came meanwhile is an event at once
		h.readable = h.muted
	}
}

// flush hands on what is held, as far as dst takes it.
func (p *poller) flush(src, dst *half) error {
	if src.pipe != nil {
		n, err := src.pipe.drain(dst.fd)
		src.moved += int64(n)
		src.spliced += int64(n)
		p.loop.spliced.Add(int64(n))
		if src.pipe.n == 0 {
			p.pipes.put(src.pipe)
			src.pipe = nil
			return nil
		}
		return dst.blocked("splice", err)
	}
	n, err := write(dst, src.pending)
	src.moved += int64(n)
	if src.pending = src.pending[n:]; len(src.pending) == 0 {
		src.release()
	}
	return err
}

// drop lets go of what is held.
func (x *pair) drop(pipes *pipePool) {
	for i := range x.ends {
		h := &x.ends[i]
		h.release()
		if h.pipe != nil {
			pipes.put(h.pipe)
			h.pipe = nil
		}
	}
}

// abort resets both ends.
func (x *pair) abort() {
	for i := range x.ends {
		x.ends[i].abort()
	}
}

func (x *pair) report(end string, err error) Report {
	return Report{
		AToB: max(x.ends[0].moved, 0), // below it when a header of Dial's never left
		BToA: x.ends[1].moved, Spliced: x.ends[0].spliced + x.ends[1].spliced, End: end, Err: err,
	}
}
