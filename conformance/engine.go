package conformance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Trace is what was recorded of the connections of a check.
type Trace = wire.Trace

// EvidenceSink keeps the evidence of a check, one check's at a time, and returns where, relative to the report. The name is the
// check's id and its path, good as a file name.
//
// An error says that the evidence is not what it should be: not written, or not sound. The check is INCONCLUSIVE then, whatever it
// saw, for nobody could look at it.
type EvidenceSink interface {
	Save(name string, e Evidence) (paths []string, err error)
}

// Evidence is what is known of one run of a check.
type Evidence struct {
	// Trace is what the check's own connections carried, and what the witnesses recorded of them.
	Trace Trace
	// KeyLog has the secrets, in the NSS key log format, of Sessions TLS sessions at least.
	KeyLog   []byte
	Sessions int
	// Began and Ended are the times of the run.
	Began, Ended time.Time
}

// Options choose checks and say what is done with what they see. The zero value runs everything and keeps no evidence.
type Options struct {
	// Only and Skip are globs over ids and slugs, Levels and Tags names; see [Select].
	Only, Skip   []string
	Levels, Tags []string
	// Again, unless nil, are ids: of what the others leave, these only.
	Again []string
	// Seed makes the random choices of checks repeatable: each check on each path draws from a seed of its own that comes of this
	// one, its id and its path, so that it makes the same choices whatever else is run. Nonces are random all the same: a witness
	// may be asked by several runs.
	Seed int64
	// Parallel is how many checks are at work side by side; 0 is one a processor and one more, since each waits now and then. Those that only wait do not count: four of those
	// tagged [Timing] weigh as one. Checks tagged [Exclusive], and all checks of a load balancer (whose target they play on one
	// listener), run one at a time.
	Parallel int
	// Background is how many tunnels carry traffic to a router while it is judged; 0 is none.
	Background int
	// Known are failures that are known; see [Known]. Those of the target are added to it.
	Known []Known
	// Evidence keeps the trace of every check that did not simply pass (FAIL, INCONCLUSIVE, FLAKY, XFAIL or XPASS); of every
	// check when EvidenceAll is set.
	Evidence    EvidenceSink
	EvidenceAll bool
	// Progress is told of every result as it comes, one at a time, before the sanity of its group has been looked at again.
	Progress func(done, total int, last result.CheckResult)
	Logger   *slog.Logger
}

// Run puts the chosen checks to the target, group after group, over each path that applies: first what may have company, then what counts
// connections ([Counts]), then what must be alone ([Exclusive]). Results are in the order of ids and paths
// whatever came first. The result is never nil unless the options are at fault (*[UnknownError]). When ctx ends, what has not been
// run is NOT-RUN and the result is returned with the error of ctx.
//
// Before and after what is so run of each group the target has to answer a plain connection on each path (the sanity of it all); if it
// does not, those results on that path are INCONCLUSIVE. What sits out timers is begun before the first group and left beside the
// groups: it is INCONCLUSIVE when its path was found gone at any time meanwhile. A check that is not chosen does not hold up one that depends on it. A check tagged
// [Timing] that FAILs is run again, at most twice; if it then passes it is FLAKY and never PASS.
func Run(ctx context.Context, target Target, opt Options) (*result.Conformance, error) {
	return run(ctx, target, opt, Checks())
}

var discard = slog.New(slog.DiscardHandler)

// job is one check over one path.
type job struct {
	check Check
	path  *Path // nil: the target offers none
	at    int   // of its result among all
}

type engine struct {
	target Target
	opt    Options
	known  []Known
	logger *slog.Logger
	gate   gate
	now    func() time.Time
	timers timers

	saving  sync.Mutex // one at a time saves evidence
	mu      sync.Mutex // guards what follows
	rtt     map[string]roundTrip
	results []result.CheckResult
	ended   []bool
	done    int

	instances instances
}

func run(ctx context.Context, target Target, opt Options, catalogue []Check) (*result.Conformance, error) {
	chosen, err := choose(catalogue, opt)
	if err != nil {
		return nil, err
	}
	e := &engine{target: target, opt: opt, known: slices.Concat(target.Known, opt.Known), logger: opt.Logger, rtt: map[string]roundTrip{}, now: time.Now}
	if err := e.knownChecks(catalogue); err != nil {
		return nil, err
	}
	e.instances.launcher, e.timers.gone = target.Launcher, map[string]error{}
	defer e.instances.stopAll()
	if e.logger == nil {
		e.logger = discard
	}
	if e.opt.Parallel <= 0 {
		e.opt.Parallel = runtime.GOMAXPROCS(0) + 1
	}
	jobs := plan(chosen, target)
	e.results, e.ended = make([]result.CheckResult, len(jobs)), make([]bool, len(jobs))
	var beside *background
	if opt.Background > 0 && target.Role == Router && len(jobs) > 0 {
		if beside, err = startBackground(ctx, &e.target, opt.Background, opt.Seed); err != nil {
			return nil, err
		}
	}
	sit, others := e.splitTimers(jobs)
	e.startTimers(ctx, sit)
	e.waves(ctx, others)
	e.endTimers(ctx)
	c := &result.Conformance{Results: e.results}
	if beside != nil {
		told := beside.end()
		told.Target = target.Name
		c.Background = append(c.Background, *told)
	}
	c.Count()
	return c, context.Cause(ctx)
}

// plan makes the jobs, in the order of ids.
func plan(chosen []Check, target Target) (jobs []job) {
	add := func(c Check, p *Path) { jobs = append(jobs, job{c, p, len(jobs)}) }
	for _, c := range chosen {
		if c.Role != target.Role {
			continue
		}
		paths := Applicable(c, target)
		for i := range paths {
			add(c, &paths[i])
		}
		if len(paths) == 0 {
			add(c, nil)
		}
	}
	return jobs
}

func group(id string) string {
	g, _, _ := strings.Cut(id, "-")
	return g
}

// put stores a result in its place and tells of it.
func (e *engine) put(j job, r result.CheckResult) {
	e.logger.Debug("check done", "check", r.Check, "path", r.Path, "verdict", r.Verdict, "outcome", r.Outcome, "ms", r.DurationMS)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.results[j.at], e.ended[j.at] = r, true
	e.done++
	if e.opt.Progress != nil {
		e.opt.Progress(e.done, len(e.results), r)
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

// refuse says why a job is not run at all, or false.
func (e *engine) refuse(ctx context.Context, b *batch, j job) (result.CheckResult, bool) {
	switch {
	case j.path == nil:
		return e.blank(j, result.CheckNotRun, "the target offers no path for this check"), true
	case ctx.Err() != nil:
		return e.blank(j, result.CheckNotRun, "interrupted"), true
	case e.missing(j.check) != "":
		return e.blank(j, result.CheckUnsupported, "the target does not claim "+e.missing(j.check)), true
	case e.broken(j) != "":
		return e.blank(j, result.CheckDepFailed, "depends on "+e.broken(j)), true
	case b.sanity[j.path.Name] != nil:
		return e.blank(j, result.CheckInconclusive, fmt.Sprintf("the target does not answer a plain connection: %v", b.sanity[j.path.Name])), true
	}
	return result.CheckResult{}, false
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
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range j.check.Depends {
		same, any := "", ""
		sameSeen := false
		for _, r := range e.results {
			if r.Check != id {
				continue
			}
			bad := ""
			if !conforms(r.Verdict) {
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

// conforms says whether a verdict leaves those who depend on it something to stand on.
func conforms(v result.CheckVerdict) bool {
	return slices.Contains([]result.CheckVerdict{result.CheckPass, result.CheckTolerated, result.CheckXPass, result.CheckFlaky}, v)
}

// errHung says that a check outlived its time.
var errHung = errors.New("the check did not end within its time")
