package reports

import (
	"fmt"
	"io"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() { register(Format{Name: "markdown", File: "summary.md", Write: writeMarkdown}) }

// maxMarkdown is under the 64 KiB that a pull request comment takes (65,536 characters); a step summary takes 1 MiB.
const maxMarkdown = 60 << 10

// writeMarkdown writes what a pull request wants to know: the verdict, what failed, what it costs, which limits were missed. All else is
// folded away, and left out first when room runs out.
func writeMarkdown(w io.Writer, run *result.Run) error {
	m := &markdown{}
	run = labelled(run)
	m.verdict(run)
	m.failures(run)
	m.matrix(run)
	m.bench(run)
	m.faults(run)
	m.fold("What else was measured", func() { m.more(run) })
	m.fold("Real products and the simulator's profiles of them", func() { m.likeness(run) })
	m.fold("What each ClientHello carried", func() { m.wire(run) })
	m.others(run)
	m.footer(run)
	if _, err := io.WriteString(w, m.b.String()); err != nil {
		return fmt.Errorf("write summary.md: %w", err)
	}
	return nil
}

// fold puts what write adds behind a line that opens it; nothing when it adds nothing.
func (m *markdown) fold(title string, write func()) {
	before := m.b.String()
	m.printf("<details><summary>%s</summary>\n\n", title)
	head := m.b.Len()
	write()
	if m.b.Len() == head {
		m.b.Reset()
		m.b.WriteString(before)
		return
	}
	m.printf("</details>\n\n")
}

// markdown collects the summary. Lists stop growing when room runs out, and say how much was left out.
type markdown struct{ b strings.Builder }

func (m *markdown) printf(format string, args ...any) { fmt.Fprintf(&m.b, format, args...) }

// room says whether another n bytes fit, with enough left for the footer.
func (m *markdown) room(n int) bool { return m.b.Len()+n < maxMarkdown-4<<10 }

// list writes the items for which there is room, then how many are missing.
func (m *markdown) list(items []string, noun string) {
	for i, item := range items {
		if !m.room(len(item)) {
			m.printf("\n… and %s more, see `report.json`.\n", plural(len(items)-i, noun))
			return
		}
		m.b.WriteString(item)
	}
}

var verdictMarks = map[result.Verdict]string{result.Pass: "✅ pass", result.Fail: "❌ fail", result.Inconclusive: "❔ inconclusive"}

func (m *markdown) verdict(run *result.Run) {
	mark, ok := verdictMarks[run.Verdict]
	if !ok {
		mark = md(string(run.Verdict), 40)
	}
	m.printf("## %s · %s\n\n%s\n\n", mark, md(run.Scenario.Name, 80), md(headline(run), 0))
	if run.Partial {
		m.printf("**Partial:** the run was interrupted.\n\n")
	}
	var items []string
	for _, r := range run.Reasons {
		items = append(items, "- "+md(r, 400)+"\n")
	}
	m.list(items[:min(len(items), 20)], "reason")
	if len(items) > 20 {
		m.printf("- … and %s more\n", plural(len(items)-20, "reason"))
	}
	if len(items) > 0 {
		m.printf("\n")
	}
	if steps := nextSteps(run); len(steps) > 0 {
		m.printf("**Next:** ")
		for i, s := range steps[:min(len(steps), 4)] {
			if i > 0 {
				m.printf("<br>")
			}
			m.printf("%s", md(s.Text, 400))
			if s.Command != "" {
				m.printf(" %s", mdCode(s.Command))
			}
		}
		m.printf("\n\n")
	}
}

func (m *markdown) failures(run *result.Run) {
	list := checks(run)
	if len(list) == 0 {
		return
	}
	m.printf("### Checks\n\n| ")
	all := totals(run)
	for _, t := range all {
		m.printf("%s | ", md(string(t.Verdict), 40))
	}
	m.printf("\n|%s\n| ", strings.Repeat("---:|", len(all)))
	for _, t := range all {
		m.printf("%d | ", t.N)
	}
	m.printf("\n\n")
	if n := distinct(list); n < len(list) {
		m.printf("Results of %s over their paths.\n\n", plural(n, "check"))
	}
	var items []string
	for _, c := range with(list, result.CheckFail, result.CheckXPass, result.CheckInconclusive, result.CheckFlaky) {
		var b strings.Builder
		fmt.Fprintf(&b, "- **%s** %s: %s", c.Verdict, md(checkName(c), 160), md(c.Title, 240))
		if len(c.Expected) > 0 || c.Outcome != "" {
			fmt.Fprintf(&b, "<br>expected %s, got %s", md(strings.Join(c.Expected, " or "), 160), md(c.Outcome, 80))
		}
		if c.Detail != "" {
			fmt.Fprintf(&b, "<br>%s", md(c.Detail, 500))
		}
		if c.Diff != nil {
			fmt.Fprintf(&b, "<br>bytes differ %s", md(c.Diff.String(), 500))
		}
		b.WriteString("\n")
		items = append(items, b.String())
	}
	m.list(items, "result")
	if len(items) > 0 {
		m.printf("\n")
	}
}

func (m *markdown) bench(run *result.Run) {
	if run.Bench == nil {
		return
	}
	m.printf("### What the detour costs\n\n")
	if invalid(run) {
		m.printf("**The measurement is not valid:** %s\n\n", md(strings.Join(run.Bench.Validity.Reasons, "; "), 800))
	}
	m.printf("| workload | path | latency of | errors | p50 | to the baseline path (95 %%) | p99 | to the baseline path (95 %%) | p50 is |\n|---|---|---|---:|---:|---|---:|---|---|\n")
	var rows []string
	for _, r := range latencies(run, result.PhaseSteady, result.PhaseConnect) {
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s of %s | %s | %s | %s | %s | %s |\n", md(r.Workload, 60), md(r.Arm.Path, 60), r.What,
			grouped(r.Arm.Errors), grouped(r.Arm.Requests), r.value("p50"), ratioInterval(r.P50), r.value("p99"), ratioInterval(r.P99), md(verdictOf(r.P50), 40)))
	}
	m.list(rows, "row")
	how := verdictReading
	if scarce(run, "p50", "p99") {
		how += " " + scarcity
	}
	m.printf("\n%s\n\n", md(how, 0))
	var limits []string
	for _, l := range run.Bench.Limits {
		mark := "✅"
		if !l.OK {
			mark = "❌ missed:"
		}
		limits = append(limits, fmt.Sprintf("- %s %s\n", mark, md(limitText(l), 300)))
	}
	m.list(limits, "limit")
	if len(limits) > 0 {
		m.printf("\n")
	}
}

// more is what of the measurement explains its figures.
func (m *markdown) more(run *result.Run) {
	if run.Bench == nil {
		return
	}
	if text := gatesText(run.Bench.Validity); text != "" {
		m.printf("%s.\n\n", upperFirst(text))
	}
	var notes []string
	for _, w := range run.Bench.Workloads {
		for _, r := range append(doubts(w), remarks(w)...) {
			notes = append(notes, fmt.Sprintf("- **%s**, %s\n", md(w.Name, 60), md(r.String(), 300)))
		}
	}
	m.list(notes, "note")
	if len(notes) > 0 {
		m.printf("\n")
	}
	if a := run.Bench.Against; a != nil {
		m.printf("#### %s\n\n| %s |\n|---|---|---|---:|---|---|\n", md(againstTitle(a), 200), strings.Join(againstHead, " | "))
		var rows []string
		for _, r := range againstRows(a) {
			for i := range r {
				r[i] = md(r[i], 80)
			}
			rows = append(rows, "| "+strings.Join(r, " | ")+" |\n")
		}
		m.list(rows, "row")
		m.printf("\n%s\n\n", md(againstReading(a), 0))
	}
	if list := hopCosts(run); len(list) > 0 {
		m.printf("#### What each hop adds\n\n| workload | hop | from | to | adds to connect p50 | adds to round trip p50 |\n|---|---|---|---|---|---|\n")
		var rows []string
		for _, h := range list {
			rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", md(h.Workload, 60), md(h.Station, 60), md(h.From, 60), md(h.To, 60), h.ConnectText(), h.RTTText()))
		}
		m.list(rows, "row")
		m.printf("\n%s\n\n", md(hopReading, 0))
	}
	m.costs(run)
}

func (m *markdown) likeness(run *result.Run) {
	if len(run.Likeness) == 0 {
		return
	}
	var items []string
	for _, l := range run.Likeness {
		items = append(items, fmt.Sprintf("- %s\n", md(likenessText(l), 400)))
		for _, d := range l.Differences {
			items = append(items, fmt.Sprintf("  - %s %s: simulated **%s**, real **%s**\n", md(d.Check, 40), md(d.Title, 200), md(d.Simulated, 60), md(d.Real, 60)))
		}
	}
	m.list(items, "difference")
	m.printf("\n%s\n\n", md(likenessReading, 0))
}

func (m *markdown) wire(run *result.Run) {
	if len(run.Wire) == 0 {
		return
	}
	m.printf("| path | hop | route | SNI | ALPN | client certificate | source |\n|---|---|---|---|---|---|---|\n")
	var rows []string
	for _, w := range run.Wire {
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |\n", md(w.Path, 60), md(w.Hop, 60), md(w.Route, 60),
			md(sniText(w.SNI), 120), md(alpnText(w.ALPN), 240), yesNo(w.ClientCert), md(w.Source, 40)))
	}
	m.list(rows, "row")
	m.printf("\n")
	if run.WireSource != "" {
		m.printf("%s\n\n", md(run.WireSource, 400))
	}
	for _, note := range append([]string{certNote(run), tlsCounts(run)}, run.CaptureNotes...) {
		if note != "" {
			m.printf("%s\n\n", md(note, 0))
		}
	}
}

// others folds away what was neither good nor bad.
func (m *markdown) others(run *result.Run) {
	var items []string
	list := with(checks(run), result.CheckTolerated, result.CheckXFail, result.CheckUnsupported, result.CheckNotRun, result.CheckDepFailed)
	for _, c := range list {
		items = append(items, fmt.Sprintf("- %s %s: %s\n", c.Verdict, md(checkName(c), 160), md(c.Detail, 240)))
	}
	if len(items) == 0 {
		return
	}
	m.printf("<details><summary>%s with another verdict</summary>\n\n", resultsOf(list))
	m.list(items, "result")
	m.printf("\n</details>\n\n")
}

func (m *markdown) footer(run *result.Run) {
	var names []string
	for _, b := range run.Backends[:min(len(run.Backends), 12)] {
		names = append(names, md(fmt.Sprintf("%s: %s (%s)", b.Name, backendText(b), driverText(b)), 200))
	}
	if len(names) > 0 {
		m.printf("Backends: %s\n\n", strings.Join(names, " · "))
	}
	names = nil
	for _, b := range run.LoadBalancers[:min(len(run.LoadBalancers), 12)] {
		names = append(names, md(fmt.Sprintf("%s: %s (%s)", b.Name, balancerText(b), b.Driver), 120))
	}
	if anyReal(run) {
		m.printf("Load balancers: %s\n\n", strings.Join(names, " · "))
	}
	m.printf("tlsroute-bench %s (%s), seed %d, %s, %s/%s, %s, %s\n", md(run.Run.Version, 60), md(run.Run.Commit, 60), run.Run.Seed,
		took(run), md(run.Run.Host.OS, 20), md(run.Run.Host.Arch, 20), plural(run.Run.Host.CPUs, "CPU"), md(run.Run.ID, 80))
}

// md escapes text for one line of Markdown, tables and raw HTML included, and mentions nobody.
var mdEscaper = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "|", `\|`, "~", `\~`, "#", `\#`,
	"&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "@\u200b")

func md(s string, limit int) string { return mdEscaper.Replace(oneLine(s, limit)) }

// mdCode is a code span that the text cannot end.
func mdCode(s string) string { return "`" + strings.ReplaceAll(oneLine(s, 400), "`", "'") + "`" }
