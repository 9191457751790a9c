package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// CompareSchema names the version of the data model of [Compared].
const CompareSchema = "tlsroute-bench/compare/1"

// Compared is two or more stored runs side by side. The first is what the others are compared with.
type Compared struct {
	Schema  string        `json:"schema"`
	Runs    []ComparedRun `json:"runs"`
	Changes []RunChange   `json:"changes"`
	// Checks are those whose verdict is not the same in all runs; Same counts the others.
	Checks []CheckChange `json:"checks"`
	Same   int           `json:"checks_same"`
	// Notes are what a reader must know before believing a difference, in sentences.
	Notes []string `json:"notes"`

	runs []*result.Run
}

// ComparedRun is one of the runs.
type ComparedRun struct {
	// Label is the name it has in this comparison.
	Label    string         `json:"label"`
	Run      result.Info    `json:"run"`
	Scenario string         `json:"scenario"`
	Verdict  result.Verdict `json:"verdict"`
	// Checks and Conform count checks; Valid is false without a measurement that may be believed.
	Checks  int  `json:"checks"`
	Conform int  `json:"conform"`
	Valid   bool `json:"valid"`
}

// RunChange is one figure of one arm in the first run and in a later one.
type RunChange struct {
	// Run is the label of the later run.
	Run      string `json:"run"`
	Workload string `json:"workload"`
	Path     string `json:"path"`
	// Metric is "<phase>.<percentile>", "ratio <phase>.<percentile>" for that of a path over its baseline path, "throughput" or "errors".
	Metric string `json:"metric"`
	// Then and Now are in Unit: "ns", "ratio", "per_s", "share".
	Then float64 `json:"then"`
	Now  float64 `json:"now"`
	Unit string  `json:"unit"`
	// Ratio is now over then: by CI95 and Verdict where the windows of both runs allow an estimate, else of the two figures alone;
	// absent where then is 0.
	Ratio float64 `json:"ratio,omitempty"`
	// CI95 is absent, and Verdict empty, where there is no estimate.
	CI95    *[2]float64 `json:"ci95,omitempty"`
	Verdict string      `json:"verdict,omitempty"`
}

// CheckChange is one check on one path whose verdict is not the same in all runs.
type CheckChange struct {
	Check string `json:"check"`
	Slug  string `json:"slug"`
	Title string `json:"title"`
	Role  string `json:"role"`
	Path  string `json:"path"`
	// Verdicts are in the order of the runs, empty where a run does not have the check.
	Verdicts []result.CheckVerdict `json:"verdicts"`
	// Turn is "worse" when a later run does not conform where the first did, "better" for the other way round, else "other".
	Turn string `json:"turn"`
}

// Labeled is a run with the name that it is to have in a comparison.
type Labeled struct {
	Label string
	Run   *result.Run
}

// Compare puts runs side by side. Against are the statistics of each later run against the first, in their order, nil where there are
// none: this package measures nothing and estimates nothing. There must be two runs at least.
func Compare(list []Labeled, against []*result.Against) (*Compared, error) {
	if len(list) < 2 {
		return nil, fmt.Errorf("compare: %s given, two are needed", plural(len(list), "report"))
	}
	c := &Compared{Schema: CompareSchema, Changes: []RunChange{}, Checks: []CheckChange{}, Notes: []string{}}
	for _, l := range list {
		label := uniqueLabel(l.Label, c.Runs)
		all := checks(l.Run)
		c.Runs = append(c.Runs, ComparedRun{
			Label: label, Run: l.Run.Run, Scenario: l.Run.Scenario.Name, Verdict: l.Run.Verdict, Checks: distinct(all), Conform: conforming(all),
			Valid: l.Run.Bench != nil && l.Run.Bench.Validity.OK,
		})
		c.runs = append(c.runs, l.Run)
	}
	for i := range list[1:] {
		var a *result.Against
		if i < len(against) {
			a = against[i]
		}
		c.changes(i+1, a)
	}
	c.turns()
	c.notes()
	return c, nil
}

func uniqueLabel(label string, taken []ComparedRun) string {
	label = oneLine(label, 60)
	if label == "" {
		label = "run"
	}
	base := label
	for n := 2; slices.ContainsFunc(taken, func(r ComparedRun) bool { return r.Label == label }); n++ {
		label = fmt.Sprintf("%s (%d)", base, n)
	}
	return label
}

// comparedMetrics are the figures that are put side by side; the intervals and verdicts are those that Against has.
var comparedMetrics = []struct{ phase, stat string }{
	{result.PhaseConnect, "p50"}, {result.PhaseConnect, "p99"}, {result.PhaseSteady, "p50"}, {result.PhaseSteady, "p99"},
}

func (c *Compared) changes(now int, a *result.Against) {
	first, later := c.runs[0].Bench, c.runs[now].Bench
	if first == nil || later == nil {
		return
	}
	est := newEstimates(a, later.Workloads)
	thenNames, nowNames := workloadNames(first.Workloads), workloadNames(later.Workloads)
	for j, w := range later.Workloads {
		i := slices.Index(thenNames, nowNames[j])
		if i < 0 {
			continue
		}
		old := first.Workloads[i]
		for _, arm := range w.Arms {
			k := slices.IndexFunc(old.Arms, func(o result.Arm) bool { return o.Path == arm.Path })
			if k < 0 {
				continue
			}
			add := func(metric, unit string, then, val float64) {
				ch := RunChange{Run: c.Runs[now].Label, Workload: nowNames[j].Text(), Path: arm.Path, Metric: metric, Then: then, Now: val, Unit: unit}
				if then > 0 {
					ch.Ratio = val / then
				}
				est.fill(&ch, w.Name, j)
				c.Changes = append(c.Changes, ch)
			}
			for _, m := range comparedMetrics {
				p, was := arm.Phases[m.phase], old.Arms[k].Phases[m.phase]
				x, lackNow := percentile(p, m.stat)
				y, lackThen := percentile(was, m.stat)
				if lackNow > 0 || lackThen > 0 || p.Count == 0 || was.Count == 0 {
					continue
				}
				add(m.phase+"."+m.stat, "ns", float64(y), float64(x))
			}
			for _, m := range comparedMetrics {
				metric := m.phase + "." + m.stat
				x, y := comparisonOf(w, arm.Path, metric), comparisonOf(old, arm.Path, metric)
				if x != nil && y != nil && x.Baseline == y.Baseline {
					add("ratio "+metric, "ratio", y.Ratio, x.Ratio)
				}
			}
			add("throughput", "per_s", old.Arms[k].ThroughputPerS, arm.ThroughputPerS)
			if arm.Errors > 0 || old.Arms[k].Errors > 0 {
				add("errors", "share", errorShare(old.Arms[k]), errorShare(arm))
			}
		}
	}
}

func errorShare(a result.Arm) float64 { return float64(a.Errors) / float64(max(a.Requests, 1)) }

func comparisonOf(w result.Workload, candidate, metric string) *result.Comparison {
	for i := range w.Comparisons {
		if c := &w.Comparisons[i]; c.Candidate == candidate && c.Metric == metric {
			return c
		}
	}
	return nil
}

// estimates finds the changes of an Against by workload, path and metric. Workloads of one name follow each other there, and one may
// be missing: then it is not known which is which, and none is used.
type estimates struct {
	byKey map[[3]string][]result.Change
	nth   []int // of each workload among those of its name
	of    map[string]int
}

func newEstimates(a *result.Against, list []result.Workload) estimates {
	e := estimates{byKey: map[[3]string][]result.Change{}, of: map[string]int{}}
	for _, w := range list {
		e.nth = append(e.nth, e.of[w.Name])
		e.of[w.Name]++
	}
	if a != nil {
		for _, c := range a.Changes {
			key := [3]string{c.Workload, c.Path, c.Metric}
			e.byKey[key] = append(e.byKey[key], c)
		}
	}
	return e
}

func (e estimates) fill(ch *RunChange, workload string, index int) {
	list := e.byKey[[3]string{workload, ch.Path, ch.Metric}]
	if len(list) != e.of[workload] || e.nth[index] >= len(list) {
		return
	}
	c := list[e.nth[index]]
	ch.Ratio, ch.CI95, ch.Verdict = c.Ratio, &c.CI95, c.Verdict
}

// turns finds the checks that changed.
func (c *Compared) turns() {
	type key struct {
		check, role, path string
		nth               int
	}
	var order []key
	by := map[key]*CheckChange{}
	for i, run := range c.runs {
		if run.Conformance == nil {
			continue
		}
		seen := map[key]int{} // a check may be put to several targets of one role
		for _, r := range run.Conformance.Results {
			k := key{check: r.Check, role: r.Role, path: r.Path}
			seen[k]++
			k.nth = seen[k]
			ch := by[k]
			if ch == nil {
				ch = &CheckChange{Check: r.Check, Slug: r.Slug, Title: r.Title, Role: r.Role, Path: r.Path, Verdicts: make([]result.CheckVerdict, len(c.runs))}
				by[k], order = ch, append(order, k)
			}
			ch.Verdicts[i] = r.Verdict
		}
	}
	for _, k := range order {
		ch := by[k]
		if !slices.ContainsFunc(ch.Verdicts, func(v result.CheckVerdict) bool { return v != ch.Verdicts[0] }) {
			c.Same++
			continue
		}
		ch.Turn = turn(ch.Verdicts)
		c.Checks = append(c.Checks, *ch)
	}
	rank := map[string]int{"worse": 0, "better": 1, "other": 2}
	slices.SortStableFunc(c.Checks, func(a, b CheckChange) int { return rank[a.Turn] - rank[b.Turn] })
}

// turn judges by the first run and the last one that has the check.
func turn(list []result.CheckVerdict) string {
	first, last := list[0], list[0]
	for _, v := range list {
		if v != "" {
			last = v
		}
	}
	switch {
	case first == "":
		return "other"
	case conforms(first) && !conforms(last):
		return "worse"
	case !conforms(first) && conforms(last):
		return "better"
	}
	for _, v := range list[1:] {
		if v != "" && conforms(first) && !conforms(v) {
			return "worse" // in between
		}
	}
	return "other"
}

func (c *Compared) notes() {
	first := c.runs[0]
	for i, run := range c.runs {
		label := c.Runs[i].Label
		say := func(format string, args ...any) { c.Notes = append(c.Notes, label+": "+fmt.Sprintf(format, args...)) }
		if run.Partial {
			say("the run was interrupted.")
		}
		if invalid(run) {
			say("the measurement is not valid: %s", strings.Join(run.Bench.Validity.Reasons, "; "))
		}
		if i == 0 {
			continue
		}
		switch {
		case run.Scenario.Name != first.Scenario.Name:
			say("another scenario than the first run's: %s, not %s.", run.Scenario.Name, first.Scenario.Name)
		case run.Scenario.SHA256 != first.Scenario.SHA256:
			say("the scenario was changed since the first run.")
		}
		if h, f := run.Run.Host, first.Run.Host; h.Name != f.Name || h.CPU != f.CPU || h.CPUs != f.CPUs || h.Memory != f.Memory {
			say("another machine than the first run's: only ratios of a path to its baseline path compare.")
		}
	}
	if n := slices.IndexFunc(c.Changes, func(ch RunChange) bool { return ch.Unit == "ns" && ch.CI95 == nil }); n >= 0 {
		c.Notes = append(c.Notes, "A ratio without an interval is that of two figures: one of the reports has too few windows of it for more.")
	}
}

// Headline says in a sentence what is different.
func (c *Compared) Headline() string {
	n := map[string]int{}
	for _, ch := range c.Changes {
		if ch.Unit == "ns" || ch.Unit == "ratio" {
			n[ch.Verdict]++
		}
	}
	turns := map[string]int{}
	for _, ch := range c.Checks {
		turns[ch.Turn]++
	}
	var parts []string
	for _, v := range []string{"slower", "faster", "equivalent", "inconclusive"} {
		if n[v] > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", plural(n[v], "figure"), v))
		}
	}
	if n[""] > 0 {
		parts = append(parts, plural(n[""], "figure")+" without an interval")
	}
	if len(c.Changes) == 0 {
		parts = append(parts, "no workload and path in common")
	}
	switch {
	case len(c.Checks) > 0:
		for _, t := range []string{"worse", "better", "other"} {
			if turns[t] > 0 {
				word := t
				if t == "other" {
					word = "different"
				}
				parts = append(parts, fmt.Sprintf("%s %s", plural(turns[t], "check result"), word))
			}
		}
	case c.Same > 0:
		parts = append(parts, fmt.Sprintf("all %s the same", plural(c.Same, "check result")))
	}
	return upperFirst(strings.Join(parts, "; ") + ".")
}

// CompareFormat is one way to write a comparison.
type CompareFormat struct {
	Name string
	// File is the name under which it is left in a folder.
	File  string
	Write func(io.Writer, *Compared) error
}

// CompareFormats are all there are.
var CompareFormats = []CompareFormat{
	{"text", "", writeCompareText},
	{"markdown", "compare.md", writeCompareMarkdown},
	{"json", "compare.json", writeCompareJSON},
	{"html", "compare.html", writeCompareHTML},
	{"schema", "compare.schema.json", func(w io.Writer, _ *Compared) error { return writeAll(w, compareSchema, "compare.schema.json") }},
}

// changeHead and cells are the table of changes for a person; the run's name is left out between two.
func (c *Compared) changeHead() []string {
	head := []string{"workload", "path", "figure", "then", "now", "now / then", "95 % interval", "verdict"}
	if len(c.Runs) > 2 {
		head = slices.Insert(head, 3, "run")
	}
	return head
}

func (c *Compared) cells(ch RunChange) []string {
	row := []string{ch.Workload, ch.Path, figureName(ch.Metric), figure(ch.Then, ch.Unit), figure(ch.Now, ch.Unit), ch.RatioText(), ch.IntervalText(), ch.Verdict}
	if len(c.Runs) > 2 {
		row = slices.Insert(row, 3, ch.Run)
	}
	return row
}

// RatioText is the ratio for a person.
func (ch RunChange) RatioText() string {
	if ch.Ratio == 0 {
		return "–"
	}
	return ratio(ch.Ratio)
}

// IntervalText is the interval for a person.
func (ch RunChange) IntervalText() string {
	if ch.CI95 == nil {
		return "–"
	}
	return ratio(ch.CI95[0]) + " to " + ratio(ch.CI95[1])
}

func figureName(metric string) string {
	if of, ok := strings.CutPrefix(metric, "ratio "); ok {
		return metricName(of) + ", to the baseline path"
	}
	switch metric {
	case "throughput":
		return "answers a second"
	case "errors":
		return "share of errors"
	}
	return metricName(metric)
}

func figure(v float64, unit string) string {
	switch unit {
	case "ns":
		return duration(int64(v))
	case "ratio":
		return ratio(v)
	case "share":
		return significant(100*v) + " %"
	}
	return significant(v)
}
