package checks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// grew is the outcome "the process took in what it should have passed on or refused".
const grew conformance.Outcome = "memory-grew"

const (
	messageSize  = 64 << 20 // of the message in fragments: many times what any buffer should hold
	fragmentSize = 64 << 10
	memoryBound  = 32 << 20 // what the process may grow by meanwhile: half of the message, above what a garbage collector lets lie
)

func init() {
	socketCheck(conformance.Check{
		ID: "WSF-11", Slug: "too-big", Tags: []string{conformance.Counts}, Level: conformance.Should, Origin: conformance.RFC,
		Title: "A frame of absurd length is refused with 1009, and a long message takes no memory",
		Why: "The length of a frame is a number that a stranger chose, up to 2^63. A server that makes room for it, or waits for the end of a message " +
			"before it passes any of it on, is brought down by one client with a few bytes.",
		Clauses: clauses(rfc(6455, "7.4.1"), rfc(6455, "10.4")), Timeout: 30 * time.Second,
		Accept: append(pass("closed with 1009", wsClose(1009)),
			tolerate("closed with another code, or without one: bounded, and hard to debug", wsClose(1002), wsClose(1008), conformance.FIN, conformance.RST)...),
		Forbid: map[conformance.Outcome]string{
			accepted:            "a frame of any length is taken",
			conformance.Timeout: "the rest of a frame that cannot come is waited for",
			leftOpen:            "a close frame, but the connection stayed open behind it",
			grew:                "a message is held in memory as a whole",
			conformance.Dialled: "a backend was dialled for a frame that must be refused",
		},
		Run: tooBig,
	})
}

func tooBig(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	hello := helloRecord(t)
	announced := func(op byte, length uint64, payload []byte) wire.Frame {
		return wire.Frame{Op: op, Form: 64, Announce: &length, Payload: payload}
	}
	var list []badFrames
	for _, bits := range []int{40, 62} {
		list = append(list,
			badFrames{fmt.Sprintf("a frame of 2^%d bytes", bits), []wire.Frame{announced(wire.OpBinary, 1<<bits, hello)}, nil},
			badFrames{fmt.Sprintf("a fragment of 2^%d bytes", bits), []wire.Frame{{Op: wire.OpBinary, Payload: hello[:20], More: true}, announced(wire.OpContinuation, 1<<bits, hello[20:])}, nil})
	}
	o, err := failsOn(ctx, t, list...)
	if _, forbidden := t.Check.Forbid[o.Outcome]; err != nil || forbidden || t.Target.PID == 0 {
		return o, err
	}
	before, err := resident(t.Target.PID)
	if err != nil {
		o.Detail += "; the memory was not looked at: " + err.Error()
		return o, nil //nolint:nilerr // what was seen of the frames holds all the same
	}
	how, most, err := longMessage(ctx, t)
	if err != nil {
		return o, err
	}
	growth := fmt.Sprintf("a message of %d MiB in fragments was %s, the process grew by %d KiB", messageSize>>20, how, (most-before)>>10)
	if most-before > memoryBound {
		return conformance.Observation{Outcome: grew, Detail: growth}, nil
	}
	o.Detail += "; " + growth
	return o, nil
}

// longMessage sends one message that does not end, and watches the process. To be refused is as good as to be carried.
func longMessage(ctx context.Context, t *conformance.T) (how string, most int64, err error) {
	c, err := socket(ctx, t)
	if err != nil {
		return "", 0, err
	}
	defer c.Close()
	conn, _, err := inside(ctx, t, c, witness.Order{Do: witness.Sink})
	if err != nil {
		return "", 0, err
	}
	op := wire.OpBinary
	c.Shape = func(p []byte) [][]byte {
		f := wire.Frame{Op: op, Payload: p, More: true}
		op = wire.OpContinuation
		return [][]byte{f.Bytes()}
	}
	data := make([]byte, fragmentSize)
	for sent := 0; sent < messageSize; sent += len(data) {
		within(t, conn)
		_, werr := conn.Write(data)
		now, err := resident(t.Target.PID)
		if most = max(most, now); err != nil {
			return "", 0, err
		}
		if werr != nil {
			return "refused: " + string(t.Outcome(werr)), most, nil
		}
	}
	return "carried", most, nil
}

// resident is the memory of a process as Linux counts it, proc(5).
func resident(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("reading the memory of process %d: is it still there, and is this Linux? %w", pid, err)
	}
	if err != nil {
		return 0, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("reading the memory of process %d: no VmRSS in its status", pid)
}
