package splice

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// half is one end of a tunnel, and the direction that leads from it to the other end.
type half struct {
	fd       int
	readable bool
	writable bool
	hungUp   bool  // there is an end or an error behind what can be read
	refused  bool  // a write met a reset that no FIN had preceded; see end.trulyEnded
	ended    bool  // its end has been read
	told     bool  // and passed on
	muted    bool  // no event says that there is more to read
	unasked  bool  // no event says that there is room to write
	full     uint8 // so many reads in a row have filled the buffer

	// Of an end in layers; nil for a socket alone.
	top     net.Conn
	base    *base
	framed  bool // there is a Framer
	waiting bool // which was told that somebody waits

	pending []byte            // read from here, not yet taken by the other end
	buf     *[bufferSize]byte // of the pool, holds pending; nil when pending is what was held before
	pipe    *pipe             // holds bytes instead
	moved   int64             // bytes taken by the other end
	spliced int64
}

func (h *half) events() uint32 {
	events := uint32(watched)
	if h.muted {
		events &^= unix.EPOLLIN
	}
	if h.unasked {
		events &^= unix.EPOLLOUT
	}
	return events
}

// write returns fewer bytes than p has, and no error, when dst is full.
func write(dst *half, p []byte) (sent int, err error) {
	if dst.top != nil {
		n, err := dst.top.Write(p)
		dst.writable = !dst.keeps()
		if err != nil {
			return n, dst.gone("write", err)
		}
		return n, nil
	}
	n, err := rawWrite(dst.fd, p)
	if n = max(n, 0); n == len(p) {
		return n, nil
	}
	return n, dst.blocked("write", err)
}

// blocked judges a write that came back short. Short alone is not full: splice(2) stops for a signal, which the Go runtime sends
// itself, and then no event would ever say that there is room.
func (h *half) blocked(call string, err error) error {
	switch {
	case errors.Is(err, unix.EAGAIN):
		h.writable = false
	case err != nil && !errors.Is(err, unix.EINTR):
		return h.gone(call, err)
	}
	return nil
}

// gone is what a write that failed tells.
func (h *half) gone(call string, err error) error {
	h.refused = h.refused || !errors.Is(err, syscall.EPIPE)
	if _, ok := err.(syscall.Errno); ok { //nolint:errorlint // one that is wrapped has its call's name
		return os.NewSyscallError(call, err)
	}
	return err
}

// keeps tells whether what layers have written waits for room in the kernel.
func (h *half) keeps() bool { return h.base != nil && h.base.keeps() }

func (h *half) holds() bool { return len(h.pending) > 0 || h.pipe != nil }

func (h *half) release() {
	h.pending = nil
	if h.buf != nil {
		buffers.Put(h.buf)
		h.buf = nil
	}
}

func (h *half) abort() {
	if h.base != nil {
		h.base.regain(nil) // before others can get the descriptor's number
		defer h.top.Close()
	}
	_ = unix.SetsockoptLinger(h.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // it cannot fail on a socket
	unix.Close(h.fd)
}
