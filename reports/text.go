package reports

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() {
	register(Format{Name: "text", Write: func(w io.Writer, run *result.Run) error { return WriteText(w, run, false) }})
}

// WriteText writes the summary for a terminal: verdict, reasons, failed checks, cost and limits. With color it uses ANSI
// codes; whether to is the caller's business (a terminal, no NO_COLOR).
func WriteText(w io.Writer, run *result.Run, color bool) error {
	t := &text{color: color}
	run = labelled(run)
	t.verdict(run)
	t.backends(run)
	t.checks(run)
	t.matrix(run)
	t.likeness(run)
	t.wire(run)
	t.bench(run)
	t.faults(run)
	if steps := nextSteps(run); len(steps) > 0 {
		t.title("What to do next")
		for _, s := range steps {
			t.printf("  • %s\n", plainText(s.String()))
		}
	}
	if _, err := w.Write(t.Bytes()); err != nil {
		return fmt.Errorf("write text summary: %w", err)
	}
	return nil
}

type text struct {
	bytes.Buffer
	color bool
}

func (t *text) printf(format string, args ...any) { fmt.Fprintf(t, format, args...) }

const (
	ansiBold, ansiDim, ansiRed, ansiGreen, ansiYellow, ansiCyan = "1", "2", "31", "32", "33", "36"
)

func (t *text) paint(code, s string) string {
	if !t.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t *text) title(s string) { t.printf("\n%s\n", t.paint(ansiBold, s)) }

// plainText is oneLine, without a limit, for a terminal: escape sequences in what a target sent must not reach it.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0x80 && r <= 0x9f {
			return -1
		}
		return r
	}, oneLine(s, 0))
}

func (t *text) verdict(run *result.Run) {
	code, mark := ansiYellow, "?"
	switch run.Verdict {
	case result.Pass:
		code, mark = ansiGreen, "✓"
	case result.Fail:
		code, mark = ansiRed, "✗"
	case result.Inconclusive:
	}
	t.printf("%s %s\n", t.paint(ansiBold+";"+code, mark+" "+strings.ToUpper(string(run.Verdict))), headline(run))
	if run.Partial {
		t.printf("  %s\n", t.paint(ansiYellow, "partial: the run was interrupted"))
	}
	for _, r := range run.Reasons {
		t.printf("  - %s\n", plainText(r))
	}
	t.printf("  %s\n", t.paint(ansiDim, plainText(fmt.Sprintf("%s, %s, seed %d, %s", run.Scenario.Name, took(run), run.Run.Seed, run.Run.ID))))
}

func (t *text) backends(run *result.Run) {
	if len(run.Backends) == 0 {
		return
	}
	t.title("Backends")
	rows := [][]string{}
	for _, b := range run.Backends {
		rows = append(rows, []string{b.Name, driverText(b), backendText(b), b.Note})
	}
	t.table(rows)
	if !anyReal(run) {
		return
	}
	t.title("Load balancers")
	rows = nil
	for _, b := range run.LoadBalancers {
		rows = append(rows, []string{b.Name, b.Driver, balancerText(b)})
	}
	t.table(rows)
}

func (t *text) checks(run *result.Run) {
	list := checks(run)
	if len(list) == 0 {
		return
	}
	t.title("Checks: " + totalsText(run))
	for _, c := range list {
		if c.Verdict == result.CheckPass {
			continue
		}
		code := ansiYellow
		if unexpected(c.Verdict) {
			code = ansiRed
		} else if c.Verdict != result.CheckInconclusive && c.Verdict != result.CheckFlaky {
			code = ansiDim
		}
		t.printf("  %s %s\n", t.paint(code, fmt.Sprintf("%-12s", c.Verdict)), plainText(checkName(c)))
		if !unexpected(c.Verdict) && c.Verdict != result.CheckInconclusive && c.Verdict != result.CheckFlaky {
			continue
		}
		t.field("required", c.Title)
		t.field("expected", strings.Join(c.Expected, " or "))
		t.field("actual", c.Outcome)
		t.field("detail", c.Detail)
		if c.Diff != nil {
			t.field("bytes", c.Diff.String())
		}
		for _, e := range c.Evidence {
			t.field("evidence", e)
		}
	}
}

func (t *text) field(name, value string) {
	if value != "" {
		t.printf("      %s %s\n", t.paint(ansiDim, fmt.Sprintf("%-9s", name)), plainText(value))
	}
}

func (t *text) likeness(run *result.Run) {
	if len(run.Likeness) == 0 {
		return
	}
	t.title("Real products and the simulator's profiles of them")
	for _, l := range run.Likeness {
		t.printf("  %s\n", plainText(likenessText(l)))
		for _, d := range l.Differences {
			t.printf("    %s %s\n", plainText(d.Check+" "+d.Slug), plainText(fmt.Sprintf("simulated %s, real %s", d.Simulated, d.Real)))
			t.field("simulated", d.SimulatedDetail)
			t.field("real", d.RealDetail)
		}
	}
	t.printf("  %s\n", t.paint(ansiDim, likenessReading))
}

func (t *text) wire(run *result.Run) {
	if len(run.Wire) == 0 {
		return
	}
	t.title("What each ClientHello carried")
	rows := [][]string{{"path", "hop", "route", "SNI", "ALPN", "client cert", "source"}}
	for _, w := range run.Wire {
		rows = append(rows, []string{w.Path, w.Hop, w.Route, sniText(w.SNI), alpnText(w.ALPN), yesNo(w.ClientCert), w.Source})
	}
	t.table(rows)
	for _, note := range append([]string{run.WireSource, certNote(run), tlsCounts(run)}, run.CaptureNotes...) {
		if note != "" {
			t.printf("  %s\n", t.paint(ansiDim, plainText(note)))
		}
	}
}

func (t *text) bench(run *result.Run) {
	if run.Bench == nil {
		return
	}
	t.title("What the detour costs")
	if invalid(run) {
		t.printf("  %s\n", t.paint(ansiYellow, "the measurement is not valid:"))
		for _, r := range run.Bench.Validity.Reasons {
			t.printf("    - %s\n", plainText(r))
		}
	}
	rows := [][]string{{"workload", "path", "latency of", "requests", "errors", "p50", "95 % interval", "p90", "p99", "95 % interval", "p99.9"}}
	for _, r := range latencies(run, result.PhaseSteady, result.PhaseService, result.PhaseConnect) {
		rows = append(rows, []string{
			r.Workload, r.Arm.Path, r.What, grouped(r.Arm.Requests), grouped(r.Arm.Errors),
			r.value("p50"), r.interval("p50"), r.value("p90"), r.value("p99"), r.interval("p99"), r.value("p999"),
		})
	}
	t.table(rows)
	if scarce(run, "p50", "p90", "p99", "p999") {
		t.printf("  %s\n", t.paint(ansiDim, scarcity))
	}
	if rows := compareRows(run); len(rows) > 0 {
		t.title("Against the baseline path")
		t.table(append([][]string{{"workload", "path", "what", "ratio", "95 % interval", "difference", "verdict"}}, rows...))
	}
	for _, w := range run.Bench.Workloads {
		for _, r := range doubts(w) {
			t.printf("  %s\n", t.paint(ansiDim, plainText(w.Name+", "+r.String())))
		}
	}
	for _, w := range run.Bench.Workloads {
		for _, r := range remarks(w) {
			t.printf("  %s %s\n", t.paint(ansiYellow, "!"), plainText(w.Name+", "+r.String()))
		}
	}
	t.gates(run.Bench.Validity)
	for _, l := range run.Bench.Limits {
		mark := t.paint(ansiGreen, "✓ met   ")
		if !l.OK {
			mark = t.paint(ansiRed, "✗ missed")
		}
		t.printf("  %s %s\n", mark, plainText(limitText(l)))
	}
	if a := run.Bench.Against; a != nil {
		t.title(againstTitle(a))
		t.table(append([][]string{againstHead}, againstRows(a)...))
		t.printf("  %s\n", t.paint(ansiDim, againstReading(a)))
	}
	t.hops(run)
	t.costs(run)
}

// gates lists the conditions of a measurement that do not hold, and counts all.
func (t *text) gates(v result.Validity) {
	gates := newGateView(v)
	if gates == nil {
		return
	}
	t.printf("  %s\n", gatesText(v))
	for _, g := range gates.Open {
		line := fmt.Sprintf("%s %s: %s, %s: %s, bound %s", g.Mark, g.Word, g.Name, g.Where, g.Value, g.Bound)
		if g.Detail != "" {
			line += ". " + g.Detail
		}
		t.printf("    %s\n", plainText(line))
	}
}

func (t *text) hops(run *result.Run) {
	list := hopCosts(run)
	if len(list) == 0 {
		return
	}
	rows := [][]string{{"workload", "hop", "from", "to", "adds to connect p50", "adds to rtt p50"}}
	for _, h := range list {
		rows = append(rows, []string{h.Workload, h.Station, h.From, h.To, h.ConnectText(), h.RTTText()})
	}
	t.title("What each hop adds")
	t.table(rows)
	t.printf("  %s\n", t.paint(ansiDim, hopReading))
}

func phaseText(a result.Arm, phase, stat string) string {
	p, ok := a.Phases[phase]
	if !ok {
		return "–"
	}
	return percentileText(p, stat)
}

// table writes rows with aligned columns; the last column is not padded.
func (t *text) table(rows [][]string) {
	var width []int
	for _, r := range rows {
		for i, cell := range r {
			r[i] = plainText(cell)
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(r[i]))
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			line.WriteString(cell)
			if i < len(r)-1 {
				line.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		t.printf("  %s\n", strings.TrimRight(line.String(), " "))
	}
}
