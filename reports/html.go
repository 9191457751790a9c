package reports

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() { register(Format{Name: "html", File: "report.html", Write: writeHTML}) }

//go:embed templates
var templates embed.FS

// style is our own text, so that html/template may trust it.
var style = mustRead("templates/style.css")

var page = template.Must(template.New("page.gohtml").Funcs(template.FuncMap{
	"duration": duration, "ratio": ratio, "grouped": grouped, "size": size, "significant": significant,
	"plural": plural, "sni": sniText, "yesno": yesNo, "phase": phaseName, "metric": metricName, "israte": isRate,
	"checkname": checkName, "percentile": percentileText, "oneline": oneLine, "lower": strings.ToLower,
	"join": strings.Join, "phasetext": phaseText, "reading": func() string { return reading },
	"scarcity": func() string { return scarcity }, "resultsof": resultsOf, "imageText": imageText, "driverText": driverText,
	"arrow":  func(hop string) string { return strings.ReplaceAll(hop, "->", " → ") },
	"utc":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"class":  verdictClass,
	"mark":   verdictMark,
	"dict":   dict,
	"series": seriesLook,
	"signed": signed, "balancer": balancerText, "grades": gradeGroups, "knobtext": knobText, "faultwhen": faultWhen, "faultwhat": faultWhat, "faultstruck": faultStruck,
	"faultreading": func() string { return faultReading }, "hopreading": func() string { return hopReading },
	"matrixsentence": matrixSentence, "matrixreading": func() string { return matrixReading }, "cellword": cellWord, "celltone": cellTone,
	"cell":  func(m *result.Matrix, client, path, router string) *result.Cell { return m.Cell(client, path, router) },
	"party": func(p result.Party) string { return strings.TrimPrefix(partyText(p), ": ") }, "telling": telling,
	"likeness": likenessText, "likenessreading": func() string { return likenessReading },
	"upper": upperFirst, "rate": rateText, "inc": func(i int) int { return i + 1 }, "tailname": func(i int) string { return []string{"p50", "p90", "p99", "p99.9", "p99.99"}[i] },
	"coststitle": func() string { return costsTitle }, "costsreading": func() string { return costsReading }, "againsttitle": againstTitle, "againstreading": againstReading,
	"short": func(s string) string { return s[:min(len(s), 12)] }, "figure": figure, "figurename": figureName,
}).ParseFS(templates, "templates/*.gohtml"))

func mustRead(name string) template.CSS {
	data, err := templates.ReadFile(name)
	if err != nil {
		panic(fmt.Sprintf("reports: %v", err)) // embedded: cannot happen in a binary that was built
	}
	return template.CSS(data) //nolint:gosec // embedded, not input
}

// dict passes several values to a template.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: name %v is no string", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// view is what the page shows, in its order.
type view struct {
	Run      *result.Run
	CSS      template.CSS
	Headline string
	Next     []step
	// Reasons are the first of the run's, MoreReasons the others.
	Reasons, MoreReasons []string
	Tiles                []tile
	Paths                []pathView
	Groups               []groupView
	Totals               []share
	Several              string // said of the totals when checks have several results
	Bench                []workloadView
	Command              string
	Took                 string
	Scarce               bool   // some percentile lacks samples
	CertNote             string // how a captured client certificate was seen
	TLSCount             string
	Hops                 []hopCost
	Gates                *gateView
	Levels               []levelView
	Costs                []costView
	Inside               string // of which components nobody can tell the cost, and why
	Against              *againstView
	Shards               *shardView
	Refresh              int // seconds after which the page of a run under way asks for itself again; 0 for a run that is over
}

// tile is one figure of the verdict, large.
type tile struct{ Figure, Unit, Caption, Class string }

// writeHTML writes the page: one file that needs nothing else and works without scripts, offline and printed.
func writeHTML(w io.Writer, run *result.Run) error { return newView(run).write(w) }

func newView(run *result.Run) view {
	run = labelled(run)
	v := view{
		Run: run, CSS: style, Headline: headline(run), Next: nextSteps(run), Tiles: tiles(run), Paths: pathViews(run),
		Groups: groupViews(run), Totals: shares(run), Command: shellCommand(run.Run.Command), Took: took(run), CertNote: certNote(run), TLSCount: tlsCounts(run), Hops: hopCosts(run),
	}
	n := min(len(run.Reasons), maxReasons)
	v.Reasons, v.MoreReasons = run.Reasons[:n], run.Reasons[n:]
	if list := checks(run); distinct(list) < len(list) {
		v.Several = fmt.Sprintf("results of %s over their paths", plural(distinct(list), "check"))
	}
	if run.Bench != nil {
		v.Scarce = scarce(run, "p50", "p90", "p99", "p999")
		v.Gates, v.Levels = newGateView(run.Bench.Validity), newLevelViews(run)
		v.Costs, v.Inside = newCostViews(run), insiders(run)
		v.Against, v.Shards = newAgainstView(run.Bench.Against), newShardView(run.Bench.Shards)
		for i, wl := range run.Bench.Workloads {
			v.Bench = append(v.Bench, newWorkloadView(i, wl, run.Faults))
		}
	}
	return v
}

func (v view) write(w io.Writer) error {
	var buf bytes.Buffer // rendered whole first: half a page is worse than an error
	if err := page.Execute(&buf, v); err != nil {
		return fmt.Errorf("render report.html: %w", err)
	}
	if _, err := w.Write(buf.Bytes()); err != nil {
		return fmt.Errorf("write report.html: %w", err)
	}
	return nil
}

// labelled is run with a name for each workload that no other has, as the log of its histograms and the costs name it.
func labelled(run *result.Run) *result.Run {
	if run.Bench == nil {
		return run
	}
	total, seen := map[string]int{}, map[string]int{}
	for _, w := range run.Bench.Workloads {
		total[w.Name]++
	}
	out, b := *run, *run.Bench
	b.Workloads = slices.Clone(b.Workloads)
	out.Bench = &b
	for i := range b.Workloads {
		w := &b.Workloads[i]
		seen[w.Name]++
		if w.Label != "" {
			w.Name = w.Label
		} else if name := strings.TrimSuffix(path.Base(w.Log), ".hlog"); total[w.Name] > 1 && w.Log != "" {
			w.Name = name
		} else if n := seen[w.Name]; n > 1 {
			w.Name = fmt.Sprintf("%s-%d", w.Name, n)
		}
	}
	return &out
}

// maxReasons is how many reasons of the verdict are in the open.
const maxReasons = 5

// maxCostTiles is how many comparisons are shown large; the others are counted, never dropped in silence.
const maxCostTiles = 6

func tiles(run *result.Run) []tile {
	var out []tile
	if list := checks(run); len(list) > 0 {
		n, ok := distinct(list), len(with(list, result.CheckPass, result.CheckTolerated))
		t := tile{Figure: fmt.Sprint(conforming(list)), Unit: fmt.Sprintf("of %d", n), Caption: "checks conform", Class: "good"}
		switch {
		case n == len(list):
		case ok == len(list):
			t.Caption += fmt.Sprintf(", %d %s", ok, overPaths)
		default:
			t.Caption += fmt.Sprintf(", %d of %d %s", ok, len(list), overPaths)
		}
		if len(with(list, result.CheckFail, result.CheckXPass)) > 0 {
			t.Class = "bad"
		} else if run.Partial || len(with(list, result.CheckInconclusive)) > 0 {
			t.Class = "open"
		}
		out = append(out, t)
	}
	list := costs(run)
	for _, c := range list[:min(len(list), maxCostTiles)] {
		// A ratio never stands without its interval: large type must not make a difference out of noise.
		t := tile{Figure: ratio(c.Comparison.Ratio), Unit: strings.TrimSuffix(ratio(c.Comparison.CI95[0]), "×") + " to " + strings.TrimSuffix(ratio(c.Comparison.CI95[1]), "×")}
		t.Caption = fmt.Sprintf("%s: steady round trip, %s against %s, %s → %s, %s", c.Workload, c.Path, c.Baseline,
			duration(c.BaseNS), duration(c.NS), c.Words)
		if c.Comparison.Verdict == "inconclusive" {
			t.Class = "unsure"
		}
		out = append(out, t)
	}
	if n := len(list) - maxCostTiles; n > 0 {
		var names []string
		for _, c := range list[maxCostTiles:] {
			if !slices.Contains(names, c.Workload) {
				names = append(names, c.Workload)
			}
		}
		out = append(out, tile{Figure: fmt.Sprintf("+%d", n), Caption: "more below: " + oneLine(strings.Join(names, ", "), 80), Class: "unsure"})
	}
	if run.Bench != nil && len(run.Bench.Limits) > 0 {
		n := len(run.Bench.Limits)
		t := tile{Figure: fmt.Sprint(n - len(missedLimits(run))), Unit: fmt.Sprintf("of %d", n), Caption: "limits met", Class: "good"}
		if len(missedLimits(run)) > 0 {
			t.Class = "bad"
		}
		out = append(out, t)
	}
	return out
}

// verdictClass is the CSS class of a verdict of a run or of a check. Colour is never the only sign: see verdictMark.
func verdictClass(v any) string {
	switch strings.ToUpper(fmt.Sprint(v)) {
	case "PASS":
		return "good"
	case "FAIL", "XPASS":
		return "bad"
	case "TOLERATED":
		return "near"
	case "INCONCLUSIVE", "FLAKY":
		return "open"
	default:
		return "none"
	}
}

// verdictMark is the sign that stands before the word.
func verdictMark(v any) string {
	switch verdictClass(v) {
	case "good":
		return "✓"
	case "bad":
		return "✕"
	case "near":
		return "≈"
	case "open":
		return "?"
	default:
		return "–"
	}
}

// share is a verdict's part of the bar over all checks.
type share struct {
	total
	X, Width string // per cent
}

func shares(run *result.Run) []share {
	list := totals(run)
	sum := 0
	for _, t := range list {
		sum += t.N
	}
	var out []share
	at := 0
	for _, t := range list {
		out = append(out, share{t, percent(float64(at) / float64(sum)), percent(float64(t.N) / float64(sum))})
		at += t.N
	}
	return out
}

// percent is a coordinate for SVG: all charts use per cent, so that they stretch and their text does not.
func percent(f float64) string { return fmt.Sprintf("%.3g%%", f*100) }

// groupView is one group of checks: what needs reading is open, what passed is folded.
type groupView struct {
	Name, Title string
	Totals      []total
	Open        []result.CheckResult // failed or undecided
	Other       []result.CheckResult // any other verdict but PASS
	Passed      []result.CheckResult
	// Targets is set when more than one target was judged, so that each line must name its own.
	Targets bool
}

func groupViews(run *result.Run) []groupView {
	if run.Conformance == nil {
		return nil
	}
	var order []string
	by := map[string][]result.CheckResult{}
	targets := map[string]bool{}
	for _, c := range run.Conformance.Results {
		if by[c.Group] == nil {
			order = append(order, c.Group)
		}
		by[c.Group] = append(by[c.Group], c)
		targets[c.Target] = true
	}
	var out []groupView
	for _, name := range order {
		g := groupView{Name: name, Title: groupNames[name], Targets: len(targets) > 1}
		only := &result.Run{Conformance: &result.Conformance{Results: by[name]}}
		g.Totals = totals(only)
		for _, c := range checks(only) {
			switch c.Verdict {
			case result.CheckPass:
				g.Passed = append(g.Passed, c)
			case result.CheckTolerated, result.CheckUnsupported, result.CheckNotRun, result.CheckDepFailed, result.CheckXFail:
				g.Other = append(g.Other, c)
			default:
				g.Open = append(g.Open, c)
			}
		}
		out = append(out, g)
	}
	return out
}
