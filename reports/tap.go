package reports

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() { register(Format{Name: "tap", File: "results.tap", Write: writeTAP}) }

// tapPoint is a test point of TAP 14 (testanything.org/tap-version-14-specification.html).
type tapPoint struct {
	ok                   bool
	name                 string
	directive            string // "", SKIP or TODO, with the reason behind it
	verdict, text, extra string
}

func writeTAP(w io.Writer, run *result.Run) error {
	points := tapPoints(run)
	var b strings.Builder
	fmt.Fprintf(&b, "TAP version 14\n1..%d\n# %s, seed %d, run %s\n", len(points), tapText(run.Scenario.Name), run.Run.Seed, tapText(run.Run.ID))
	for i, p := range points {
		if !p.ok {
			b.WriteString("not ")
		}
		fmt.Fprintf(&b, "ok %d - %s", i+1, tapText(p.name))
		if p.directive != "" {
			b.WriteString(" # " + p.directive)
			if p.extra != "" {
				b.WriteString(" " + tapText(oneLine(p.extra, 300)))
			}
		}
		b.WriteString("\n")
		if p.text == "" {
			continue
		}
		verdict, _ := json.Marshal(p.verdict) // JSON is YAML, and a string always has one
		message, _ := json.Marshal(strings.ToValidUTF8(p.text, "\uFFFD"))
		fmt.Fprintf(&b, "  ---\n  verdict: %s\n  message: %s\n  ...\n", verdict, message)
	}
	if run.Partial {
		b.WriteString("# the run was interrupted: what is here is true as far as it goes\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write results.tap: %w", err)
	}
	return nil
}

// tapPoints are the checks, the validity of the measurement and its limits. A harness fails what is "not ok", but with TODO; that is
// what XFAIL means. XPASS fails a run, which "ok" with TODO would not.
func tapPoints(run *result.Run) (list []tapPoint) {
	failed := false
	add := func(p tapPoint) {
		failed = failed || !p.ok && p.directive != "TODO"
		list = append(list, p)
	}
	for _, c := range checksInOrder(run) {
		p := tapPoint{name: checkName(c), verdict: string(c.Verdict), extra: c.Detail}
		switch c.Verdict {
		case result.CheckPass, result.CheckTolerated:
			p.ok = true
		case result.CheckFlaky:
			p.ok = !run.FailOnFlake
		case result.CheckUnsupported, result.CheckNotRun, result.CheckDepFailed:
			p.ok, p.directive, p.extra = true, "SKIP", string(c.Verdict)+" "+c.Detail
		case result.CheckXFail:
			p.directive = "TODO"
			if c.Known != nil {
				p.extra = knownText(*c.Known)
			}
		default: // FAIL and XPASS, INCONCLUSIVE, and a verdict of a later version
		}
		if c.Verdict != result.CheckPass {
			p.text = checkText(c)
		}
		add(p)
	}
	if b := run.Bench; b != nil {
		add(tapPoint{ok: b.Validity.OK, name: "the measurement is valid", verdict: "INVALID", text: strings.Join(b.Validity.Reasons, "\n")})
		for _, l := range b.Limits {
			p := tapPoint{ok: l.OK, name: "limit " + l.Expr, verdict: "LIMIT"}
			if !l.OK {
				p.text = limitText(l)
			}
			add(p)
		}
	}
	if run.Verdict != result.Pass && !failed { // interrupted, or nothing executed: without this it would look green
		add(tapPoint{name: "verdict of the run", verdict: string(run.Verdict), text: strings.Join(append([]string{headline(run)}, run.Reasons...), "\n")})
	}
	return list
}

// checksInOrder are the results in the order of the run.
func checksInOrder(run *result.Run) []result.CheckResult {
	if run.Conformance == nil {
		return nil
	}
	return run.Conformance.Results
}

// tapText is text for one line: the two characters that mean something there are escaped.
func tapText(s string) string {
	return strings.NewReplacer(`\`, `\\`, `#`, `\#`).Replace(plainText(s))
}
