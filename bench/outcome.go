package bench

import (
	"fmt"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// result is what the report keeps of the workload.
func (r *run) result() result.Workload {
	out := result.Workload{
		Name: r.w.Name, Label: r.label, Backend: r.w.Backend, Arms: []result.Arm{}, Comparisons: r.compare(), Steps: r.steps(),
		Windows: r.windows, WindowNS: int64(r.plan.Window),
		RatePerS: r.w.Rate, ConnectRatePerS: r.w.ConnectRate, Arrival: r.w.Arrival, Log: r.logName,
		Load: r.load, WarmupWindows: r.warmupWindows, WarmupSteady: r.warmupSteady, StoppedBy: r.stoppedBy,
		Shape: r.w.shape(),
	}
	if r.w.requests() {
		out.Tunnels, out.Active = r.w.Tunnels, r.w.active()
	}
	for _, a := range r.arms {
		arm := result.Arm{
			Path: a.Path, Peer: a.Peer, Requests: a.total.planned, Errors: a.total.errors, Phases: a.rec.totals(), ErrorSamples: a.total.samples,
			Late: a.total.planned - a.total.achieved, Dropped: a.total.dropped, Censored: a.total.censored, Notes: a.notes,
		}
		if r.w.Mode == ModeClosed {
			arm.Notes = append(arm.Notes, "closed loop: nothing waits for its turn, so steady_rtt is the time of service alone")
		}
		if s := float64(a.measured) * r.plan.Window.Seconds(); s > 0 {
			arm.ThroughputPerS = float64(a.total.done) / s
		}
		if a.Upgrade != nil {
			arm.Upgrade = a.Upgrade()
		}
		arm.Bytes, arm.BytesPerS, arm.TLS = a.total.moved.bytes, a.total.moved.perSecond(), tlsWords(a.tls)
		if a.idle != "" {
			arm.Notes = append(arm.Notes, a.idle)
		}
		if n := a.total.reopened; n > 0 {
			arm.Notes = append(arm.Notes, plural(n, "tunnel that broke was opened again", "tunnels that broke were opened again"))
		}
		if r.excluded > 0 {
			arm.Notes = append(arm.Notes, fmt.Sprintf(
				"%d of %d windows "+excludedNote+": the load generator was late (no error of the target)", r.excluded, r.windows))
		}
		out.Arms = append(out.Arms, arm)
	}
	r.series(out.Arms)
	return out
}

// excludedNote is in the note of windows that are left out.
const excludedNote = "are left out of the distributions, on every arm"

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
