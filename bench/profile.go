package bench

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// RateStep is a part of a workload's rate: From at its start, To at its end, in a straight line, for a time. To 0 is From: a step
// down to nothing is a step of its own, {From: 0}.
type RateStep struct {
	From, To float64
	For      time.Duration
}

// Steps go over the measured parts of the windows, put side by side: pair k has the k-th stretch of one window's length, and its
// guard the rate that the stretch begins with. So a second of the plan is a second of measured time in each arm, arms see the same
// instants, and the plan takes as many pairs as it is long, however many Plan.Pairs asks for. The last stretch is filled up with the
// last rate. A pair that was left out is tried again at its place; where a measurement goes on for precision, the plan is repeated.

// maxPairs bounds the windows of one arm and workload.
const maxPairs = 10_000

// segment is a stretch of time in which the rate is a straight line: arrivals a nanosecond, growing by slope each.
type segment struct {
	length, rate, slope float64
	mass                float64 // arrivals expected in it
}

// profile is the rate over one window, guard included.
type profile []segment

func newSegment(length time.Duration, from, to float64) segment {
	s := segment{length: float64(length), rate: from / 1e9}
	if length > 0 {
		s.slope = (to - from) / 1e9 / s.length
	}
	s.mass = s.length * (from + to) / 2 / 1e9
	return s
}

func steadyRate(rate float64, length time.Duration) profile {
	return profile{newSegment(length, rate, rate)}
}

func (p profile) total() float64 {
	sum := 0.0
	for _, s := range p {
		sum += s.mass
	}
	return sum
}

// inverse is the time by which mass arrivals are expected, false when it is beyond the end.
func (p profile) inverse(mass float64) (time.Duration, bool) {
	at := 0.0
	for _, s := range p {
		if mass < s.mass {
			// The root of rate·x + slope·x²/2 = mass, in the form that has no difference of near numbers.
			return time.Duration(at + 2*mass/(s.rate+math.Sqrt(max(0, s.rate*s.rate+2*s.slope*mass)))), true
		}
		mass -= s.mass
		at += s.length
	}
	return 0, false
}

// at is the rate of the plan at an instant; behind the end it is the last.
func rateAt(steps []RateStep, t time.Duration) float64 {
	for _, s := range steps {
		if t < s.For {
			return s.From + (s.To-s.From)*float64(t)/float64(s.For)
		}
		t -= s.For
	}
	return steps[len(steps)-1].To
}

// profile is the rate of requests in the window at a place of the plan, of so many as places says.
func (w *WorkloadPlan) profile(place int, guard, window time.Duration) profile {
	if len(w.Steps) == 0 {
		return steadyRate(w.Rate, guard+window)
	}
	from := time.Duration(place) * window
	to := from + window
	first := rateAt(w.Steps, from)
	out := profile{newSegment(guard, first, first)}
	begin := time.Duration(0)
	for _, s := range w.Steps {
		end := begin + s.For
		if lo, hi := max(begin, from), min(end, to); lo < hi {
			line := func(t time.Duration) float64 { return s.From + (s.To-s.From)*float64(t-begin)/float64(s.For) }
			out = append(out, newSegment(hi-lo, line(lo), line(hi)))
		}
		begin = end
	}
	if begin < to {
		last := w.Steps[len(w.Steps)-1].To
		out = append(out, newSegment(to-max(begin, from), last, last))
	}
	return out
}

// places is how many windows the steps take; 1 where the rate does not change.
func (w *WorkloadPlan) places(window time.Duration) int {
	var sum time.Duration
	for _, s := range w.Steps {
		sum += s.For
	}
	return max(1, int((sum+window-1)/window))
}

// peak is the highest planned rate of requests.
func (w *WorkloadPlan) peak() float64 {
	top := w.Rate
	for _, s := range w.Steps {
		top = max(top, s.From, s.To)
	}
	return top
}

// requests says whether the workload has requests on open tunnels.
func (w *WorkloadPlan) requests() bool {
	return w.Mode == ModeClosed && !w.closedConnects || w.peak() > 0
}

// prepareSteps checks the steps and makes their mean the rate of the workload.
func (w *WorkloadPlan) prepareSteps() error {
	if len(w.Steps) == 0 {
		return nil
	}
	var sum float64
	var length time.Duration
	steps := make([]RateStep, len(w.Steps))
	for i, s := range w.Steps {
		switch {
		case s.For <= 0 || s.For > 24*time.Hour:
			return fmt.Errorf("steps[%d]: for must be more than nothing and at most a day", i)
		case !(s.From >= 0) || !(s.To >= 0) || s.From > maxRate || s.To > maxRate:
			return fmt.Errorf("steps[%d]: rates must be between 0 and %g a second", i, float64(maxRate))
		}
		setDefault(&s.To, s.From)
		steps[i] = s
		sum += (s.From + s.To) / 2 * s.For.Seconds()
		length += s.For
	}
	if sum == 0 {
		return errors.New("steps: all rates are 0: there is nothing to send")
	}
	w.Steps, w.Rate = steps, sum/length.Seconds()
	return nil
}
