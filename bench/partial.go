package bench

import (
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// partialEvery bounds how often a measurement under way is shown: making the figures of two arms takes 17 ms of processor
// (go test -bench SoFar ./bench, on two busy cores), between windows.
const partialEvery = time.Second

// partial shows how far the workload is. It is called between windows only, so that it is in none of them.
func (r *run) partial() {
	if r.opt.Partial == nil || time.Since(r.shown) < partialEvery {
		return
	}
	r.opt.Partial(r.label, r.soFar())
	r.shown = time.Now()
}

// soFar is the result without what takes long to make or needs the end: comparisons, and intervals over windows.
func (r *run) soFar() result.Workload {
	out := result.Workload{
		Name: r.w.Name, Label: r.label, Backend: r.w.Backend, Arms: []result.Arm{}, Comparisons: []result.Comparison{},
		Windows: r.windows, WindowNS: int64(r.plan.Window), RatePerS: r.w.Rate, ConnectRatePerS: r.w.ConnectRate, Arrival: r.w.Arrival,
		Load: r.load, WarmupWindows: r.warmupWindows, WarmupSteady: r.warmupSteady, Shape: r.w.shape(),
	}
	if r.w.requests() {
		out.Tunnels, out.Active = r.w.Tunnels, r.w.active()
	}
	for _, a := range r.arms {
		arm := result.Arm{Path: a.Path, Peer: a.Peer, Requests: a.total.planned, Errors: a.total.errors, Phases: a.rec.soFar()}
		if s := float64(a.measured) * r.plan.Window.Seconds(); s > 0 {
			arm.ThroughputPerS = float64(a.total.done) / s
		}
		if a.Upgrade != nil {
			arm.Upgrade = a.Upgrade()
		}
		out.Arms = append(out.Arms, arm)
	}
	r.series(out.Arms)
	return out
}

// soFar is totals without intervals over windows.
func (a *armRecorder) soFar() map[string]result.Phase {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]result.Phase{}
	for name, p := range a.phases {
		if p.total.TotalCount() > 0 {
			out[name] = summary(p.total, nil)
		}
	}
	return out
}
