package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// maxSlow bounds how long one slow transfer may take as planned: it has to be over within the drain time.
const maxSlow = 2 * time.Second

func init() {
	register(kind{
		name: "slow-reader", backend: "witness",
		options: []option{
			// The kernel's own buffers count as the path's: on a machine with tcp_rmem up to 32 MiB a direct path held 22 MiB.
			{"bytes", "48 MiB", func(s *Shape) { setDefault(&s.Bytes, 48<<20) }},
			{"read_rate", "48 MiB a second", func(s *Shape) { setDefault(&s.ReadRate, 48<<20) }},
			{"queue", "40 MiB", func(s *Shape) { setDefault(&s.Queue, 40<<20) }},
		},
		check: func(s Shape) error {
			err := errors.Join(between("bytes", s.Bytes, 1<<10, witness.MaxBulk), between("read_rate", s.ReadRate, 1<<10, witness.MaxBulk))
			switch {
			case err != nil:
				return err
			case s.Bytes/s.ReadRate >= int64(maxSlow/time.Second):
				return optionErrorf("read_rate", "%s at %s a second take longer than %v", sizeWords(s.Bytes), sizeWords(s.ReadRate), maxSlow)
			case s.Queue >= s.Bytes:
				return optionErrorf("queue", "a queue of %s is never longer than a transfer of %s: nothing would be checked", sizeWords(s.Queue), sizeWords(s.Bytes))
			}
			return nil
		},
		make: func(s Shape) workload {
			slow := slowReader(s)
			return bulkWorkload{head: witness.BulkHead{Down: s.Bytes}, pace: slow.pace, tail: slow.tail}
		},
	})
}

// slowReader takes what the witness sends at a bounded rate. Nothing may be lost, and the witness must be held up: what it got rid of
// and the client had not read was held by the path, which may be no more than the queue.
type slowReader Shape

// pace waits until as much is due as was read. A slice at a time: the end of ctx is met at the next read.
func (s slowReader) pace(ctx context.Context, began time.Time, read int64) error {
	due := time.Duration(float64(read) / float64(s.ReadRate) * float64(time.Second))
	if wait := due - time.Since(began); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return fmt.Errorf("slow-reader: %d of %d bytes read: %w", read, s.Bytes, context.Cause(ctx))
		}
	}
	return nil
}

func (s slowReader) tail(t witness.BulkTail) error {
	// A client that was itself late had read less than this by then, which makes the check milder, never wrong.
	held := s.Bytes - int64(t.Sent.Seconds()*float64(s.ReadRate))
	if held > s.Queue {
		return fmt.Errorf("slow-reader: the path held %s that were not read yet, when the sender was done after %v: more than %s",
			sizeWords(held), t.Sent.Round(time.Millisecond), sizeWords(s.Queue))
	}
	return nil
}
