package conformance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Trace is what was recorded of the connections of a check.
type Trace = wire.Trace

// EvidenceSink keeps the evidence of a check and returns where, relative to the report. The name is the check's id and its
// path, good as a file name.
type EvidenceSink interface {
	Save(name string, trace Trace, keylog []byte) (paths []string, err error)
}

// Options choose checks and say what is done with what they see. The zero value runs everything and keeps no evidence.
type Options struct {
	// Only and Skip are globs over ids and slugs, Levels and Tags names; see [Select].
	Only, Skip   []string
	Levels, Tags []string
	// Seed makes the random choices of checks repeatable.
	Seed int64
	// Background is how many tunnels carry traffic to a router while it is judged; 0 is none.
	Background int
	// Evidence keeps the trace of every check that ends as FAIL, INCONCLUSIVE or XPASS; of every check when EvidenceAll is set.
	Evidence    EvidenceSink
	EvidenceAll bool
	// Progress is told of every result, in order, before the sanity of its group has been looked at again.
	Progress func(done, total int, last result.CheckResult)
	Logger   *slog.Logger
}

// Run puts the chosen checks to the target, one after the other in the order of ids, over each path that applies. The result is
// never nil unless the options are at fault (*[UnknownError]). When ctx ends, what has not been run is NOT-RUN and the result
// is returned with the error of ctx.
//
// Before and after each group and path the target has to answer a plain connection (the sanity of it all); if it does not, the
// group's results on that path are INCONCLUSIVE. A check that is not chosen does not hold up one that depends on it.
func Run(ctx context.Context, target Target, opt Options) (*result.Conformance, error) {
	return run(ctx, target, opt, Checks())
}

var discard = slog.New(slog.DiscardHandler)

// job is one check over one path.
type job struct {
	check Check
	path  *Path // nil: the target offers none
}

type engine struct {
	target  Target
	opt     Options
	logger  *slog.Logger
	results []result.CheckResult
	rtt     map[string]roundTrip
	sanity  map[string]error
	total   int

	instances instances
}

func run(ctx context.Context, target Target, opt Options, catalogue []Check) (*result.Conformance, error) {
	chosen, err := choose(catalogue, opt)
	if err != nil {
		return nil, err
	}
	e := &engine{target: target, opt: opt, logger: opt.Logger, rtt: map[string]roundTrip{}}
	e.instances.launcher = target.Launcher
	defer e.instances.stopAll()
	if e.logger == nil {
		e.logger = discard
	}
	groups := plan(chosen, target)
	for _, g := range groups {
		e.total += len(g)
	}
	var beside *background
	if opt.Background > 0 && target.Role == Router && len(groups) > 0 {
		if beside, err = startBackground(ctx, &e.target, opt.Background, opt.Seed); err != nil {
			return nil, err
		}
	}
	for _, g := range groups {
		e.group(ctx, g)
	}
	c := &result.Conformance{Results: e.results}
	if beside != nil {
		told := beside.end()
		told.Target = target.Name
		c.Background = append(c.Background, *told)
	}
	if c.Results == nil {
		c.Results = []result.CheckResult{}
	}
	c.Count()
	return c, context.Cause(ctx)
}

// plan makes the jobs, group by group, in the order of ids.
func plan(chosen []Check, target Target) [][]job {
	var groups [][]job
	last := ""
	for _, c := range chosen {
		if c.Role != target.Role {
			continue
		}
		if g := group(c.ID); g != last || len(groups) == 0 {
			groups, last = append(groups, nil), g
		}
		jobs := &groups[len(groups)-1]
		paths := Applicable(c, target)
		for i := range paths {
			*jobs = append(*jobs, job{c, &paths[i]})
		}
		if len(paths) == 0 {
			*jobs = append(*jobs, job{c, nil})
		}
	}
	return groups
}

func group(id string) string {
	g, _, _ := strings.Cut(id, "-")
	return g
}

// group runs the jobs of one group between two looks at the target's sanity.
func (e *engine) group(ctx context.Context, jobs []job) {
	first := len(e.results)
	e.sanity = map[string]error{}
	for _, j := range jobs {
		if j.path == nil {
			e.add(e.blank(j, result.CheckNotRun, "the target offers no path for this check"))
			continue
		}
		if _, known := e.sanity[j.path.Name]; !known && ctx.Err() == nil {
			e.sanity[j.path.Name] = e.sane(ctx, j.path)
		}
		e.add(e.judge(ctx, j))
	}
	for name, before := range e.sanity {
		p := pathNamed(jobs, name)
		if before != nil || ctx.Err() != nil || p == nil {
			continue
		}
		if err := e.sane(ctx, p); err != nil && ctx.Err() == nil {
			e.doubt(first, name, err)
		}
	}
}

func pathNamed(jobs []job, name string) *Path {
	for _, j := range jobs {
		if j.path != nil && j.path.Name == name {
			return j.path
		}
	}
	return nil
}

// doubt takes back what was said of a path whose sanity was gone after the group.
func (e *engine) doubt(first int, path string, err error) {
	for i := first; i < len(e.results); i++ {
		r := &e.results[i]
		judged := r.Verdict == result.CheckPass || r.Verdict == result.CheckTolerated || r.Verdict == result.CheckFail
		if judged && r.Path == path {
			r.Detail = fmt.Sprintf("the target no longer answered a plain connection after group %s (%v); it had been %s: %s", r.Group, err, r.Verdict, r.Detail)
			r.Verdict = result.CheckInconclusive
		}
	}
}

func (e *engine) add(r result.CheckResult) {
	e.results = append(e.results, r)
	e.logger.Debug("check done", "check", r.Check, "path", r.Path, "verdict", r.Verdict, "outcome", r.Outcome, "ms", r.DurationMS)
	if e.opt.Progress != nil {
		e.opt.Progress(len(e.results), e.total, r)
	}
}

// blank is the result of a job with everything that does not depend on running it.
func (e *engine) blank(j job, v result.CheckVerdict, detail string) result.CheckResult {
	c := j.check
	r := result.CheckResult{
		Check: c.ID, Slug: c.Slug, Title: c.Title, Group: group(c.ID), Level: string(c.Level), Origin: string(c.Origin),
		Target: e.target.Name, Role: string(c.Role), Verdict: v, Detail: detail,
		Clauses: c.Clauses, Why: c.Why, Evidence: []string{},
	}
	for _, a := range c.Accept {
		r.Expected = append(r.Expected, string(a.Outcome))
	}
	if j.path != nil {
		r.Path = j.path.Name
	}
	return r
}

// judge runs one job, or says why not.
func (e *engine) judge(ctx context.Context, j job) result.CheckResult {
	switch {
	case ctx.Err() != nil:
		return e.blank(j, result.CheckNotRun, "interrupted")
	case e.missing(j.check) != "":
		return e.blank(j, result.CheckUnsupported, "the target does not claim "+e.missing(j.check))
	case e.broken(j) != "":
		return e.blank(j, result.CheckDepFailed, "depends on "+e.broken(j))
	case e.sanity[j.path.Name] != nil:
		return e.blank(j, result.CheckInconclusive, fmt.Sprintf("the target does not answer a plain connection: %v", e.sanity[j.path.Name]))
	}
	path, running := j.path, (*Running)(nil)
	if j.check.Setup != nil {
		var giveBack func()
		var err error
		running, giveBack, err = e.instances.forCheck(ctx, j.check, e.target.Fixture)
		if err != nil {
			v, _, detail := verdict(j.check, sighting{trouble: err})
			return e.blank(j, v, detail)
		}
		defer giveBack()
		path = running.at(*j.path)
	}
	t := e.newT(j.check, path)
	t.Instance = running
	r := e.blank(j, "", "")
	start := time.Now()
	seen := e.execute(ctx, t)
	r.DurationMS = float64(time.Since(start)) / 1e6
	r.Verdict, r.Outcome, r.Detail = verdict(j.check, seen)
	if ctx.Err() != nil && r.Verdict != result.CheckPass && r.Verdict != result.CheckTolerated {
		r.Verdict, r.Outcome, r.Detail = result.CheckNotRun, "", "interrupted"
	}
	e.save(t, &r)
	return r
}

func (e *engine) missing(c Check) string {
	for _, f := range c.Features {
		if !slices.Contains(e.target.Features, f) {
			return f
		}
	}
	return ""
}

// broken names a dependency that did not conform: its result on the same path, or on any when it was not put to this one.
func (e *engine) broken(j job) string {
	for _, id := range j.check.Depends {
		same, any := "", ""
		sameSeen := false
		for _, r := range e.results {
			if r.Check != id {
				continue
			}
			bad := ""
			if r.Verdict != result.CheckPass && r.Verdict != result.CheckTolerated {
				bad = fmt.Sprintf("%s, which is %s", id, r.Verdict)
				any = bad
			}
			if r.Path == j.path.Name {
				same, sameSeen = bad, true
			}
		}
		if sameSeen && same != "" {
			return same
		}
		if !sameSeen && any != "" {
			return any
		}
	}
	return ""
}

func (e *engine) save(t *T, r *result.CheckResult) {
	if e.opt.Evidence == nil {
		return
	}
	switch r.Verdict {
	case result.CheckFail, result.CheckInconclusive, result.CheckXPass:
	default:
		if !e.opt.EvidenceAll {
			return
		}
	}
	paths, err := e.opt.Evidence.Save(r.Check+"-"+r.Path, t.rec.Trace(), t.keylog.Bytes())
	if err != nil {
		e.logger.Error("evidence could not be saved", "check", r.Check, "path", r.Path, "error", err)
		r.Detail = strings.TrimSpace(r.Detail + fmt.Sprintf(" (evidence could not be saved: %v)", err))
	}
	r.Evidence = append(r.Evidence, paths...)
}

// errHung says that a check outlived its time.
var errHung = errors.New("the check did not end within its time")
