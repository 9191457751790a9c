package bench

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Part is a measurement that is to be put together with others: what its report says, and its logs.
type Part struct {
	Name  string // for errors and reasons
	Bench *result.Bench
	// Log opens the interval log of that name.
	Log func(name string) (io.ReadCloser, error)
}

// MergeOptions are the surroundings of a merge; the zero value works.
type MergeOptions struct {
	// Seed is for the resamples of intervals.
	Seed int64
	// Limits are evaluated on the whole; nil means those of the parts.
	Limits []string
	// Log opens the log of the whole, of each workload; nil writes none.
	Log func(name string) (io.WriteCloser, error)
}

// Merge puts measurements together exactly: histograms are added bucket by bucket, counts are added, and everything that is computed of
// them is computed anew; no percentile is averaged. A workload without its log cannot be merged.
//
// Parts of one plan (each with one Shard, of one PlanSHA256 and another Index) were measured at the same time: the windows of a pair are
// added, and so are their rates. Others are further measurements of the same: their pairs follow each other, and the rates must be equal.
// A comparison needs pairs; a log that does not say which pair a window is of (of another tool, or of an earlier version) gives
// distributions alone.
func Merge(parts []Part, opt MergeOptions) (*result.Bench, error) {
	if len(parts) == 0 {
		return nil, errors.New("merge: nothing is given")
	}
	for _, p := range parts {
		if p.Bench == nil {
			return nil, fmt.Errorf("merge %s: it has no measurement", p.Name)
		}
		if len(p.Bench.Workloads) != len(parts[0].Bench.Workloads) {
			return nil, fmt.Errorf("merge %s: it has %d workloads, and %s has %d", p.Name, len(p.Bench.Workloads), parts[0].Name, len(parts[0].Bench.Workloads))
		}
	}
	aligned := ofOnePlan(parts)
	out := &result.Bench{Workloads: []result.Workload{}, Limits: []result.Limit{}, Equivalence: parts[0].Bench.Equivalence}
	setDefault(&out.Equivalence, DefaultEquivalence)
	var gates []result.Gate
	for i := range parts[0].Bench.Workloads {
		m := merging{parts: parts, index: i, aligned: aligned, opt: opt}
		w, found, err := m.workload()
		if err != nil {
			return nil, fmt.Errorf("merge workload %d (%s): %w", i+1, parts[0].Bench.Workloads[i].Name, err)
		}
		out.Workloads = append(out.Workloads, w)
		gates = append(gates, found...)
	}
	why := reasons(gates)
	exprs := opt.Limits
	for _, p := range parts {
		for _, reason := range p.Bench.Validity.Reasons {
			why = append(why, p.Name+": "+reason)
		}
		out.Costs = append(out.Costs, p.Bench.Costs...)
		out.Shards = append(out.Shards, p.Bench.Shards...)
		for _, l := range p.Bench.Limits {
			if opt.Limits == nil && !slices.Contains(exprs, l.Expr) {
				exprs = append(exprs, l.Expr)
			}
		}
	}
	limits, err := parseLimits(exprs, nil)
	if err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	for _, l := range limits {
		out.Limits = append(out.Limits, l.evaluate(out))
	}
	out.Validity = result.Validity{OK: len(why) == 0, Reasons: append([]string{}, why...), Gates: gates}
	return out, nil
}

// ofOnePlan says whether the parts are the shards of one plan.
func ofOnePlan(parts []Part) bool {
	seen := map[int]bool{}
	for _, p := range parts {
		s := p.Bench.Shards
		if len(s) != 1 || s[0].PlanSHA256 == "" || s[0].PlanSHA256 != parts[0].Bench.Shards[0].PlanSHA256 || seen[s[0].Index] {
			return false
		}
		seen[s[0].Index] = true
	}
	return true
}

// merge takes a window of another process or run into the total.
func (p *phaseRecorder) merge(window *hdr.Histogram) error {
	if window.TotalCount() == 0 {
		return nil
	}
	if err := addExactly(p.total, window); err != nil {
		return err
	}
	p.blocks = addBlock(p.blocks, window)
	return nil
}

// merging is one workload under way.
type merging struct {
	parts   []Part
	index   int
	aligned bool
	opt     MergeOptions
	run     *run
	rows    []map[int]result.WindowSample // of each arm by pair, as far as the parts' series have them
	began   int64                         // ms
}

func (m *merging) of(part int) *result.Workload { return &m.parts[part].Bench.Workloads[m.index] }

// workload rebuilds the run from the windows in the logs, so that what is computed of it is computed by the code of a run.
func (m *merging) workload() (_ result.Workload, gates []result.Gate, err error) {
	if err := m.alike(); err != nil {
		return result.Workload{}, nil, err
	}
	first := m.of(0)
	plan := &Plan{Window: time.Duration(first.WindowNS), Pairs: first.Windows, Seed: m.opt.Seed, Equivalence: m.parts[0].Bench.Equivalence, maxLag: maxLag, lagShare: maxLagShare}
	setDefault(&plan.Equivalence, DefaultEquivalence)
	w := &WorkloadPlan{Name: first.Name, Backend: first.Backend, Tunnels: 1, Arrival: first.Arrival, Mode: ModeOpen}
	if first.Load != nil && first.Load.Model == ModeClosed {
		w.Mode, w.closedConnects = ModeClosed, first.Tunnels == 0
	}
	if first.Load != nil {
		for _, s := range first.Load.Steps {
			w.Steps = append(w.Steps, RateStep{From: s.FromPerS, To: s.ToPerS, For: time.Duration(s.NS)})
		}
	}
	for i := range m.parts {
		if i == 0 || m.aligned {
			w.Rate, w.ConnectRate = w.Rate+m.of(i).RatePerS, w.ConnectRate+m.of(i).ConnectRatePerS
		}
	}
	for _, a := range first.Arms {
		w.Arms = append(w.Arms, Arm{Path: a.Path})
	}
	m.run = newRunOf(plan, w, cmp.Or(first.Label, strings.TrimSuffix(first.Log, ".hlog")), Options{})
	m.run.load, m.run.logName = first.Load, first.Log
	m.run.warmupWindows, m.run.warmupSteady, m.run.stoppedBy = first.WarmupWindows, first.WarmupSteady, first.StoppedBy
	m.series()
	if err := m.logs(); err != nil {
		return result.Workload{}, nil, err
	}
	m.totals()
	out := m.run.result()
	m.rest(&out)
	return out, m.run.gates(&out), nil
}

// alike refuses to put unlike things together.
func (m *merging) alike() error {
	first := m.of(0)
	_, err := lookup(first.Name)
	known := err == nil
	about := func(w *result.Workload) string {
		var paths []string
		for _, a := range w.Arms {
			paths = append(paths, a.Path)
		}
		s := fmt.Sprintf("%s on %s, %s arrivals, windows of %v, over %s", w.Name, w.Backend, w.Arrival, time.Duration(w.WindowNS), strings.Join(paths, " "))
		if !m.aligned {
			s += fmt.Sprintf(", at %g/s and %g/s", w.RatePerS, w.ConnectRatePerS)
		}
		return s
	}
	for i, p := range m.parts {
		w := m.of(i)
		switch {
		case w.Log == "":
			return fmt.Errorf("%s has no log of it, and percentiles cannot be added", p.Name)
		case !known:
			return fmt.Errorf("%s has a workload %q, which this version does not know", p.Name, w.Name)
		case len(w.Arms) == 0 || w.WindowNS <= 0:
			return fmt.Errorf("%s has no arms or no windows in it", p.Name)
		case about(w) != about(first):
			return fmt.Errorf("%s has %s; %s has %s", m.parts[0].Name, about(first), p.Name, about(w))
		case m.aligned && w.Windows != first.Windows:
			return fmt.Errorf("%s has %d pairs of windows, and %s has %d", m.parts[0].Name, first.Windows, p.Name, w.Windows)
		}
		for k, a := range w.Arms {
			if a.Path == "" || slices.ContainsFunc(w.Arms[:k], func(b result.Arm) bool { return b.Path == a.Path }) {
				return fmt.Errorf("%s has an arm twice, or one without a name", p.Name)
			}
		}
	}
	return nil
}

// series keeps what the parts say of single windows and their logs do not.
func (m *merging) series() {
	m.rows = make([]map[int]result.WindowSample, len(m.run.arms))
	offset := 0
	for i := range m.parts {
		for k, a := range m.of(i).Arms {
			if m.rows[k] == nil {
				m.rows[k] = map[int]result.WindowSample{}
			}
			if len(a.Series) == maxSeries {
				continue // neighbours may be one row
			}
			for _, s := range a.Series {
				if s.Pair < 0 {
					continue
				}
				sum := m.rows[k][s.Pair+offset]
				sum.Requests, sum.Errors, sum.Bytes = sum.Requests+s.Requests, sum.Errors+s.Errors, sum.Bytes+s.Bytes
				sum.DrainNS = max(sum.DrainNS, s.DrainNS)
				m.rows[k][s.Pair+offset] = sum
			}
		}
		if !m.aligned {
			offset += m.of(i).Windows
		}
	}
}

// logs adds the logs up, into the run and into the log of the whole.
func (m *merging) logs() (err error) {
	var logs []io.Reader
	for i, p := range m.parts {
		in, err := p.Log(m.of(i).Log)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		defer func() { err = errors.Join(err, in.Close()) }()
		logs = append(logs, in)
	}
	first := m.of(0)
	log, err := openLog(m.opt.Log, first.Log,
		fmt.Sprintf("tlsroute-bench merged of %d, workload=%s backend=%s arrival=%s", len(m.parts), first.Name, first.Backend, first.Arrival), tagLegend)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.close()) }()
	return joinLogs(logs, m.aligned, func(w logWindow) error {
		log.pair(w.pair)
		for _, iv := range w.rows {
			log.write(iv.counts)
		}
		return m.take(w)
	})
}

const tagLegend = "[tags are arm.phase, values nanoseconds, one interval a window; a window that is left out has another word before them]"

// splitTag takes a tag apart: "excluded.direct.connect".
func splitTag(tag string) (prefix, arm, phase string) {
	for _, p := range []string{excludedTag, warmupTag, searchTag} {
		if rest, ok := strings.CutPrefix(tag, p); ok {
			prefix, tag = p, rest
			break
		}
	}
	if i := strings.LastIndexByte(tag, '.'); i >= 0 {
		arm, phase = tag[:i], tag[i+1:]
	}
	return prefix, arm, phase
}

// take adds a window to the run.
func (m *merging) take(w logWindow) error {
	stats := make([]map[string]windowStat, len(m.run.arms))
	left := false
	for _, iv := range w.rows {
		prefix, arm, phase := splitTag(iv.tag)
		k := slices.IndexFunc(m.run.arms, func(a *armState) bool { return a.Path == arm })
		if k < 0 || !slices.Contains(result.Phases, phase) {
			return fmt.Errorf("tag %q is of no arm and phase of the report", iv.tag)
		}
		a := m.run.arms[k]
		if m.began == 0 || iv.from < m.began {
			m.began = iv.from
		}
		left = left || prefix == excludedTag
		if phase == m.run.mainPhase() {
			m.row(k, w.pair, prefix, iv)
		}
		if prefix != "" {
			continue
		}
		if err := a.rec.phase(phase).merge(iv.counts); err != nil {
			return fmt.Errorf("tag %s: %w", iv.tag, err)
		}
		if stats[k] == nil {
			stats[k] = map[string]windowStat{}
		}
		st := windowStat{n: iv.counts.TotalCount()}
		for i, q := range quantiles {
			st.q[i] = float64(iv.counts.ValueAtQuantile(q * 100))
		}
		stats[k][phase] = st
	}
	if w.pair < 0 {
		return nil
	}
	if left {
		if slices.ContainsFunc(stats, func(st map[string]windowStat) bool { return st != nil }) {
			return fmt.Errorf("pair %d is left out in a part of it only", w.pair)
		}
		m.run.excluded++
	}
	for k, a := range m.run.arms {
		a.pairs = append(a.pairs, stats[k])
	}
	return nil
}

// row is the window's line in the series.
func (m *merging) row(arm, pair int, prefix string, iv interval) {
	sample := m.rows[arm][pair]
	if sample.Requests == 0 {
		sample.Requests = iv.counts.TotalCount()
	}
	sample.Pair, sample.AtNS = pair, (iv.from-m.began)*int64(time.Millisecond)
	sample.Phase, sample.Warmup, sample.Excluded = m.run.mainPhase(), prefix == warmupTag, prefix == excludedTag
	a := m.run.arms[arm]
	a.rows = append(a.rows, newRow(sample, iv.counts))
}

// totals are what the reports count and no log has.
func (m *merging) totals() {
	for i := range m.parts {
		w := m.of(i)
		if i == 0 || !m.aligned {
			m.run.windows += w.Windows
		}
		for k, a := range m.run.arms {
			arm := &w.Arms[k]
			a.total.add(&tally{
				planned: arm.Requests, achieved: arm.Requests - arm.Late, errors: arm.Errors, dropped: arm.Dropped, censored: arm.Censored,
				done:    int64(math.Round(arm.ThroughputPerS * float64(w.Windows) * float64(w.WindowNS) / 1e9)),
				samples: arm.ErrorSamples,
			})
			a.measured = m.run.windows
			for _, note := range arm.Notes {
				if !slices.Contains(a.notes, note) && !strings.Contains(note, excludedNote) {
					a.notes = append(a.notes, note)
				}
			}
		}
	}
}

// rest is what a run does not compute.
func (m *merging) rest(out *result.Workload) {
	first := m.of(0)
	out.Shape, out.Tunnels, out.Active = first.Shape, 0, 0
	if !m.aligned {
		out.Tunnels, out.Active = first.Tunnels, first.Active
	}
	for i := range m.parts {
		w := m.of(i)
		if m.aligned {
			out.Tunnels, out.Active = out.Tunnels+w.Tunnels, out.Active+w.Active
		}
		out.WarmupSteady = out.WarmupSteady && w.WarmupSteady
	}
	for k := range out.Arms {
		arm := &out.Arms[k]
		seconds := 0.0 // that the bytes took
		rate := 0.0
		for i := range m.parts {
			a := &m.of(i).Arms[k]
			arm.Upgrade, arm.Peer = cmp.Or(arm.Upgrade, a.Upgrade), cmp.Or(arm.Peer, a.Peer)
			if arm.TLS == nil {
				arm.TLS = a.TLS
			}
			arm.Bytes += a.Bytes
			rate += a.BytesPerS
			if a.BytesPerS > 0 {
				seconds += float64(a.Bytes) / a.BytesPerS
			}
		}
		switch {
		case m.aligned:
			arm.BytesPerS = rate
		case seconds > 0:
			arm.BytesPerS = float64(arm.Bytes) / seconds
		}
	}
}

// MergeLogs puts interval logs together without any report: all intervals in one log, their pairs counted on, and the distribution of
// each tag over all of them.
func MergeLogs(out io.Writer, logs []io.Reader) (map[string]result.Phase, error) {
	sums := map[string]*phaseRecorder{}
	log, err := openLog(func(string) (io.WriteCloser, error) { return unclosed{out}, nil }, "", fmt.Sprintf("tlsroute-bench merged of %d logs", len(logs)), tagLegend)
	if err != nil {
		return nil, err
	}
	err = joinLogs(logs, false, func(w logWindow) error {
		log.pair(w.pair)
		for _, iv := range w.rows {
			if sums[iv.tag] == nil {
				if len(sums) >= maxTags {
					return fmt.Errorf("more than %d tags", maxTags)
				}
				sums[iv.tag] = &phaseRecorder{total: newHistogram()}
			}
			if err := sums[iv.tag].merge(iv.counts); err != nil {
				return fmt.Errorf("tag %s: %w", iv.tag, err)
			}
			log.write(iv.counts)
		}
		return nil
	})
	if err := errors.Join(err, log.close()); err != nil {
		return nil, err
	}
	phases := map[string]result.Phase{}
	for tag, p := range sums {
		if p.total.TotalCount() > 0 {
			phases[tag] = summary(p.total, p.blocks)
		}
	}
	return phases, nil
}

// maxTags bounds what a foreign log makes us hold: a histogram a tag.
const maxTags = 2000

type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }
