package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// maxRuns is how often a check tagged Timing is run until it passes.
const maxRuns = 3

// ErrStalled is what a check ends with when this machine paused for so long that what was timed proves nothing: neither a failure nor, which
// is worse, a pass. The check is run again, whatever its tags.
var ErrStalled = errors.New("this machine was too slow to tell")

// attempted is one run of a check and what it left.
type attempted struct {
	t            *T
	diff         *result.Diff
	began, ended time.Time
	stalled      bool
	result.Attempt
}

// judge runs one job, again if it is about timing and failed, and says what came of it. Its result means nothing when it was
// disturbed.
func (e *engine) judge(ctx context.Context, j job, p *place) (r result.CheckResult, disturbed bool) {
	r = e.blank(j, "", "")
	var runs []attempted
	for left := maxRuns - 1; ; left-- {
		a := e.attempt(ctx, j, p)
		if a.t.disturbed() {
			return r, true
		}
		if a.stalled && left > 0 && ctx.Err() == nil && (p == nil || p.enter(ctx)) {
			e.logger.Debug("run again", "check", j.check.ID, "path", j.path.Name, "error", a.Detail)
			continue
		}
		runs = append(runs, a)
		if a.Verdict != result.CheckFail || !slices.Contains(j.check.Tags, Timing) || left == 0 {
			break
		}
		if p != nil && !p.enter(ctx) { // it may have given its place up for the rest of a run
			break
		}
	}
	sum(&r, runs)
	e.expect(&r)
	e.save(&r, runs)
	return r, false
}

func (e *engine) attempt(ctx context.Context, j job, p *place) attempted {
	t := e.newT(j.check, j.path)
	t.place = p
	start := time.Now()
	var seen sighting
	if j.check.Setup == nil {
		seen = e.execute(ctx, t)
	} else if running, giveBack, err := e.instances.forCheck(ctx, j.check, e.target.Fixture); err != nil {
		seen = sighting{trouble: err}
	} else {
		t.Instance, t.Path = running, running.at(*j.path)
		seen = e.execute(ctx, t)
		giveBack()
	}
	a := attempted{t: t, began: start, ended: time.Now()}
	a.DurationMS = float64(a.ended.Sub(start)) / 1e6
	a.Verdict, a.Outcome, a.Detail = verdict(j.check, seen)
	a.stalled = errors.Is(seen.trouble, ErrStalled) || errors.Is(seen.control, ErrStalled)
	if a.Verdict != result.CheckPass {
		a.diff = seen.observation.Diff
	}
	if ctx.Err() != nil && a.Verdict != result.CheckPass && a.Verdict != result.CheckTolerated {
		a.Verdict, a.Outcome, a.Detail = result.CheckNotRun, "", "interrupted"
	}
	return a
}

// sum makes one result of the runs. The first counts, but for one thing: a FAIL that a later run does not bear out is FLAKY. A run
// that proves nothing bears out nothing either way.
func sum(r *result.CheckResult, runs []attempted) {
	first, last := runs[0].Attempt, runs[len(runs)-1].Attempt
	r.Verdict, r.Outcome, r.Detail, r.Diff = first.Verdict, first.Outcome, first.Detail, runs[0].diff
	failed := 0
	for _, a := range runs {
		r.DurationMS += a.DurationMS
		if a.Verdict == result.CheckFail {
			failed++
		}
	}
	if len(runs) == 1 {
		return
	}
	for _, a := range runs {
		r.Attempts = append(r.Attempts, a.Attempt)
	}
	switch last.Verdict {
	case result.CheckPass, result.CheckTolerated:
		r.Verdict = result.CheckFlaky
		r.Detail = fmt.Sprintf("FLAKY(%d/%d): it failed in %d of %d runs and then passed; it had been: %s", failed, len(runs), failed, len(runs), first.Detail)
	default:
		r.Detail = fmt.Sprintf("%s (it failed in %d of %d runs)", first.Detail, failed, len(runs))
	}
}

// save keeps the evidence of each run that did not pass; of every run when all of it is asked for.
func (e *engine) save(r *result.CheckResult, runs []attempted) {
	if e.opt.Evidence == nil {
		return
	}
	wanted := []result.CheckVerdict{result.CheckFail, result.CheckInconclusive, result.CheckFlaky, result.CheckXFail, result.CheckXPass}
	if !e.opt.EvidenceAll && !slices.Contains(wanted, r.Verdict) {
		return
	}
	for i, a := range runs {
		name := r.Check + "-" + r.Path
		if i > 0 {
			name += fmt.Sprintf("-run%d", i+1)
		}
		e.saving.Lock()
		paths, err := e.opt.Evidence.Save(name, a.evidence())
		e.saving.Unlock()
		r.Evidence = append(r.Evidence, paths...)
		if err != nil {
			e.logger.Error("evidence is not sound", "check", r.Check, "path", r.Path, "error", err)
			r.Detail = fmt.Sprintf("the evidence is not sound (%v); it had been %s: %s", err, r.Verdict, r.Detail)
			r.Verdict, r.Known = result.CheckInconclusive, nil
		}
	}
}
