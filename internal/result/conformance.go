package result

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
	// Evidence are paths relative to the report.
	Evidence []string `json:"evidence"`
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
