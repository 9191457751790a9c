package bench

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// judged is a limit on one workload.
type judged struct {
	ok     bool
	value  float64
	margin float64 // how far on the wrong side; negative when ok
	detail string
}

// evaluate judges the limit on each workload that it is about and reports the worst. A limit that cannot be judged is missed.
func (l *limit) evaluate(all *result.Bench) result.Limit {
	out := result.Limit{Expr: l.text, Detail: "no workload measured what it names"}
	if l.left.costs() || l.right.costs() {
		out.Detail += "; a component's own use is known with processes: separate in the topology, or of a peer"
	}
	var worst *judged
	for i := range all.Workloads {
		w := &all.Workloads[i]
		if !l.left.applies(w, all) || !l.right.applies(w, all) {
			continue
		}
		j := l.judge(w, all)
		if worst == nil || (worst.ok && !j.ok) || (worst.ok == j.ok && j.margin > worst.margin) {
			worst, out.Workload = &j, w.Name
		}
	}
	if worst == nil {
		return out
	}
	if !l.left.perWorkload() && !l.right.perWorkload() {
		out.Workload = "" // totals are of the run
	}
	out.OK, out.Value, out.Detail = worst.ok, worst.value, worst.detail
	return out
}

func (l *limit) judge(w *result.Workload, all *result.Bench) judged {
	left, leftDetail, leftErr := side(l.left, w, all, wantsUpper(l.op))
	right, rightDetail, rightErr := side(l.right, w, all, wantsUpper(mirrored(l.op)))
	for _, err := range []error{leftErr, rightErr, finite(left), finite(right)} {
		if err != nil {
			return judged{margin: math.Inf(1), detail: "cannot be judged: " + err.Error()}
		}
	}
	j := judged{value: left}
	detail := leftDetail
	if !l.left.measured() {
		j.value, detail = right, rightDetail
	}
	d := left - right
	switch l.op {
	case "<":
		j.ok, j.margin = d < 0, d
	case "<=":
		j.ok, j.margin = d <= 0, d
	case ">":
		j.ok, j.margin = d > 0, -d
	case ">=":
		j.ok, j.margin = d >= 0, -d
	case "==":
		j.ok, j.margin = d == 0, math.Abs(d)
	case "!=":
		j.ok, j.margin = d != 0, -math.Abs(d)
	}
	if detail == "" && l.left.time == 1 {
		detail = time.Duration(j.value).String()
	}
	j.detail = detail
	return j
}

// finite refuses what literals such as 1e308 can add up to: JSON has no such number, and the report would be lost with it.
func finite(v float64) error {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return errors.New("a value is beyond what a number can hold")
	}
	return nil
}

// wantsUpper says which end of an interval on the left of op is the cautious one: +1 the upper, -1 the lower, 0 neither.
func wantsUpper(op string) int {
	switch op[0] {
	case '<':
		return 1
	case '>':
		return -1
	}
	return 0
}

func mirrored(op string) string {
	return strings.NewReplacer("<", ">", ">", "<").Replace(op)
}

// side is the value of one side. A ratio of two arms that were compared is taken at the end of its interval that is the harder
// to pass with: a limit is then met only when the measurement can tell, not when the noise was kind.
func side(t *term, w *result.Workload, all *result.Bench, bound int) (float64, string, error) {
	switch {
	case t.op == 'm' && t.phase != "":
		return t.bounded(w, all, bound)
	case !t.isRatio():
		v, err := t.eval(w, all)
		return v, "", err
	}
	point, err := t.eval(w, all)
	if err != nil {
		return 0, "", err
	}
	metric := t.left.phase + "." + t.left.name
	for _, c := range w.Comparisons {
		ci, estimate := c.CI95, c.Ratio
		switch {
		case c.Metric != metric:
			continue
		case c.Candidate == t.left.arm && c.Baseline == t.right.arm:
		case c.Candidate == t.right.arm && c.Baseline == t.left.arm:
			ci, estimate = [2]float64{1 / c.CI95[1], 1 / c.CI95[0]}, 1/c.Ratio
		default:
			continue
		}
		interval := fmt.Sprintf("95 %% interval [%.3f, %.3f] of the ratio, estimate %.3f, %d pairs of windows", ci[0], ci[1], estimate, c.Pairs)
		switch {
		case c.Pairs < minPairs:
			return point, fmt.Sprintf("ratio of the totals; %d pairs of windows are too few for an interval", c.Pairs), nil
		case bound > 0:
			return ci[1], "upper bound of the " + interval, nil
		case bound < 0:
			return ci[0], "lower bound of the " + interval, nil
		}
		return estimate, "estimate; " + interval, nil
	}
	return point, "ratio of the totals; it was not compared by windows, so there is no interval", nil
}

// bounded is a percentile alone, taken at the end of its interval that is the harder to pass with, where it has one.
func (t *term) bounded(w *result.Workload, all *result.Bench, bound int) (float64, string, error) {
	v, err := t.eval(w, all)
	if err != nil || bound == 0 {
		return v, "", err
	}
	p := w.Arms[slices.IndexFunc(w.Arms, func(a result.Arm) bool { return a.Path == t.arm })].Phases[t.phase]
	ci, ok := p.CI95NS[t.name]
	switch {
	case !ok && p.Needs[t.name] > 0:
		return v, fmt.Sprintf("%v, without an interval: needs %d more samples for one", time.Duration(v), p.Needs[t.name]), nil
	case !ok:
		return v, "", nil
	}
	interval := fmt.Sprintf("bound of the 95 %% interval [%v, %v], estimate %v", time.Duration(ci[0]), time.Duration(ci[1]), time.Duration(v))
	if bound > 0 {
		return float64(ci[1]), "upper " + interval, nil
	}
	return float64(ci[0]), "lower " + interval, nil
}

// isRatio is ARM.PHASE.Q / BASE.PHASE.Q.
func (t *term) isRatio() bool {
	return t.op == '/' && t.left.op == 'm' && t.right.op == 'm' && t.left.phase != "" &&
		t.left.phase == t.right.phase && t.left.name == t.right.name && t.left.arm != t.right.arm
}

// eval is the value on one workload: times in nanoseconds.
func (t *term) eval(w *result.Workload, all *result.Bench) (float64, error) {
	switch t.op {
	case 'l':
		return t.value, nil
	case 't':
		var sum int64
		for _, w := range all.Workloads {
			for _, a := range w.Arms {
				if t.name == "errors" {
					sum += a.Errors
				} else {
					sum += a.Requests
				}
			}
		}
		return float64(sum), nil
	case 'm':
		if t.component != "" {
			return t.used(w, all), nil
		}
		i := slices.IndexFunc(w.Arms, func(a result.Arm) bool { return a.Path == t.arm })
		switch t.name { // applies has seen the arm
		case "throughput":
			return w.Arms[i].ThroughputPerS, nil
		case "bytes_per_s":
			if w.Arms[i].BytesPerS == 0 {
				return 0, fmt.Errorf("%s moved no payload in workload %s", t.arm, w.Name)
			}
			return w.Arms[i].BytesPerS, nil
		}
		p, ok := w.Arms[i].Phases[t.phase]
		if !ok || p.Count == 0 {
			return 0, fmt.Errorf("%s.%s has no samples in workload %s", t.arm, t.phase, w.Name)
		}
		if t.name == "p9999" && p.P9999NS == 0 {
			return 0, fmt.Errorf("%s.%s.p9999 needs %d more samples in workload %s", t.arm, t.phase, p.Needs["p9999"], w.Name)
		}
		return float64(map[string]int64{"p50": p.P50NS, "p90": p.P90NS, "p99": p.P99NS, "p999": p.P999NS, "p9999": p.P9999NS, "max": p.MaxNS}[t.name]), nil
	}
	a, err := t.left.eval(w, all)
	if err != nil {
		return 0, err
	}
	b, err := t.right.eval(w, all)
	if err != nil {
		return 0, err
	}
	switch t.op {
	case '+':
		return a + b, nil
	case '-':
		return a - b, nil
	case '*':
		return a * b, nil
	}
	if b == 0 {
		return 0, fmt.Errorf("division by zero at column %d", t.column)
	}
	return a / b, nil
}

// applies says whether a workload has the arm, and was asked to send what the phase is about: a workload without new tunnels
// has nothing to say on connect.
func (t *term) applies(w *result.Workload, all *result.Bench) bool {
	switch t.op {
	case 'l', 't':
		return true
	case 'm':
		if !slices.ContainsFunc(w.Arms, func(a result.Arm) bool { return a.Path == t.arm }) {
			return false
		}
		switch t.phase {
		case "":
			if t.component != "" {
				return t.used(w, all) != 0
			}
			return t.name == "throughput" || slices.ContainsFunc(w.Arms, func(a result.Arm) bool { return a.BytesPerS > 0 })
		case result.PhaseLag:
			return true
		case result.PhaseSteady, result.PhaseService:
			return w.RatePerS > 0 || w.Load != nil && w.Load.Model == ModeClosed
		}
		return w.ConnectRatePerS > 0
	}
	return t.left.applies(w, all) && t.right.applies(w, all)
}

// used is what the component used for the arm in a workload; 0 where that is not known.
func (t *term) used(w *result.Workload, all *result.Bench) float64 {
	for _, c := range all.Costs {
		if c.Workload == cmp.Or(w.Label, w.Name) && c.Path == t.arm && c.Component == t.component {
			return t.cost(c)
		}
	}
	return 0
}

// costs says whether a cost is among the terms.
func (t *term) costs() bool {
	return t.component != "" || t.left != nil && (t.left.costs() || t.right.costs())
}

// perWorkload says whether the value differs from workload to workload.
func (t *term) perWorkload() bool {
	switch t.op {
	case 'm':
		return true
	case 'l', 't':
		return false
	}
	return t.left.perWorkload() || t.right.perWorkload()
}
