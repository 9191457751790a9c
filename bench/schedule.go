package bench

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"runtime"
	"time"
)

// The arrival processes.
const (
	ArrivalPoisson  = "poisson"
	ArrivalConstant = "constant"
)

// maxRate bounds a plan: beyond a million a second the sum of float64 gaps and one pacing thread no longer mean anything.
const maxRate = 1e6

// stream derives an independent generator from the seed of the run and a label, so that adding a workload or a window
// does not move the others.
func stream(seed int64, format string, args ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintf(h, format, args...) // a hash never fails to be written
	return rand.New(rand.NewPCG(uint64(seed), h.Sum64()))
}

// process is one arrival process over [0, end).
type process struct {
	rng  *rand.Rand // nil for constant
	rate profile
	mass float64 // arrivals that were to be expected until now
	none bool
}

func newProcess(rate profile, arrival string, shift float64, rng *rand.Rand) process {
	p := process{rate: rate, none: rate.total() <= 0}
	if arrival == ArrivalConstant {
		p.mass = shift - 0.5 // half a gap at either end: windows put side by side keep the rate
		return p
	}
	p.rng = rng
	return p
}

// next is the following instant, false when the time is over. A process of changing rate is one of rate 1 in the time that counts
// expected arrivals, read off the clock by the inverse of the rate's integral (E. Çinlar, Introduction to Stochastic Processes,
// 1975, section 4.7): no arrival is thrown away, and the constant process bends the same way.
func (p *process) next() (time.Duration, bool) {
	if p.none {
		return 0, false
	}
	if p.rng == nil {
		p.mass++
	} else {
		p.mass += p.rng.ExpFloat64()
	}
	at, ok := p.rate.inverse(p.mass)
	p.none = !ok
	return at, ok
}

// arrival is one thing to do, at its intended offset from the start of the guard.
type arrival struct {
	at      time.Duration
	connect bool // open a new tunnel, rather than use an open one
	seq     int  // counts the arrivals of its kind
}

// schedule merges the requests and the connects of one window in order of time. It depends on seed, workload and window index
// only, never on the arm: that is what makes two windows a pair.
type schedule struct {
	req, con     process
	reqAt, conAt time.Duration
	reqOK, conOK bool
	reqN, conN   int
	burst, left  int // new tunnels that are due at one instant, and how many of them are still to come
}

func newSchedule(seed int64, label string, w *WorkloadPlan, index int, length time.Duration) *schedule {
	return newScheduleAt(seed, label, w, index, steadyRate(w.Rate, length), length)
}

// newScheduleAt has a rate of requests of its own.
func newScheduleAt(seed int64, label string, w *WorkloadPlan, index int, requests profile, length time.Duration) *schedule {
	burst := max(1, w.Shape.Burst)
	s := &schedule{
		burst: burst, left: burst,
		req: newProcess(requests, w.Arrival, w.shift, stream(seed, "%s/%d/request", label, index)),
		con: newProcess(steadyRate(w.ConnectRate/float64(burst), length), w.Arrival, w.shift, stream(seed, "%s/%d/connect", label, index)),
	}
	s.reqAt, s.reqOK = s.req.next()
	s.conAt, s.conOK = s.con.next()
	return s
}

// next is the following arrival, false at the end.
func (s *schedule) next() (arrival, bool) {
	switch {
	case s.reqOK && (!s.conOK || s.reqAt <= s.conAt):
		a := arrival{at: s.reqAt, seq: s.reqN}
		s.reqN++
		s.reqAt, s.reqOK = s.req.next()
		return a, true
	case s.conOK:
		a := arrival{at: s.conAt, connect: true, seq: s.conN}
		s.conN++
		if s.left--; s.left == 0 {
			s.left = s.burst
			s.conAt, s.conOK = s.con.next()
		}
		return a, true
	}
	return arrival{}, false
}

// part is what one of several loops has of a schedule: the requests of its tunnels; the first has the new tunnels too.
type part struct {
	*schedule
	index, of, tunnels int
}

func (p part) next() (arrival, bool) {
	for {
		a, ok := p.schedule.next()
		if !ok || a.connect && p.index == 0 || !a.connect && a.seq%p.tunnels%p.of == p.index {
			return a, ok
		}
	}
}

// pace calls fire for each arrival at start plus its offset, from a thread of its own, until the schedule or ctx ends. fire
// must not block. An arrival that is already due goes at once and keeps its intended time: lateness shows, rate does not sink.
func pace(ctx context.Context, start time.Time, s *schedule, fire func(a arrival, now time.Duration)) {
	paceBy(ctx, start, s, newSleeper(start).until, fire)
}

// paceBy is pace with another way to wait until an instant, which may come back early. It is called from time to time when arrivals
// are late, too.
//
// A thread of its own: the runtime's timers round waits under a millisecond up to one (a median overshoot of 0.88 ms
// against 62 µs by nanosleep; facts/performance.md finding 8). Never spinning: on two cores the spin would be the load.
func paceBy(ctx context.Context, start time.Time, s interface{ next() (arrival, bool) }, until func(time.Duration), fire func(a arrival, now time.Duration)) {
	const (
		slice  = 20 * time.Millisecond // how late a cancellation may be noticed
		atOnce = 8                     // late arrivals, before what came meanwhile is looked at
	)
	runtime.LockOSThread()
	// Unlocked rather than left to die with the goroutine: a thread that ends takes with it, by SIGKILL, every child
	// process that was forked on it with Pdeathsig.
	defer runtime.UnlockOSThread()
	defer wakeInTime()()
	for late := 0; ; late++ {
		a, ok := s.next()
		if !ok {
			return
		}
		now := time.Since(start)
		if late == atOnce {
			late = 0
			until(now)
			now = time.Since(start)
		}
		for now < a.at {
			if ctx.Err() != nil {
				return
			}
			late = 0
			until(min(a.at, now+slice))
			now = time.Since(start)
		}
		if ctx.Err() != nil {
			return
		}
		fire(a, now)
	}
}

// blockOrder is the order of the arms in the two rounds of a block: a random order and its mirror, so ABBA or BAAB for
// two arms. What drifts steadily then costs every arm the same.
func blockOrder(arms int, rng *rand.Rand) []int {
	perm := rng.Perm(arms)
	out := make([]int, 0, 2*arms)
	out = append(out, perm...)
	for i := arms - 1; i >= 0; i-- {
		out = append(out, perm[i])
	}
	return out
}

// ceilDiv is a/b upwards, for sizes.
func ceilDiv(a float64, b int) int { return int(math.Ceil(a / float64(b))) }
