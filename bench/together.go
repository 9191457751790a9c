package bench

import (
	"context"
	"fmt"
	"time"
)

// Barrier keeps the processes together that send parts of one plan.
type Barrier interface {
	// Meet waits until every process is at the point, which has the same name and number of values in all. The sums are over all
	// processes; start is an instant shortly after, the same for all. After an error there is no further meeting.
	Meet(ctx context.Context, point string, values ...float64) (start time.Time, sums []float64, err error)
}

// A plan that is sent by several processes (Plan.Shards) is one plan: its rates and tunnels are the sum over the processes, the arms
// take turns in all of them at once, and every decision on which what follows depends is made by all: whether a window is kept, when
// warm-up and measurement end, what an arm's capacity is. So each process alone has the same windows, and their histograms can be added.
// Poisson arrivals have streams of their own in each, whose sum is again one of the whole rate; constant ones are a gap's share apart.

// share makes the workload this process's part of it.
func (w *WorkloadPlan) share(index, of int) {
	if of <= 1 {
		return
	}
	n := float64(of)
	w.Rate, w.ConnectRate = w.Rate/n, w.ConnectRate/n
	steps := make([]RateStep, len(w.Steps))
	for i, s := range w.Steps {
		steps[i] = RateStep{From: s.From / n, To: s.To / n, For: s.For}
	}
	w.Steps = steps
	w.tunnels = w.Tunnels
	part := func(whole int) int { return (whole + of - 1 - index) / of }
	w.Tunnels = max(1, part(w.Tunnels))
	w.shift = (float64(index)+0.5)/n - 0.5
	if whole := w.Shape.Burst; whole > 0 { // it is one instant, of which each process has a part
		w.burst, w.Shape.Burst, w.shift = whole, part(whole), 0
		w.ConnectRate *= n * float64(w.Shape.Burst) / float64(whole)
	}
}

// meet is Barrier.Meet; a process alone is always there.
func (r *run) meet(ctx context.Context, point string, values ...float64) (time.Time, []float64, error) {
	if r.opt.Barrier == nil {
		return time.Now().Add(startDelay), values, nil
	}
	start, sums, err := r.opt.Barrier.Meet(ctx, r.label+" "+point, values...)
	if err != nil {
		return start, nil, fmt.Errorf("the other processes of this measurement: %w", err)
	}
	return start, sums, nil
}

// all says whether a condition holds in every process.
func (r *run) all(ctx context.Context, point string, ok bool) (bool, error) {
	bad := 0.0
	if !ok {
		bad = 1
	}
	_, sums, err := r.meet(ctx, point, bad)
	return err == nil && sums[0] == 0, err
}

// elsewhere is the reason of a process that is itself in order.
func elsewhere(label, what string) string {
	return label + ": another process of this measurement " + what
}

// Descriptors is how many this process may have open, 0 where that is not known.
func Descriptors() uint64 {
	n, _ := openFiles()
	return n
}
