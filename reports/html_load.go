package reports

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// loadView says how the rate of a workload came about, and what else its figures are of.
type loadView struct {
	Sentence string
	Capacity []loadBar // requests or tunnels a second at which each arm was saturated
	Plan     *loadPlan
	Facts    []loadFact
}

type loadBar struct {
	Path, Width, Value string
	Index              int
	Slowest            bool
}

// loadPlan is the rate over the time of a window, where it changes.
type loadPlan struct {
	ID, Desc, Points string
	Top, End         string
}

type loadFact struct{ Name, Value string }

func newLoadView(id string, w result.Workload) *loadView {
	v := &loadView{Facts: loadFacts(w)}
	if l := w.Load; l != nil {
		v.Sentence = loadSentence(l)
		var most float64
		for _, c := range l.CapacityPerS {
			most = max(most, c)
		}
		for i, a := range w.Arms {
			if c, ok := l.CapacityPerS[a.Path]; ok && c > 0 {
				v.Capacity = append(v.Capacity, loadBar{a.Path, percent(c / most), rateText(c) + "/s", seriesLook(i), a.Path == l.SlowestArm})
			}
		}
		v.Plan = newLoadPlan(id+"-plan", l.Steps)
	}
	if v.Sentence == "" && len(v.Facts) == 0 && v.Plan == nil {
		return nil
	}
	return v
}

func loadSentence(l *result.Load) string {
	if l.Model == "closed" {
		return "Closed loop: each tunnel sends again when it has its answer, and latency is that of service. A slow path slows its own load, so that rates are compared here, and latencies only with care."
	}
	if l.Fraction <= 0 {
		return ""
	}
	s := fmt.Sprintf("Open loop at %s %% of capacity", significant(l.Fraction*100))
	if c := l.CapacityPerS[l.SlowestArm]; c > 0 {
		s += fmt.Sprintf(": the slowest path, %s, was saturated at %s/s", l.SlowestArm, rateText(c))
	}
	return s + ". Every path has the same rate."
}

func newLoadPlan(id string, steps []result.RateStep) *loadPlan {
	var most float64
	var length int64
	for _, s := range steps {
		most, length = max(most, s.FromPerS, s.ToPerS), length+s.NS
	}
	if most <= 0 || length <= 0 {
		return nil
	}
	p := &loadPlan{ID: id, Top: rateText(most) + "/s", End: duration(length)}
	var points, words []string
	var at int64
	point := func(rate float64) {
		points = append(points, fmt.Sprintf("%.1f,%.1f", float64(at)/float64(length)*plotUnits, (1-rate/most)*plotUnits))
	}
	for _, s := range steps {
		point(s.FromPerS)
		at += s.NS
		point(s.ToPerS)
		if s.FromPerS == s.ToPerS {
			words = append(words, fmt.Sprintf("%s/s for %s", rateText(s.FromPerS), duration(s.NS)))
		} else {
			words = append(words, fmt.Sprintf("from %s to %s/s in %s", rateText(s.FromPerS), rateText(s.ToPerS), duration(s.NS)))
		}
	}
	p.Points, p.Desc = strings.Join(points, " "), upperFirst(strings.Join(words, ", then "))+"."
	return p
}

// loadParts are the parts of the sentence about the schedule that newer runs know.
func loadParts(w result.Workload) []string {
	var parts []string
	switch {
	case w.WarmupWindows > 0 && w.WarmupSteady:
		parts = append(parts, fmt.Sprintf("after %d windows of warm-up until steady", w.WarmupWindows))
	case w.WarmupWindows > 0:
		parts = append(parts, fmt.Sprintf("after %d windows of warm-up, given up before it was steady", w.WarmupWindows))
	}
	switch w.StoppedBy {
	case "precision":
		parts = append(parts, "stopped when the intervals were narrow enough")
	case "budget":
		parts = append(parts, "stopped at the end of its time, before the intervals were narrow enough")
	}
	return parts
}

// loadFacts are the workload's own measures and what was negotiated, each said once where all arms agree.
func loadFacts(w result.Workload) []loadFact {
	var out []loadFact
	if w.Tunnels > 0 {
		text := plural(w.Tunnels, "tunnel")
		if w.Active > 0 && w.Active < w.Tunnels {
			text += fmt.Sprintf(", %d of them active", w.Active)
		}
		out = append(out, loadFact{"Open", text})
	}
	for _, k := range slices.Sorted(maps.Keys(w.Shape)) {
		out = append(out, loadFact{upperFirst(strings.ReplaceAll(k, "_", " ")), w.Shape[k]})
	}
	each := func(name string, of func(result.Arm) string) {
		var values []string
		var said []string
		for _, a := range w.Arms {
			if s := of(a); s != "" {
				said = append(said, a.Path+" "+s)
				if !slices.Contains(values, s) {
					values = append(values, s)
				}
			}
		}
		switch {
		case len(values) == 1 && len(said) == len(w.Arms):
			out = append(out, loadFact{name, values[0]})
		case len(said) > 0:
			out = append(out, loadFact{name, strings.Join(said, "; ")})
		}
	}
	each("TLS", func(a result.Arm) string {
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(a.TLS)) {
			parts = append(parts, k+" "+a.TLS[k])
		}
		return strings.Join(parts, ", ")
	})
	each("Payload", func(a result.Arm) string {
		if a.Bytes == 0 {
			return ""
		}
		text := size(a.Bytes)
		if a.BytesPerS > 0 {
			text += ", " + size(int64(a.BytesPerS)) + "/s"
		}
		return text
	})
	each("Not in time", func(a result.Arm) string {
		var parts []string
		for _, p := range []struct {
			n    int64
			what string
		}{{a.Late, "late"}, {a.Dropped, "dropped"}, {a.Censored, "not answered in time"}} {
			if p.n > 0 {
				parts = append(parts, grouped(p.n)+" "+p.what)
			}
		}
		return strings.Join(parts, ", ")
	})
	return out
}

// rateText is so many a second, with separators where there are many digits.
func rateText(perS float64) string {
	if perS >= 1000 {
		return grouped(int64(math.Round(perS)))
	}
	return significant(perS)
}
