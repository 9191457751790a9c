package procstat

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// Family is a process and those that it has started, by now.
func Family(pid int) Group { return append(Group{pid}, process.Descendants(pid)...) }

// tick is 1/USER_HZ, in which /proc counts: 100 on every Linux port that Go has.
const tick = 10 * time.Millisecond

// CPU reads the processes' clocks, which takes microseconds and is exact to the nanosecond.
func (g Group) CPU() (c CPU, err error) {
	for _, pid := range g {
		var ts unix.Timespec
		if err := unix.ClockGettime(cpuClock(pid), &ts); err != nil {
			return c, fmt.Errorf("processor time of process %d: %w", pid, err)
		}
		c.Total += time.Duration(ts.Nano())
		fields, err := statFields(pid)
		if err != nil {
			return c, err
		}
		ticks, err := strconv.ParseInt(fields[12], 10, 64) // stime
		if err != nil {
			return c, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		c.System += time.Duration(ticks) * tick
	}
	return c, nil
}

// cpuClock is what clock_getcpuclockid(3) gives: the complement of the id, and CPUCLOCK_SCHED for the whole process.
func cpuClock(pid int) int32 { return int32(^pid)<<3 | 2 }

// Hold reads memory, descriptors and bytes; for a large process that takes milliseconds.
func (g Group) Hold() (h Holding, err error) {
	for _, pid := range g {
		pss, err := keyed(pid, "smaps_rollup", "Pss")
		if err != nil {
			return h, err
		}
		read, err := keyed(pid, "io", "rchar")
		if err != nil {
			return h, err
		}
		written, err := keyed(pid, "io", "wchar")
		if err != nil {
			return h, err
		}
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return h, err
		}
		h.PSS += pss * 1024
		h.Descriptors += len(fds)
		h.Read += read
		h.Written += written
	}
	return h, nil
}

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

// keyed is the number behind a key of a /proc file.
func keyed(pid int, file, key string) (int64, error) {
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
	return n, nil
}
