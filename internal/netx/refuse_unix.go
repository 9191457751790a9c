//go:build unix

package netx

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// Refuse returns a loopback address at which every connection is refused, and keeps it so until release: its socket is bound and does
// not listen, so that nobody else can be given the port.
func Refuse() (address string, release func() error, err error) {
	syscall.ForkLock.RLock() // SOCK_CLOEXEC is not everywhere
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	release = func() error { return os.NewSyscallError("close", syscall.Close(fd)) }
	if err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		_ = release()
		return "", nil, os.NewSyscallError("bind", err)
	}
	at, err := syscall.Getsockname(fd)
	in4, ok := at.(*syscall.SockaddrInet4)
	if err != nil || !ok {
		_ = release()
		return "", nil, fmt.Errorf("getsockname: %v, %w", at, err)
	}
	return (&net.TCPAddr{IP: in4.Addr[:], Port: in4.Port}).String(), release, nil
}
