package bench

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// sleeper sleeps to absolute instants of CLOCK_MONOTONIC, which is also the clock behind time.Since.
type sleeper struct {
	base  int64 // CLOCK_MONOTONIC at start, ns
	start time.Time
}

func newSleeper(start time.Time) *sleeper {
	s := &sleeper{start: start}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err == nil {
		s.base = ts.Nano() - int64(time.Since(start))
	}
	return s
}

func (s *sleeper) until(offset time.Duration) {
	if s.base == 0 {
		time.Sleep(offset - time.Since(s.start))
		return
	}
	ts := unix.NsecToTimespec(s.base + int64(offset))
	for {
		err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil)
		if !errors.Is(err, unix.EINTR) { // the runtime's own signals interrupt; the deadline is absolute, so just go on
			return
		}
	}
}

// wakeInTime has the kernel wake this thread on time: by default it may be 50 µs late, to save power. The function returned undoes it,
// for the thread returns to the pool.
func wakeInTime() (undo func()) {
	if unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) != nil {
		return func() {}
	}
	return func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) } // 0 is back to the default
}
