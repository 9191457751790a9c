package splice

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// readyReader reads from a socket into a buffer that is taken from the pool when there is something to read.
type readyReader struct{ raw syscall.RawConn }

func newReadyReader(conn *net.TCPConn) (readyReader, error) {
	raw, err := conn.SyscallConn()
	return readyReader{raw}, err
}

// read returns a buffer, which the caller puts back when it is not nil, with its first n bytes filled, or an error, io.EOF at
// the end.
func (r readyReader) read() (buf *[bufferSize]byte, n int, err error) {
	buf = nil
	waitErr := r.raw.Read(func(fd uintptr) bool {
		b := buffers.Get().(*[bufferSize]byte)
		for {
			n, err = unix.Read(int(fd), b[:])
			if err != unix.EINTR {
				break
			}
		}
		if n > 0 {
			buf = b
			return true
		}
		buffers.Put(b)
		return err != unix.EAGAIN
	})
	switch {
	case waitErr != nil: // closed, or a deadline
		return buf, max(n, 0), waitErr
	case err != nil:
		return nil, 0, os.NewSyscallError("read", err)
	case n == 0:
		return nil, 0, io.EOF
	}
	return buf, n, nil
}

// control asks a socket for a number, 0 when it cannot say.
func control(conn *net.TCPConn, ask func(fd int) (int, error)) (n int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	// Its error means that the socket is closed, and n stays 0.
	_ = raw.Control(func(fd uintptr) {
		if n, err = ask(int(fd)); err != nil {
			n = 0
		}
	})
	return n
}

// unread is the number of bytes in the receive queue.
func unread(conn *net.TCPConn) int {
	return control(conn, func(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.SIOCINQ) })
}

// unsent is the number of bytes in the send queue that the peer's kernel has not acknowledged and still may.
func unsent(conn *net.TCPConn) int {
	if closed(conn) {
		return 0 // SIOCOUTQ goes on to name what was never sent
	}
	return control(conn, func(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.SIOCOUTQ) })
}

// closed tells whether the connection is over in both directions, by a reset or by two FINs.
func closed(conn *net.TCPConn) bool {
	const stateClose = 7 // TCP_CLOSE, include/net/tcp_states.h
	return stateClose == control(conn, func(fd int) (int, error) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return 0, err
		}
		return int(info.State), nil
	})
}

// discard throws away what is in the receive queue, without waiting. Closing a socket with unread bytes resets the connection,
// and the reset takes with it what the peer has not yet received.
func discard(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // an error means that the socket is closed
		b := buffers.Get().(*[bufferSize]byte)
		defer buffers.Put(b)
		for range 64 { // 2 MiB; who sends more after its end is not waited for
			if n, err := unix.Read(int(fd), b[:]); n <= 0 && err != unix.EINTR {
				return
			}
		}
	})
}

// awaitReset waits, without reading, until conn fails; it returns nil when conn is closed on this side.
func awaitReset(conn *net.TCPConn) error {
	if conn == nil {
		return nil
	}
	raw, closedErr := conn.SyscallConn()
	if closedErr != nil {
		return nil //nolint:nilerr // closed on this side, which is what nil means here
	}
	var failed error
	_ = raw.Read(func(fd uintptr) bool {
		// The FIN makes the socket readable for good. The poller is edge-triggered, so it comes back when the state changes.
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil || code == 0 {
			return err != nil
		}
		failed = fmt.Errorf("after its end: %w", os.NewSyscallError("poll", syscall.Errno(code)))
		return true
	})
	return failed
}
