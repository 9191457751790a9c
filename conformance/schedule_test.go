package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// soon bounds what must happen in these tests.
const soon = 5 * time.Second

// verdicts are those of a result, in its order.
func verdicts(c *result.Conformance) string {
	var list []string
	for _, r := range c.Results {
		list = append(list, r.Check+" "+string(r.Verdict))
	}
	return strings.Join(list, ", ")
}

// seen makes the Run of a check of a function without trouble.
func seen(run func(ctx context.Context, t *T) Outcome) func(*Check) {
	return func(c *Check) {
		c.Run = func(ctx context.Context, t *T) (Observation, error) { return Observation{Outcome: run(ctx, t)}, nil }
	}
}

func tagged(tags ...string) func(*Check) { return func(c *Check) { c.Tags = tags } }

// TestChecksRunSideBySide: three checks of which each ends only when its successor has, so that the last to begin is the first to
// end; the results are in the order of ids all the same.
func TestChecksRunSideBySide(t *testing.T) {
	target, _ := newTarget(t)
	const n = 3
	ended := make([]chan struct{}, n+1)
	for i := range ended {
		ended[i] = make(chan struct{})
	}
	close(ended[n])
	var checks []Check
	for i := range n {
		checks = append(checks, fake(fmt.Sprintf("X-%02d", i), Observation{}, nil, seen(func(ctx context.Context, _ *T) Outcome {
			defer close(ended[i])
			select {
			case <-ended[i+1]:
				return Routed
			case <-ctx.Done():
				return Timeout
			}
		})))
	}
	var order []string
	c, err := run(t.Context(), target, Options{Parallel: n, Progress: func(done, total int, last result.CheckResult) {
		order = append(order, last.Check)
		if done != len(order) || total != n {
			t.Errorf("progress %d of %d after %v", done, total, order)
		}
	}}, checks)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("X-00 PASS, X-01 PASS, X-02 PASS", verdicts(c)); diff != "" || len(order) != n {
		t.Errorf("%s; told of %v", diff, order)
	}
}

// TestExclusiveChecksAndThoseThatDependWait: nothing runs beside an exclusive check, and nothing before what it depends on.
func TestExclusiveChecksAndThoseThatDependWait(t *testing.T) {
	target, _ := newTarget(t)
	target.Paths = append(target.Paths, Path{Name: "other", Address: target.Paths[0].Address})
	var mu sync.Mutex // guards what follows
	running := map[string]int{}
	var before []string
	watch := func(c *Check) {
		id, alone := c.ID, slices.Contains(c.Tags, Exclusive)
		seen(func(context.Context, *T) Outcome {
			mu.Lock()
			if len(running) > 0 && (alone || running["X-02"] > 0) {
				t.Errorf("%s runs beside %v", id, running)
			}
			running[id]++
			before = append(before, id)
			mu.Unlock()
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				if running[id]--; running[id] == 0 {
					delete(running, id)
				}
			}()
			time.Sleep(10 * time.Millisecond) // room for a mistake to show; nothing waits for it
			return Routed
		})(c)
	}
	depends := func(id string) func(*Check) { return func(c *Check) { c.Depends = []string{id} } }
	c, err := run(t.Context(), target, Options{Parallel: 8}, []Check{
		fake("X-01", Observation{}, nil, watch),
		fake("X-02", Observation{}, nil, tagged(Exclusive), watch),
		fake("X-03", Observation{}, nil, depends("X-02"), watch),
		fake("X-04", Observation{}, nil, watch),
	})
	if err != nil || c.Totals[result.CheckPass] != 8 {
		t.Fatalf("%v %s", err, verdicts(c))
	}
	if first, last := slices.Index(before, "X-03"), slices.Index(before, "X-02"); first < last+2 {
		t.Errorf("X-03 depends on X-02, and the order was %v", before)
	}
}

// TestACountIsNotDisturbed: two checks count what the witnesses accept, one of them while it has the target dial; beside them one
// dials all the time, as it may.
func TestACountIsNotDisturbed(t *testing.T) {
	for round := range 2 {
		target, _ := newTarget(t)
		var counting, dials atomic.Int32
		dial := func(ctx context.Context, t *T) error {
			conn, err := t.Open(ctx, "a")
			if err == nil {
				o, _ := t.Served(ctx, conn, "wa")
				if o.Outcome != Routed {
					err = errors.New(o.Detail)
				}
			}
			return err
		}
		counts := func(forbidden bool) func(*Check) {
			return func(c *Check) {
				c.Control = dial
				seen(func(ctx context.Context, t *T) Outcome {
					before := t.Accepted()
					counting.Add(1)
					defer counting.Add(-1)
					if forbidden {
						if dial(ctx, t) != nil {
							return Lost
						}
					}
					if _, ok := t.NotDialled(ctx, before); !ok {
						return Dialled
					}
					return Routed
				})(c)
			}
		}
		busy := seen(func(ctx context.Context, tt *T) Outcome {
			for range 10 {
				if counting.Load() > 0 && tt.place != nil {
					t.Error("a check dials beside one that counts")
				}
				if dial(ctx, tt) != nil {
					return Lost
				}
				dials.Add(1)
			}
			return Routed
		})
		c, err := run(t.Context(), target, Options{Parallel: 4}, []Check{
			fake("X-01", Observation{}, nil, counts(false)), fake("X-02", Observation{}, nil, counts(true)),
			fake("X-03", Observation{}, nil, busy), fake("X-04", Observation{}, nil, counts(false)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("X-01 PASS, X-02 FAIL, X-03 PASS, X-04 PASS", verdicts(c)); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
		if dials.Load() != 10 {
			t.Errorf("%d dials", dials.Load())
		}
	}
}

// TestAGateThatDoesNotOpenIsNotWaitedFor: one that stays busy holds up the one that counts for a while and no longer, and who has
// left can do no harm.
func TestAGateThatDoesNotOpenIsNotWaitedFor(t *testing.T) {
	var g gate
	busy, ok := g.enter(t.Context(), 1, 2)
	counter, ok2 := g.enter(t.Context(), 1, 2)
	if !ok || !ok2 {
		t.Fatal("nobody is quiet, and the gate is shut")
	}
	if counter.quiet(time.Millisecond) {
		t.Error("quiet beside one that is busy")
	}
	busy.leave()
	if !counter.quiet(soon) || !counter.quiet(0) {
		t.Error("not quiet though alone")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p, ok := g.enter(ctx, 1, 2); ok {
		t.Error("entered beside a quiet one")
	} else {
		p.leave()
	}
	counter.leave()
	counter.leave()
	if counter.quiet(soon) {
		t.Error("quiet after it left")
	}
	if g.busy != 0 || g.quiet != 0 || g.waiting != 0 {
		t.Errorf("left behind: %+v", &g)
	}
}

// TestSeedsAreOfTheCheckAndThePath: what a check draws does not depend on what else is run, or when.
func TestSeedsAreOfTheCheckAndThePath(t *testing.T) {
	target, _ := newTarget(t)
	target.Paths = append(target.Paths, Path{Name: "other", Address: target.Paths[0].Address})
	seeds := func(opt Options) map[string]int64 {
		var mu sync.Mutex
		got := map[string]int64{}
		note := seen(func(_ context.Context, t *T) Outcome {
			mu.Lock()
			defer mu.Unlock()
			got[t.Check.ID+" "+t.Path.Name] = t.Seed
			return Routed
		})
		if _, err := run(t.Context(), target, opt, []Check{fake("X-01", Observation{}, nil, note), fake("X-02", Observation{}, nil, note)}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	all := seeds(Options{Seed: 7, Parallel: 4})
	distinct := map[int64]bool{}
	for _, s := range all {
		distinct[s] = true
	}
	if len(all) != 4 || len(distinct) != 4 {
		t.Errorf("seeds %v", all)
	}
	for name, s := range seeds(Options{Seed: 7, Parallel: 1, Only: []string{"X-02"}}) {
		if all[name] != s {
			t.Errorf("%s: %d alone, %d among others", name, s, all[name])
		}
	}
	for name, s := range seeds(Options{Seed: 8}) {
		if all[name] == s {
			t.Errorf("%s has seed %d with another seed of the run too", name, s)
		}
	}
}

// late is a witness to which connections still come that a check before has set off.
type late struct{ asked atomic.Int64 }

func (*late) Find(string) []witness.Record { return nil }

// Accepted grows with the first ten times it is asked.
func (l *late) Accepted() int64 { return min(l.asked.Add(1), 10) }

// TestACountBeginsWhenWhatWasBeforeIsOver: connections that come late are not this check's.
func TestACountBeginsWhenWhatWasBeforeIsOver(t *testing.T) {
	target, w := newTarget(t)
	target.Witnesses["late"] = &late{}
	c, err := run(t.Context(), target, Options{}, []Check{fake("X-01", Observation{}, nil, seen(func(ctx context.Context, tt *T) Outcome {
		before := tt.Accepted()
		if want := 10 + w.Accepted(); before != want {
			t.Errorf("counted from %d on, want %d", before, want)
		}
		if _, ok := tt.NotDialled(ctx, before); !ok {
			return Dialled
		}
		return Routed
	}))})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("X-01 PASS", verdicts(c)); diff != "" {
		t.Error(diff)
	}
}

// TestTimersAreSatOutBesideTheGroups: a check that waits ends when one of a later group has, which counts beside it; results keep their
// order.
func TestTimersAreSatOutBesideTheGroups(t *testing.T) {
	target, _ := newTarget(t)
	counted := make(chan struct{})
	timer := fake("A-01", Observation{}, nil, tagged(Timing), seen(func(ctx context.Context, t *T) Outcome {
		t.AtRest()
		select {
		case <-counted:
			return Routed
		case <-ctx.Done():
			return Timeout
		}
	}))
	counts := fake("B-01", Observation{}, nil, seen(func(ctx context.Context, t *T) Outcome {
		before := t.Accepted()
		if _, ok := t.NotDialled(ctx, before); !ok {
			return Dialled
		}
		close(counted)
		return Routed
	}))
	alone := fake("B-02", Observation{}, nil, tagged(Exclusive), seen(func(context.Context, *T) Outcome {
		select {
		case <-counted:
			return Routed
		default:
			return Lost
		}
	}))
	c, err := run(t.Context(), target, Options{Parallel: 2}, []Check{timer, counts, alone})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("A-01 PASS, B-01 PASS, B-02 PASS", verdicts(c)); diff != "" {
		t.Errorf("%s %+v", diff, c.Results)
	}
}

// TestTimersOfAPathThatWasGoneProveNothing, though it is there again when they have ended.
func TestTimersOfAPathThatWasGoneProveNothing(t *testing.T) {
	target, w := newTarget(t)
	over := make(chan struct{})
	timer := fake("A-01", Observation{}, nil, tagged(Timing), seen(func(ctx context.Context, t *T) Outcome {
		t.AtRest()
		select {
		case <-over:
			return Routed
		case <-ctx.Done():
			return Timeout
		}
	}))
	breaks := fake("B-01", Observation{}, nil, seen(func(context.Context, *T) Outcome { w.broken.Store(true); return Routed }))
	var next atomic.Int32
	heals := fake("C-01", Observation{Outcome: Routed}, nil, tagged(Counts)) // so that it is not begun before the look behind B-01
	c, err := run(t.Context(), target, Options{Parallel: 2, Progress: func(_, _ int, last result.CheckResult) {
		if last.Check == "C-01" && next.Add(1) == 1 {
			w.broken.Store(false)
			close(over)
		}
	}}, []Check{timer, breaks, heals})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("A-01 INCONCLUSIVE, B-01 INCONCLUSIVE, C-01 INCONCLUSIVE", verdicts(c)); diff != "" {
		t.Errorf("%s %+v", diff, c.Results)
	}
}

// TestGroupsRunIntoEachOther: a check ends only when one of the next group has.
func TestGroupsRunIntoEachOther(t *testing.T) {
	target, _ := newTarget(t)
	next := make(chan struct{})
	c, err := run(t.Context(), target, Options{Parallel: 2}, []Check{
		fake("A-01", Observation{}, nil, seen(func(ctx context.Context, _ *T) Outcome {
			select {
			case <-next:
				return Routed
			case <-ctx.Done():
				return Timeout
			}
		})),
		fake("B-01", Observation{}, nil, seen(func(context.Context, *T) Outcome { close(next); return Routed })),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("A-01 PASS, B-01 PASS", verdicts(c)); diff != "" {
		t.Error(diff)
	}
}

// TestThoseThatCountComeBehindThoseThatDial, whatever their groups are.
func TestThoseThatCountComeBehindThoseThatDial(t *testing.T) {
	target, _ := newTarget(t)
	var dialled atomic.Bool
	c, err := run(t.Context(), target, Options{Parallel: 2}, []Check{
		fake("A-01", Observation{}, nil, tagged(Counts), seen(func(context.Context, *T) Outcome {
			if !dialled.Load() {
				return Misrouted
			}
			return Routed
		})),
		fake("B-01", Observation{}, nil, seen(func(context.Context, *T) Outcome { dialled.Store(true); return Routed })),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("A-01 PASS, B-01 PASS", verdicts(c)); diff != "" {
		t.Error(diff)
	}
}

// TestWhatDependsOnADisturbedCheckWaitsForItsResult: one has the target dial while it counts, so that what it saw in company is no result.
// Alone it fails, and only then is the verdict of what depends on it known.
func TestWhatDependsOnADisturbedCheckWaitsForItsResult(t *testing.T) {
	target, _ := newTarget(t)
	var runs atomic.Int32
	c, err := run(t.Context(), target, Options{Parallel: 4}, []Check{
		fake("X-01", Observation{}, nil, tagged(Counts), func(c *Check) {
			c.Run = func(ctx context.Context, t *T) (Observation, error) {
				runs.Add(1)
				before := t.Accepted()
				conn, err := t.Open(ctx, "a")
				if err != nil {
					return Observation{}, err
				}
				if o, _ := t.Served(ctx, conn, "wa"); o.Outcome != Routed {
					return Observation{}, errors.New(o.Detail)
				}
				detail, undialled := t.NotDialled(ctx, before)
				if undialled {
					return Observation{Outcome: Routed}, nil
				}
				return Observation{Outcome: Dialled, Detail: detail}, nil
			}
		}),
		fake("X-02", Observation{Outcome: Routed}, nil, tagged(Counts), func(c *Check) { c.Depends = []string{"X-01"} }),
		fake("X-03", Observation{Outcome: Routed}, nil, func(c *Check) { c.Depends = []string{"X-02"} }),
		fake("X-04", Observation{Outcome: Routed}, nil, tagged(Counts)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("X-01 FAIL, X-02 DEP-FAILED, X-03 DEP-FAILED, X-04 PASS", verdicts(c)); diff != "" || runs.Load() != 2 {
		t.Errorf("%s after %d runs of X-01", diff, runs.Load())
	}
}
