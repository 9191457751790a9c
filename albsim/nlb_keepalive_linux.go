package albsim

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const seesKeepAlives = true

// segmentsIn is how many segments have come, and how long ago the last that acknowledged something.
func segmentsIn(c *net.TCPConn) (segments uint32, silence time.Duration, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	var info *unix.TCPInfo
	if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); cerr != nil || err != nil {
		return 0, 0, false
	}
	return info.Segs_in, time.Duration(info.Last_ack_recv) * time.Millisecond, true
}
