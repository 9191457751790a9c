//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// chunk is what bulk is written and thrown away in.
const chunk = 256 << 10

// patience bounds every single read and write of the load.
const patience = 10 * time.Second

// socket is a blocking TCP socket without a part in Go's poller, which would cost more than the routers do.
type socket int

// dial connects to host:port.
func dial(addr string) (socket, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	s := socket(fd)
	if err := s.prepare(); err != nil {
		s.close()
		return -1, err
	}
	// Go interrupts its threads to share them; on Linux the same call then goes on waiting.
	peer := &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	err = unix.Connect(fd, peer)
	for errors.Is(err, unix.EINTR) {
		err = unix.Connect(fd, peer)
	}
	if err != nil {
		s.close()
		return -1, fmt.Errorf("connect %s: %w", addr, err)
	}
	return s, nil
}

// listen opens a port of its own on loopback.
func listen() (socket, string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, "", fmt.Errorf("socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return -1, "", fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return -1, "", fmt.Errorf("listen: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return -1, "", fmt.Errorf("getsockname: %w", err)
	}
	return socket(fd), fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port), nil
}

func (s socket) prepare() error {
	limit := unix.NsecToTimeval(int64(patience))
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} { // SO_SNDTIMEO bounds connect, too (socket(7))
		if err := unix.SetsockoptTimeval(int(s), unix.SOL_SOCKET, option, &limit); err != nil {
			return fmt.Errorf("timeout: %w", err)
		}
	}
	if err := unix.SetsockoptInt(int(s), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("nodelay: %w", err)
	}
	return nil
}

// Read is one read; an end of the stream is io.EOF.
func (s socket) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write writes all of b.
func (s socket) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Write(int(s), b[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// discard throws away what is there to read without copying it out of the kernel: MSG_TRUNC, tcp(7).
func (s socket) discard(scratch []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(int(s), scratch, unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// finish says that nothing more will be written.
func (s socket) finish() error { return unix.Shutdown(int(s), unix.SHUT_WR) }

func (s socket) close() { _ = unix.Close(int(s)) }
