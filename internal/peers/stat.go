//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// clockTicks is USER_HZ, in which /proc counts: 100 on every Linux port that Go has.
const clockTicks = 100

// statFields are the fields of /proc/PID/stat from the third on; the second is a name that may hold anything (proc(5)).
func statFields(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := afterName(data)
	if len(fields) < 13 {
		return nil, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	return fields, nil
}

func afterName(stat []byte) []string {
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// cpuSeconds is what the processes have used so far, in user and system mode.
func cpuSeconds(pids []int) (float64, error) {
	var ticks uint64
	for _, pid := range pids {
		fields, err := statFields(pid)
		if err != nil {
			return 0, fmt.Errorf("cpu: %w", err)
		}
		for _, f := range fields[11:13] { // utime, stime
			n, err := strconv.ParseUint(f, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("cpu: /proc/%d/stat: %w", pid, err)
			}
			ticks += n
		}
	}
	return float64(ticks) / clockTicks, nil
}

// family is a process and its children: nginx works in those.
func family(pid int) ([]int, error) {
	pids := []int{pid}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		child, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if fields, err := statFields(child); err == nil && fields[1] == strconv.Itoa(pid) {
			pids = append(pids, child)
		}
	}
	return pids, nil
}

// keyed is the number behind a key of a /proc file, added up over the processes.
func keyed(pids []int, file, key string) (int64, error) {
	var sum int64
	for _, pid := range pids {
		path := fmt.Sprintf("/proc/%d/%s", pid, file)
		data, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		_, rest, found := strings.Cut("\n"+string(data), "\n"+key+":")
		fields := strings.Fields(rest)
		if !found || len(fields) == 0 {
			return 0, fmt.Errorf("%s has no %s", path, key)
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %s: %w", path, key, err)
		}
		sum += n
	}
	return sum, nil
}

// holding is what processes hold and have copied.
type holding struct {
	pss, fds     int64 // bytes of user memory; open descriptors
	rchar, wchar int64 // bytes through read(2), write(2) and their like; neither splice nor recv and send count
}

func hold(pids []int) (h holding, err error) {
	if h.pss, err = keyed(pids, "smaps_rollup", "Pss"); err != nil {
		return h, err
	}
	h.pss *= 1024
	if h.rchar, err = keyed(pids, "io", "rchar"); err != nil {
		return h, err
	}
	if h.wchar, err = keyed(pids, "io", "wchar"); err != nil {
		return h, err
	}
	for _, pid := range pids {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return h, err
		}
		h.fds += int64(len(fds))
	}
	return h, nil
}
