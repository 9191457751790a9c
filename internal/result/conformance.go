package result

import (
	"fmt"
	"strings"
)

// CheckVerdict is what came of one check.
type CheckVerdict string

// The verdicts of a check. Only PASS and TOLERATED count as conforming; FAIL and XPASS are unexpected and fail a run.
const (
	CheckPass         CheckVerdict = "PASS"
	CheckTolerated    CheckVerdict = "TOLERATED"
	CheckFail         CheckVerdict = "FAIL"
	CheckUnsupported  CheckVerdict = "UNSUPPORTED"
	CheckNotRun       CheckVerdict = "NOT-RUN"
	CheckDepFailed    CheckVerdict = "DEP-FAILED"
	CheckInconclusive CheckVerdict = "INCONCLUSIVE"
	CheckFlaky        CheckVerdict = "FLAKY"
	CheckXFail        CheckVerdict = "XFAIL"
	CheckXPass        CheckVerdict = "XPASS"
)

// CheckVerdicts lists every verdict in the order in which people want to see them.
var CheckVerdicts = []CheckVerdict{
	CheckFail, CheckXPass, CheckInconclusive, CheckFlaky, CheckDepFailed, CheckNotRun,
	CheckUnsupported, CheckXFail, CheckTolerated, CheckPass,
}

// Conformance is the outcome of all checks of a run.
type Conformance struct {
	Totals  map[CheckVerdict]int `json:"totals"`
	Results []CheckResult        `json:"results"`
	// Background is the traffic that went on beside the checks, by target; none when it was not asked for.
	Background []Background `json:"background,omitempty"`
}

// Background is tunnels that carried traffic while the checks ran.
type Background struct {
	Target  string `json:"target"`
	Tunnels int    `json:"tunnels"`
	// Trips are echoes that came back as they were sent; Failed are tunnels that ended, or carried something else.
	Trips  int64 `json:"trips"`
	Failed int   `json:"failed"`
	// LongestNS is how long the slowest echo took, in nanoseconds.
	LongestNS int64 `json:"longest_ns"`
	// Errors are the first of them.
	Errors []string `json:"errors,omitempty"`
}

// CheckResult is one check put to one target over one path.
type CheckResult struct {
	// Check is the permanent id, such as "DET-02"; Slug its name for people, such as "ch-split-tcp".
	Check  string `json:"check"`
	Slug   string `json:"slug"`
	Title  string `json:"title"`
	Group  string `json:"group"`
	Level  string `json:"level"`
	Origin string `json:"origin"`
	// Target is the implementation that was judged, Role what it was judged as: router, client or lb.
	Target  string       `json:"target"`
	Role    string       `json:"role"`
	Path    string       `json:"path"`
	Verdict CheckVerdict `json:"verdict"`
	// Outcome is what was seen, in the check's own vocabulary: "routed", "alert:120", "rst", "timeout", …
	Outcome string `json:"outcome"`
	// Detail is the same in a sentence, with expected and actual values when the verdict is not PASS.
	Detail string `json:"detail,omitempty"`
	// Expected lists the outcomes the check accepts, Clauses the documents behind it.
	Expected   []string `json:"expected,omitempty"`
	Clauses    []Clause `json:"clauses,omitempty"`
	Why        string   `json:"why,omitempty"`
	DurationMS float64  `json:"duration_ms"`
	// Diff is the first byte that differs, where bytes were compared and differ.
	Diff *Diff `json:"diff,omitempty"`
	// Attempts are the runs of a check that was run again, in their order: more than one, or none.
	Attempts []Attempt `json:"attempts,omitempty"`
	// Known is the entry of the baseline that makes it XFAIL.
	Known *Known `json:"known,omitempty"`
	// Evidence are paths relative to the report.
	Evidence []string `json:"evidence"`
}

// Diff is the first difference of two byte strings, and what is around it. Where one of them ends early, that is the difference.
type Diff struct {
	// Offset is that of the first byte that differs, From that of the first byte shown.
	Offset int64 `json:"offset"`
	From   int64 `json:"from"`
	// Want and Got are the bytes from From on, in hex.
	Want string `json:"want"`
	Got  string `json:"got"`
}

// String is the difference in one line.
func (d Diff) String() string {
	return fmt.Sprintf("first at byte %d; from byte %d on, expected %s, got %s", d.Offset, d.From, hexText(d.Want), hexText(d.Got))
}

// hexText sets hex in pairs.
func hexText(hex string) string {
	if hex == "" {
		return "nothing"
	}
	var b strings.Builder
	for i := 0; i < len(hex); i += 2 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(hex[i:min(i+2, len(hex))])
	}
	return b.String()
}

// Attempt is one run of a check that was run several times.
type Attempt struct {
	Verdict    CheckVerdict `json:"verdict"`
	Outcome    string       `json:"outcome"`
	Detail     string       `json:"detail,omitempty"`
	DurationMS float64      `json:"duration_ms"`
}

// Known is why a failure was expected.
type Known struct {
	Reason string `json:"reason"`
	Link   string `json:"link,omitempty"`
	// Expires is the first day, as 2006-01-02, on which it is no longer expected.
	Expires string `json:"expires,omitempty"`
}

// Clause is a place in a document that a check rests on.
type Clause struct {
	Doc     string `json:"doc"`
	Section string `json:"section,omitempty"`
	// Grade is how sure it is that a product behaves so, where no standard says it: see [Grades]. Empty for a standard.
	Grade string `json:"grade,omitempty"`
	URL   string `json:"url,omitempty"`
}

// Grades are how sure it is what a product does.
var Grades = map[string]string{
	"D": "documented by the vendor", "O": "observed by a third party", "S": "read in its source code", "I": "inferred from these",
	"A": "assumed", "unknown": "not known: a default",
}

// Name is the clause in one line.
func (c Clause) Name() string {
	text := c.Doc
	if c.Section != "" {
		text += ", " + c.Section
	}
	if c.Grade != "" {
		text += " (" + c.Grade + ": " + Grades[c.Grade] + ")"
	}
	return text
}

// Count fills Totals from Results.
func (c *Conformance) Count() {
	c.Totals = make(map[CheckVerdict]int)
	for _, r := range c.Results {
		c.Totals[r.Verdict]++
	}
}
