//go:build unix

package lab

import "syscall"

// descriptorLimit is how many descriptors this process may have. The runtime raises the soft limit to the hard one at start (os/rlimit.go).
func descriptorLimit() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<30 {
		return 0
	}
	return int(l.Cur)
}
