//go:build !linux

package bench

import "time"

// sleeper without clock_nanosleep: the runtime's timers, with their granularity, which sched_lag then shows.
type sleeper struct{ start time.Time }

func newSleeper(start time.Time) *sleeper { return &sleeper{start: start} }

func (s *sleeper) until(offset time.Duration) { time.Sleep(offset - time.Since(s.start)) }

func wakeInTime() (undo func()) { return func() {} }
