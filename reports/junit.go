package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() { register(Format{Name: "junit", File: "junit.xml", Write: writeJUnit}) }

// The elements that Jenkins, GitLab, Surefire's schema and GitHub actions agree on. A FAIL is a <failure>: the target is
// wrong. An INCONCLUSIVE is an <error>: nothing is known about the target. The two are never mixed (style.md, 6.1).
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr,omitempty"`
		Hostname   string          `xml:"hostname,attr,omitempty"`
		Properties []junitProperty `xml:"properties>property,omitempty"`
		Cases      []junitCase     `xml:"testcase"`
		seconds    float64
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name      string      `xml:"name,attr"`
		ClassName string      `xml:"classname,attr"`
		Time      string      `xml:"time,attr"`
		Failure   *junitCause `xml:"failure"`
		Error     *junitCause `xml:"error"`
		Skipped   *junitCause `xml:"skipped"`
		Flaky     *junitCause `xml:"flakyFailure"`
		SystemOut string      `xml:"system-out,omitempty"`
	}
	junitCause struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

func writeJUnit(w io.Writer, run *result.Run) error {
	all := junitSuites{Name: xmlText("tlsroute-bench " + run.Scenario.Name), Time: seconds(run.Run.Finished.Sub(run.Run.Started).Seconds())}
	if run.Run.Finished.Before(run.Run.Started) {
		all.Time = seconds(0)
	}
	for _, s := range append(checkSuites(run), benchSuites(run)...) {
		all.add(s, run)
	}
	if run.Verdict != result.Pass && all.Failures+all.Errors == 0 {
		// Interrupted, or nothing executed: without this the file would look green.
		cause := &junitCause{Message: xmlText(headline(run)), Type: string(run.Verdict), Text: xmlText(strings.Join(run.Reasons, "\n"))}
		c := junitCase{Name: "verdict of the run", ClassName: "tlsroute-bench.run", Time: seconds(0), Error: cause}
		if run.Verdict == result.Fail {
			c.Failure, c.Error = cause, nil
		}
		all.add(junitSuite{Name: "run", Cases: []junitCase{c}}, run)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write junit.xml: %w", err)
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return fmt.Errorf("write junit.xml: %w", err)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return fmt.Errorf("write junit.xml: %w", err)
	}
	return nil
}

// add counts a suite and appends it.
func (a *junitSuites) add(s junitSuite, run *result.Run) {
	for _, c := range s.Cases {
		s.Tests++
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
	s.Time = seconds(s.seconds)
	if !run.Run.Started.IsZero() {
		s.Timestamp = run.Run.Started.UTC().Format(time.RFC3339)
	}
	s.Hostname = xmlText(run.Run.Host.Name)
	s.Properties = append([]junitProperty{
		{"run", xmlText(run.Run.ID)},
		{"seed", strconv.FormatInt(run.Run.Seed, 10)},
		{"version", xmlText(run.Run.Version)},
		{"scenario", xmlText(run.Scenario.File)},
	}, s.Properties...)
	a.Tests, a.Failures, a.Errors, a.Skipped = a.Tests+s.Tests, a.Failures+s.Failures, a.Errors+s.Errors, a.Skipped+s.Skipped
	a.Suites = append(a.Suites, s)
}

// checkSuites makes one suite of each group and target, in the order of the run.
func checkSuites(run *result.Run) []junitSuite {
	if run.Conformance == nil {
		return nil
	}
	var suites []junitSuite
	index := map[[2]string]int{}
	for _, c := range run.Conformance.Results {
		key := [2]string{c.Group, c.Target}
		i, ok := index[key]
		if !ok {
			i = len(suites)
			index[key] = i
			suites = append(suites, junitSuite{
				Name:       xmlText(strings.TrimSpace(c.Group + " " + c.Target)),
				Properties: []junitProperty{{"target", xmlText(c.Target)}, {"role", xmlText(c.Role)}},
			})
		}
		suites[i].Cases = append(suites[i].Cases, checkCase(c))
		suites[i].seconds += c.DurationMS / 1000
	}
	return suites
}

func checkCase(c result.CheckResult) junitCase {
	jc := junitCase{
		Name:      xmlText(checkName(c)),
		ClassName: xmlText("conformance." + classPart(c.Target) + "." + classPart(c.Group)),
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
		jc.Failure = cause
	case result.CheckUnsupported, result.CheckNotRun, result.CheckDepFailed, result.CheckXFail:
		jc.Skipped = &junitCause{Message: xmlText(oneLine(string(c.Verdict)+": "+message, 500))}
	case result.CheckFlaky:
		jc.Flaky = cause
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

// benchSuites makes one suite of the limits and the validity of the measurement.
func benchSuites(run *result.Run) []junitSuite {
	if run.Bench == nil {
		return nil
	}
	s := junitSuite{Name: "bench limits"}
	valid := junitCase{Name: "the measurement is valid", ClassName: "bench.validity", Time: seconds(0)}
	if !run.Bench.Validity.OK {
		reasons := strings.Join(run.Bench.Validity.Reasons, "; ")
		valid.Error = &junitCause{Message: xmlText(oneLine(reasons, 500)), Type: "INVALID", Text: xmlText(strings.Join(run.Bench.Validity.Reasons, "\n"))}
	}
	s.Cases = append(s.Cases, valid)
	for _, l := range run.Bench.Limits {
		c := junitCase{Name: xmlText(l.Expr), ClassName: "bench.limits", Time: seconds(0)}
		if !l.OK {
			c.Failure = &junitCause{Message: xmlText(oneLine(limitText(l), 500)), Type: "LIMIT", Text: xmlText(limitText(l))}
		}
		s.Cases = append(s.Cases, c)
	}
	return []junitSuite{s}
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
