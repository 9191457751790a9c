package lab

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// strikeBackend does to a backend what a fault says, and undoes it when its time is over, or the timeline.
func (p *Play) strikeBackend(ctx context.Context, f scenario.Fault) error {
	faults := p.lab.backend(f.Backend).Faults
	life := context.WithoutCancel(ctx) // half a fault is worse than a late end
	var undo func(context.Context) error
	var err error
	switch f.Kind {
	case scenario.KindRestart:
		return faults.Restart(life)
	case scenario.KindKill:
		undo, err = faults.Restart, faults.Kill(life)
	case scenario.KindPause:
		undo, err = faults.Resume, faults.Pause(life)
	}
	if err != nil || f.For == 0 {
		return err
	}
	over := time.NewTimer(time.Duration(f.For))
	defer over.Stop()
	select {
	case <-over.C:
	case <-ctx.Done():
	}
	return undo(life)
}

// checkBackendFaults says which backends cannot fail, where backends without a driver of their own get that one; "" leaves those alone.
func checkBackendFaults(sc *scenario.Scenario, driver string) []scenario.Problem {
	var problems []scenario.Problem
	for n, f := range sc.Topology.Faults {
		i := slices.IndexFunc(sc.Backends, func(b scenario.Backend) bool { return b.Name == f.Backend })
		if f.Backend == "" || i < 0 {
			continue
		}
		b := sc.Backends[i]
		chosen := cmp.Or(b.Driver, driver)
		tried := []string{chosen}
		if chosen == auto || chosen == "" {
			tried = realness
		}
		if slices.ContainsFunc(tried, func(d string) bool { return backend.Fails(d, b.Kind) }) {
			continue
		}
		message := fmt.Sprintf("no driver of kind %s can be killed or paused", b.Kind)
		if fails := canFail(b.Kind); fails != "" {
			message = fmt.Sprintf("backend %q has driver %s, which cannot be killed or paused: give it driver: %s, or --backends %s", b.Name, chosen, fails, fails)
		}
		problems = append(problems, scenario.Problem{At: []string{"topology", "faults", strconv.Itoa(n), "backend"}, Message: message})
	}
	return problems
}

// canFail is the driver by which a backend of a kind can fail, the quicker one where there are two; empty for none.
func canFail(kind string) string {
	for _, driver := range []string{backend.Local, backend.Container} {
		if backend.Fails(driver, kind) {
			return driver
		}
	}
	return ""
}

// readyToFail refuses a topology in which auto has chosen a driver that cannot do what the timeline asks for.
func (l *Lab) readyToFail() error {
	for _, f := range l.scenario.Topology.Faults {
		if b := l.backend(f.Backend); b != nil && b.Faults == nil {
			return fmt.Errorf("lab: topology.faults wants %s of backend %s, and driver %s cannot (%s): give it driver: %s",
				f.Kind, b.Info.Name, b.Info.Driver, cmp.Or(l.drivers[b.Info.Name], "as was asked for"), canFail(b.Info.Kind))
		}
	}
	return nil
}
