package reports

import (
	"fmt"
	"io"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() { register(Format{Name: "github", Write: writeGitHub}) }

// maxAnnotations: GitHub shows ten annotations of a type per step and drops the rest without a word. Nine, and the tenth
// says how many more there are (facts/conformance.md section 2).
const maxAnnotations = 9

type annotation struct{ level, title, message string }

func writeGitHub(w io.Writer, run *result.Run) error {
	list := annotations(run)
	of, written := map[string]int{}, map[string]int{}
	for _, a := range list {
		of[a.level]++
	}
	var b strings.Builder
	for _, a := range list {
		switch written[a.level]++; {
		case written[a.level] > maxAnnotations+1:
			continue
		case written[a.level] == maxAnnotations+1:
			a = annotation{a.level, "and more", fmt.Sprintf("%d more, see summary.md and report.html", of[a.level]-maxAnnotations)}
		}
		b.WriteString("::" + a.level + " ")
		if run.Scenario.File != "" {
			b.WriteString("file=" + property(run.Scenario.File) + ",")
		}
		b.WriteString("title=" + property(oneLine(a.title, 200)) + "::" + data(a.message) + "\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write annotations: %w", err)
	}
	return nil
}

// annotations lists what is worth one, the weightiest first. When nothing is wrong it is one notice.
func annotations(run *result.Run) []annotation {
	var errs, warnings []annotation
	for _, c := range with(checks(run), result.CheckFail, result.CheckXPass) {
		errs = append(errs, annotation{"error", string(c.Verdict) + " " + checkName(c), checkText(c)})
	}
	for _, l := range missedLimits(run) {
		errs = append(errs, annotation{"error", "limit missed", limitText(l)})
	}
	if invalid(run) {
		warnings = append(warnings, annotation{"warning", "the measurement is not valid", strings.Join(run.Bench.Validity.Reasons, "\n")})
	}
	for _, c := range with(checks(run), result.CheckInconclusive, result.CheckFlaky) {
		warnings = append(warnings, annotation{"warning", string(c.Verdict) + " " + checkName(c), checkText(c)})
	}
	list := append(errs, warnings...)
	if len(list) == 0 {
		level := "notice"
		if run.Verdict != result.Pass {
			level = "error"
		}
		list = append(list, annotation{level, "tlsroute-bench: " + string(run.Verdict), strings.Join(append([]string{headline(run)}, run.Reasons...), "\n")})
	}
	return list
}

// The escapes of the runner's own toolkit: data loses its line ends, properties their separators as well.
var (
	dataEscaper     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	propertyEscaper = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

func data(s string) string     { return dataEscaper.Replace(strings.ToValidUTF8(s, "\uFFFD")) }
func property(s string) string { return propertyEscaper.Replace(strings.ToValidUTF8(s, "\uFFFD")) }
