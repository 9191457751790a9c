package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Warmup bounds the time that a workload is sent, to all arms in turns, before its measurement. It ends when the windows' medians
// no longer drift; Max 0 is no warm-up.
type Warmup struct{ Min, Max time.Duration }

// Defaults of a warm-up: for runs of some ten seconds a workload. facts/performance.md section 2.2 has 3 s and 30 s for long ones.
const (
	DefaultWarmupMin = time.Second
	DefaultWarmupMax = 10 * time.Second
)

const (
	// warmupWindows is over how many windows the drift is looked for.
	warmupWindows = 5
	// student975df3 is Student's 0.975 quantile with warmupWindows-2 degrees of freedom.
	student975df3 = 3.182
)

func (p *Plan) prepareWarmup() error {
	if p.Warmup == nil {
		p.Warmup = &Warmup{Min: DefaultWarmupMin, Max: DefaultWarmupMax}
	}
	if w := p.Warmup; w.Min < 0 || w.Max < 0 || w.Max > 0 && w.Min > w.Max {
		return errors.New("warmup: min and max must not be negative, and min no more than max")
	}
	return nil
}

// warm sends windows of the workload, with arrivals of their own, until no arm's median drifts. Each is drained, as all windows
// are, and the schedule of the measurement starts afresh. What fails in it counts as an error; nothing else does.
func (r *run) warm(ctx context.Context, log *intervalLog) error {
	medians := make([][]float64, len(r.arms))
	began := time.Now()
	for round := 1; ; round++ {
		if more, err := r.all(ctx, "warms up", time.Since(began) < r.plan.Warmup.Max); !more {
			if err != nil {
				return err
			}
			break
		}
		for i, a := range r.arms {
			w, err := r.one(ctx, a, -round)
			if err != nil {
				return err
			}
			r.observe(w, -1, true, false)
			stats, _ := a.rec.endWindow(a.Path, w.wallStart(), w.wallEnd(), warmupTag, log)
			a.total.failures(&w.tally)
			r.listen(a, w)
			if st := stats[r.mainPhase()]; st.n > 0 {
				medians[i] = append(medians[i], math.Log(st.q[0]))
			}
		}
		r.warmupWindows++
		r.progress(0)
		if over, err := r.gaveUp(ctx); over || err != nil {
			return err
		}
		var err error
		if r.warmupSteady, err = r.all(ctx, "is warm", time.Since(began) >= r.plan.Warmup.Min && steady(medians)); err != nil {
			return err
		}
		if r.warmupSteady {
			break
		}
	}
	r.opt.Logger.Debug("warm-up", slog.String("workload", r.label), slog.Int("windows", r.warmupWindows), slog.Bool("steady", r.warmupSteady))
	if !r.warmupSteady && r.warmupWindows > 0 {
		note := fmt.Sprintf("the warm-up was given up after %v: the medians of its last windows still drifted, or there were fewer than %d",
			r.plan.Warmup.Max, warmupWindows)
		for _, a := range r.arms {
			a.notes = append(a.notes, note)
		}
	}
	return nil
}

// steady says whether the last medians of every arm have a slope that cannot be told from 0 at 5 per cent.
func steady(medians [][]float64) bool {
	for _, m := range medians {
		if len(m) < warmupWindows || slopeT(m[len(m)-warmupWindows:]) > student975df3 {
			return false
		}
	}
	return true
}

// slopeT is the size of the least-squares slope of y in its standard errors.
func slopeT(y []float64) float64 {
	n := float64(len(y))
	mid, mean := (n-1)/2, 0.0
	for _, v := range y {
		mean += v / n
	}
	var sxx, sxy, syy float64
	for i, v := range y {
		dx, dy := float64(i)-mid, v-mean
		sxx, sxy, syy = sxx+dx*dx, sxy+dx*dy, syy+dy*dy
	}
	if sxy == 0 {
		return 0
	}
	slope := sxy / sxx
	rest := max(0, syy-slope*sxy)
	return math.Abs(slope) / math.Sqrt(rest/(n-2)/sxx)
}
