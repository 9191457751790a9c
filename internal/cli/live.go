package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/progress"
	"github.com/tlsroute/tlsroute-bench/internal/reportserver"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// liveEvery is how often the page of a run under way is made again while somebody looks: making it takes the processor some milliseconds
// from what is measured.
const liveEvery = 5 * time.Second

// live serves the page of the runs of one command, one after the other, at one address.
type live struct {
	server *reportserver.Server
	page   *reportserver.Switch
}

// startLive listens before anything else is started, so that an address in use costs nothing.
func (o *runner) startLive(addr string) error {
	l, names, err := listenForPages(addr)
	if err != nil {
		return usagef("--live: %w", err)
	}
	page := &reportserver.Switch{}
	o.live = &live{server: reportserver.Start(l, page, names...), page: page}
	if !o.quiet {
		fmt.Fprintf(o.env.Stderr, "live: %s\n", o.live.server.URL())
	}
	return nil
}

// show puts a run on the page, and returns what ends it there with its final report.
func (l *live) show(g *result.Growing) (finish func(context.Context, *result.Run) error) {
	if l == nil {
		return func(context.Context, *result.Run) error { return nil }
	}
	page := reportserver.NewLive(liveEvery, g.Copy)
	l.page.To(page)
	return page.Finish
}

func (l *live) close() error {
	if l == nil {
		return nil
	}
	if err := l.server.Close(); err != nil {
		return errors.Join(errors.New("--live"), err)
	}
	return nil
}

// benchSoFar shows a measurement under way: to the page as a part of the run, and behind the bar in a few figures. Its methods are
// called from one goroutine, that of bench.Run.
type benchSoFar struct {
	run    *result.Growing
	step   *progress.Step
	total  int    // windows of the step, as far as is known
	name   string // of the workload that was named last
	wanted map[string]int
	labels []string
	list   []result.Workload
}

func (b *benchSoFar) progress(workload string, done, total int) {
	if b.wanted == nil {
		b.wanted = map[string]int{}
	}
	if before, ok := b.wanted[workload]; ok && total != before { // windows that had to be left out are made up for
		b.total += total - before
		b.step.Total(b.total)
	}
	b.wanted[workload] = total
	if workload != b.name {
		b.name = workload
		b.step.Figures("")
		b.step.Note(workload)
	}
	if done > 0 { // else search or warm-up
		b.step.Add(1)
	}
}

func (b *benchSoFar) opening(workload, path string, open, total int) {
	b.name = "" // that of the workload comes back with its first window
	b.step.Figures("")
	b.step.Note(fmt.Sprintf("%s: %s: %d of %d tunnels open", workload, path, open, total))
}

func (b *benchSoFar) partial(label string, w result.Workload) {
	b.step.Figures(benchFigures(w))
	i := slices.Index(b.labels, label)
	if i < 0 {
		i = len(b.labels)
		b.labels, b.list = append(b.labels, label), append(b.list, w)
	}
	b.list[i] = w
	so := &result.Bench{Workloads: slices.Clone(b.list), Limits: []result.Limit{}, Validity: result.Validity{OK: true}}
	b.run.Change(func(r *result.Run) { r.Bench = so })
}

// benchFigures are the rate and errors of all arms together, and the percentiles of the slowest.
func benchFigures(w result.Workload) string {
	var rate float64
	var errs int64
	var slowest result.Phase
	path := ""
	for _, a := range w.Arms {
		rate += a.ThroughputPerS
		errs += a.Errors
		p, ok := a.Phases[result.PhaseSteady]
		if !ok {
			p = a.Phases[result.PhaseConnect]
		}
		if p.Count > 0 && p.P50NS >= slowest.P50NS {
			slowest, path = p, a.Path
		}
	}
	parts := []string{fmt.Sprintf("%.0f/s", rate/float64(max(len(w.Arms), 1))), fmt.Sprintf("%d errors", errs)}
	if path != "" {
		parts = append(parts, fmt.Sprintf("%s p50 %s p99 %s", path, shortTime(slowest.P50NS), shortTime(slowest.P99NS)))
	}
	return strings.Join(parts, " ")
}

// shortTime is a latency in three digits.
func shortTime(ns int64) string {
	d := time.Duration(ns)
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}
