package netx

import (
	"net"
	"os"
	"syscall"
)

// RefuseAt keeps the loopback address of a server that has ended for the one that will take its place: connections are refused, and
// nobody is given the port, neither a listener nor a connection outwards, which takes its own from the same range and could meet itself.
// Both sockets having SO_REUSEADDR, as every server's has, the next one can listen beside it before release.
func RefuseAt(address string) (release func() error, err error) {
	at, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	release = func() error { return os.NewSyscallError("close", syscall.Close(fd)) }
	err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: at.Port, Addr: [4]byte(at.IP.To4())})
	}
	if err != nil {
		_ = release()
		return nil, os.NewSyscallError("bind "+address, err)
	}
	return release, nil
}
