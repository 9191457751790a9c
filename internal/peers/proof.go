//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The zero-copy proof is from outside, and needs two witnesses. /proc/PID/io has the bytes of read(2) and write(2), but
// neither those of splice(2) nor, and that is the trap, those of recv(2) and send(2): HAProxy copies with them and shows
// nothing. So those calls are counted as well, in the kernel's tracepoints. The control is a path that has to copy: a
// terminated route, by the same client to the same backend.

const (
	splicing = "splice"
	// fewCalls cannot carry the bytes of the proof, whatever their buffers; a hello may be peeked at with them.
	fewCalls = 16
	// proofBytes are many times what sockets and a first, copied stretch hold.
	proofBytes = 512 << 20
)

// unseen are the calls that move bytes past /proc/PID/io.
var unseen = []string{"recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmsg", "sendmmsg", "io_uring_enter"}

// count runs a job while perf counts the system calls of its PIDs.
func count(ctx context.Context, dir string, j job) (sample, error) {
	file := filepath.Join(dir, "perf.csv")
	var events []string
	for _, call := range append(unseen, splicing) {
		events = append(events, "syscalls:sys_enter_"+call)
	}
	s, err := run(ctx, j, "perf", "stat", "-x", ",", "-o", file, "-e", strings.Join(events, ","), "-p", commas(j.PIDs), "--")
	if err != nil {
		return s, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return s, fmt.Errorf("perf: %w", err)
	}
	s.Calls, err = parseCounts(string(data))
	return s, err
}

func commas(pids []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(pids), " ", ","), "[]")
}

// parseCounts reads what perf stat -x , wrote: COUNT,UNIT,EVENT,… a line, and comments.
func parseCounts(text string) (map[string]int64, error) {
	calls := map[string]int64{}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if strings.HasPrefix(line, "#") || len(fields) < 3 {
			continue
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("perf: %s: %w", fields[2], err) // "<not counted>", "<not supported>"
		}
		calls[strings.TrimPrefix(fields[2], "syscalls:sys_enter_")] += n
	}
	if len(calls) != len(unseen)+1 {
		return nil, fmt.Errorf("perf: counted %d kinds of calls, want %d", len(calls), len(unseen)+1)
	}
	return calls, nil
}

// proofs are the rows of it: the figures of the control are those of the proof, and what they are to reach its opposite.
func proofs() []row {
	copied := func(s sample) float64 { return float64(s.Copied) / float64(s.Bytes) }
	spliced := func(s sample) float64 { return float64(s.Calls[splicing]) }
	past := func(s sample) float64 {
		var n int64
		for _, call := range unseen {
			n += s.Calls[call]
		}
		return float64(n)
	}
	through := job{Kind: kindTransfer, Service: serviceDiscard, Via: viaPassthrough, Conns: 1, Bytes: proofBytes}
	control := through
	control.Via = viaTLS
	return []row{
		{name: "zero-copy", arms: []string{ours, haproxySplice, haproxyPlain, nginxPlain}, rounds: 1, counted: true, job: through, figures: []figure{
			{"copied/moved", copied, &target{limit: 0.01}},
			{"splice calls", spliced, &target{limit: 1, atLeast: true}},
			{"recv+send calls", past, &target{limit: fewCalls}},
		}},
		{name: "zero-copy control", arms: []string{ours}, rounds: 1, counted: true, job: control, figures: []figure{
			{"copied/moved", copied, &target{limit: 1, atLeast: true}},
			{"splice calls", spliced, &target{limit: 0}},
			{"recv+send calls", past, nil},
		}},
	}
}
