//go:build !linux

package albsim

import (
	"net"
	"time"
)

// seesKeepAlives is false where the kernel does not count segments: there only bytes count.
const seesKeepAlives = false

func segmentsIn(*net.TCPConn) (segments uint32, silence time.Duration, ok bool) { return 0, 0, false }
