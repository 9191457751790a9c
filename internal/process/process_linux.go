package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

const (
	// goneTimeout bounds the wait for killed processes to disappear.
	goneTimeout = 2 * time.Second
	// goneInterval is how often one looks: the kernel tells nobody but the parent.
	goneInterval = 2 * time.Millisecond
)

func childAttributes(a Account, death syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: death}
	if a.other {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid), Groups: a.groups}
	}
	return attr
}

// stopTree stops a process and its descendants, and says which those are. A process group is not enough: PostgreSQL's backends and
// sshd's sessions leave it by setsid. Parents come first, so that none escapes by forking in between.
func stopTree(root int) map[int]bool {
	stopped := map[int]bool{root: true}
	_ = syscall.Kill(root, syscall.SIGSTOP)
	for quiet := 0; quiet < 2; quiet++ {
		for _, pid := range Descendants(root) {
			if !stopped[pid] {
				stopped[pid], quiet = true, 0
				_ = syscall.Kill(pid, syscall.SIGSTOP)
			}
		}
	}
	return stopped
}

// contTree lets them go on.
func contTree(root int) {
	for _, pid := range append(Descendants(root), root) {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

// killTree kills a process and its descendants: a session outlives the sshd that accepted it. All are stopped before any is killed, so
// that none escapes to init in between.
func killTree(root int) {
	stopped := stopTree(root)
	for pid := range stopped {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	delete(stopped, root) // that one is waited for by its goroutine
	for end := time.Now().Add(goneTimeout); len(stopped) > 0 && time.Now().Before(end); {
		for pid := range stopped {
			if _, state, ok := processStat(pid); !ok || state == 'Z' {
				delete(stopped, pid)
			}
		}
		time.Sleep(goneInterval)
	}
}

// Descendants lists the living processes below a process.
func Descendants(root int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, state, ok := processStat(pid); ok && state != 'Z' {
			children[parent] = append(children[parent], pid)
		}
	}
	var all []int
	for next := []int{root}; len(next) > 0; next = next[1:] {
		all = append(all, children[next[0]]...)
		next = append(next, children[next[0]]...)
	}
	return all
}

// processStat reads the parent and the state of a process from /proc/PID/stat, where the name, in parentheses, may hold
// anything.
func processStat(pid int) (parent int, state byte, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 2 {
		return 0, 0, false
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return parent, fields[0][0], err == nil
}
