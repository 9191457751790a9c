package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() { register(Format{Name: "junit", File: "junit.xml", Write: writeJUnit}) }

// The elements of Surefire's schema (surefire-test-report.xsd 3.0 in apache/maven-surefire), which Jenkins, GitLab and the actions of
// GitHub read: one <testsuite>, each <testcase> with its children in that order. A FAIL is a <failure>: the target is wrong. An
// INCONCLUSIVE is an <error>: nothing is known about the target. The two are never mixed (style.md, 6.1).
type (
	junitSuite struct {
		XMLName    xml.Name        `xml:"testsuite"`
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Properties []junitProperty `xml:"properties>property,omitempty"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name      string       `xml:"name,attr"`
		ClassName string       `xml:"classname,attr"`
		Group     string       `xml:"group,attr,omitempty"`
		Time      string       `xml:"time,attr"`
		Failure   *junitCause  `xml:"failure"`
		Rerun     []junitRun   `xml:"rerunFailure"`
		Flaky     []junitRun   `xml:"flakyFailure"`
		Skipped   *junitReason `xml:"skipped"`
		Error     *junitCause  `xml:"error"`
		SystemOut string       `xml:"system-out,omitempty"`
	}
	junitCause struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
	junitReason struct {
		Message string `xml:"message,attr"`
	}
	// junitRun is a failed run of a test that was run again: what a stack trace would tell is told by the text.
	junitRun struct {
		Message    string `xml:"message,attr"`
		Type       string `xml:"type,attr"`
		StackTrace string `xml:"stackTrace"`
	}
)

func writeJUnit(w io.Writer, run *result.Run) error {
	s := junitSuite{Name: xmlText("tlsroute-bench " + run.Scenario.Name), Time: seconds(run.Run.Finished.Sub(run.Run.Started).Seconds())}
	s.Properties = []junitProperty{
		{"run", xmlText(run.Run.ID)},
		{"seed", strconv.FormatInt(run.Run.Seed, 10)},
		{"version", xmlText(run.Run.Version)},
		{"scenario", xmlText(run.Scenario.File)},
		{"hostname", xmlText(run.Run.Host.Name)},
	}
	if !run.Run.Started.IsZero() {
		s.Properties = append(s.Properties, junitProperty{"timestamp", run.Run.Started.UTC().Format(time.RFC3339)})
	}
	for _, c := range checksInOrder(run) {
		p := junitProperty{"target." + xmlText(c.Role), xmlText(c.Target)}
		if !slices.Contains(s.Properties, p) {
			s.Properties = append(s.Properties, p)
		}
		s.add(checkCase(c))
	}
	for _, c := range benchCases(run) {
		s.add(c)
	}
	if run.Verdict != result.Pass && s.Failures+s.Errors == 0 {
		// Interrupted, nothing executed, or flaky where that is to fail: without this the file would look green.
		cause := &junitCause{Message: xmlText(headline(run)), Type: string(run.Verdict), Text: xmlText(strings.Join(run.Reasons, "\n"))}
		c := junitCase{Name: "verdict of the run", ClassName: "tlsroute-bench.run", Time: seconds(0), Error: cause}
		if run.Verdict == result.Fail {
			c.Failure, c.Error = cause, nil
		}
		s.add(c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write junit.xml: %w", err)
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(s); err != nil {
		return fmt.Errorf("write junit.xml: %w", err)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return fmt.Errorf("write junit.xml: %w", err)
	}
	return nil
}

// add counts a case and appends it.
func (s *junitSuite) add(c junitCase) {
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func checkCase(c result.CheckResult) junitCase {
	jc := junitCase{
		Name:      xmlText(checkName(c)),
		ClassName: xmlText("conformance." + classPart(c.Target) + "." + classPart(c.Group)),
		Group:     xmlText(c.Group),
		Time:      seconds(c.DurationMS / 1000),
	}
	message := c.Detail
	if message == "" {
		message = c.Title
	}
	cause := &junitCause{Message: xmlText(oneLine(message, 500)), Type: xmlText(string(c.Verdict)), Text: xmlText(checkText(c))}
	switch c.Verdict {
	case result.CheckPass, result.CheckTolerated:
	case result.CheckFail, result.CheckXPass:
		jc.Failure, jc.Rerun = cause, failedRuns(c, 1)
	case result.CheckUnsupported, result.CheckNotRun, result.CheckDepFailed, result.CheckXFail:
		jc.Skipped = &junitReason{Message: xmlText(oneLine(string(c.Verdict)+": "+message, 500))}
	case result.CheckFlaky:
		if jc.Flaky = failedRuns(c, 0); len(jc.Flaky) == 0 { // a report that does not tell of the runs
			jc.Flaky = []junitRun{{cause.Message, cause.Type, cause.Text}}
		}
	default: // INCONCLUSIVE, and a verdict of a later version: never a pass
		jc.Error = cause
	}
	var out strings.Builder
	if c.Verdict == result.CheckTolerated {
		fmt.Fprintf(&out, "TOLERATED: %s\n", message)
	}
	for _, e := range c.Evidence {
		fmt.Fprintf(&out, "[[ATTACHMENT|%s]]\n", e) // the form that Jenkins and GitLab turn into a link
	}
	jc.SystemOut = xmlText(out.String())
	return jc
}

// failedRuns are the failed runs of a check that was run again, from the given one on; the whole text goes with the first of them.
func failedRuns(c result.CheckResult, from int) (list []junitRun) {
	for i, a := range c.Attempts {
		if i < from || a.Verdict != result.CheckFail {
			continue
		}
		text := fmt.Sprintf("run %d: %s: %s", i+1, a.Outcome, a.Detail)
		if len(list) == 0 {
			text += "\n" + checkText(c)
		}
		list = append(list, junitRun{Message: xmlText(oneLine(a.Detail, 500)), Type: xmlText(string(a.Verdict)), StackTrace: xmlText(text)})
	}
	return list
}

// checkText is what a person needs to judge a check, as lines.
func checkText(c result.CheckResult) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-9s %s\n", name+":", oneLine(value, 0))
		}
	}
	line("required", c.Title)
	line("level", strings.Trim(c.Level+", "+c.Origin, ", "))
	line("expected", strings.Join(c.Expected, " or "))
	line("actual", c.Outcome)
	line("detail", c.Detail)
	if c.Diff != nil {
		line("bytes", c.Diff.String())
	}
	for i, a := range c.Attempts {
		line(fmt.Sprintf("run %d", i+1), fmt.Sprintf("%s %s %s", a.Verdict, a.Outcome, a.Detail))
	}
	if c.Known != nil {
		line("known", knownText(*c.Known))
	}
	line("why", c.Why)
	for _, cl := range c.Clauses {
		line("clause", clauseText(cl))
	}
	for _, e := range c.Evidence {
		line("evidence", e)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// knownText says why a failure was expected.
func knownText(k result.Known) string {
	text := k.Reason
	if k.Link != "" {
		text += " " + k.Link
	}
	if k.Expires != "" {
		text += " (until " + k.Expires + ")"
	}
	return text
}

func clauseText(c result.Clause) string {
	text := c.Name()
	if c.URL != "" {
		text += " " + c.URL
	}
	return text
}

// benchCases are the validity of the measurement and its limits.
func benchCases(run *result.Run) []junitCase {
	if run.Bench == nil {
		return nil
	}
	valid := junitCase{Name: "the measurement is valid", ClassName: "bench.validity", Time: seconds(0)}
	if !run.Bench.Validity.OK {
		reasons := strings.Join(run.Bench.Validity.Reasons, "; ")
		valid.Error = &junitCause{Message: xmlText(oneLine(reasons, 500)), Type: "INVALID", Text: xmlText(strings.Join(run.Bench.Validity.Reasons, "\n"))}
	}
	cases := []junitCase{valid}
	for _, l := range run.Bench.Limits {
		c := junitCase{Name: xmlText(l.Expr), ClassName: "bench.limits", Time: seconds(0)}
		if !l.OK {
			c.Failure = &junitCause{Message: xmlText(oneLine(limitText(l), 500)), Type: "LIMIT", Text: xmlText(limitText(l))}
		}
		cases = append(cases, c)
	}
	return cases
}

// limitText says what a limit came to.
func limitText(l result.Limit) string {
	text := fmt.Sprintf("%s: value %s", l.Expr, significant(l.Value))
	if l.Detail != "" {
		text += " (" + l.Detail + ")"
	}
	if l.Workload != "" {
		text += " in workload " + l.Workload
	}
	return text
}

func seconds(s float64) string { return strconv.FormatFloat(max(s, 0), 'f', 3, 64) }

// classPart keeps a class name in one piece: viewers split it at dots and slashes.
func classPart(s string) string {
	if s == "" {
		return "none"
	}
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '/' || r <= ' ' {
			return '-'
		}
		return r
	}, s)
}

// xmlText drops what XML 1.0 cannot hold at all, escaped or not: control characters, surrogates, U+FFFE and U+FFFF.
func xmlText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
}
