package checks

import (
	"fmt"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

// span bounds how long something took whose clock started at the target's, somewhere between two looks at ours: a pause of ours between
// the two makes it longer than least, one before or behind them is no part of it.
type span struct{ least, atMost time.Duration }

// since is the span from between those looks to now.
func since(before, start time.Time) span { return span{time.Since(start), time.Since(before)} }

// against says whether that was too soon (-1), when it was due (0) or too late (1). Where the two looks are so far apart that more than one
// is possible it is conformance.ErrStalled.
func (s span) against(soonest, latest time.Duration) (int, error) {
	switch {
	case s.atMost < soonest:
		return -1, nil
	case s.least > latest:
		return 1, nil
	case s.least < soonest || s.atMost > latest:
		return 0, fmt.Errorf("%w: between %v and %v passed where %v to %v are right", conformance.ErrStalled,
			s.least.Round(time.Millisecond), s.atMost.Round(time.Millisecond), soonest, latest)
	}
	return 0, nil
}

// pauses looks at the clock again and again, until the function that it returns is called, which says how long this machine let it wait at
// most beyond what it meant to.
func pauses(every time.Duration) (longest func() time.Duration) {
	end, most := make(chan struct{}), make(chan time.Duration)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		var worst time.Duration
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-tick.C:
				worst = max(worst, time.Since(last)-every)
			case <-end:
				most <- max(worst, time.Since(last)-every)
				return
			}
		}
	}()
	return func() time.Duration { close(end); return <-most }
}
