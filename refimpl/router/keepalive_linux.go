package router

import (
	"net"
	"os"
	"syscall"
	"time"
)

// Keep-alive finds the peers that are gone, in tunnels that may idle for days: first asked after 15 s, given up after nine questions.
const (
	probeIdle  = 15 * time.Second
	probeEvery = 15 * time.Second
	probeCount = 9
)

// listenConfig has keep-alive set once, at the listener: an accepted socket has its options from there, and net would set each of
// them again, in four calls a connection.
func listenConfig() net.ListenConfig {
	return net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		controlErr := raw.Control(func(fd uintptr) { err = setKeepAlive(int(fd)) })
		if controlErr != nil {
			return controlErr
		}
		return os.NewSyscallError("setsockopt", err)
	}}
}

func setKeepAlive(fd int) error {
	for _, o := range []struct{ level, name, value int }{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, int(probeIdle / time.Second)},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, int(probeEvery / time.Second)},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, probeCount},
	} {
		if err := syscall.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	return nil
}
