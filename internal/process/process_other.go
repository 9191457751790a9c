//go:build !linux

package process

import "syscall"

// Outside Linux a child is not tied to this process's life, and of its descendants the process group is killed.

func childAttributes(a Account, _ syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a.other {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid), Groups: a.groups}
	}
	return attr
}

func stopTree(root int) { _ = syscall.Kill(-root, syscall.SIGSTOP) }

func contTree(root int) { _ = syscall.Kill(-root, syscall.SIGCONT) }

func killTree(root int) { _ = syscall.Kill(-root, syscall.SIGKILL) }
