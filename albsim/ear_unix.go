//go:build unix

package albsim

import (
	"errors"
	"net"
	"syscall"
)

// ear finds out whether there is anything to read on a socket, its end included, and leaves it there.
type ear struct {
	raw    syscall.RawConn
	listen func(fd uintptr) bool // made once: a function for each time would be memory for each time
	buf    [1]byte
	err    error
}

// newEar is nil for what is not the bare socket.
func newEar(c net.Conn) *ear {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	e := &ear{raw: raw}
	e.listen = func(fd uintptr) bool {
		_, _, e.err = syscall.Recvfrom(int(fd), e.buf[:], syscall.MSG_PEEK)
		return true
	}
	return e
}

// quiet is false as well for a socket that is closed or whose read deadline has passed.
func (e *ear) quiet() bool {
	return e.raw.Read(e.listen) == nil && errors.Is(e.err, syscall.EAGAIN)
}
