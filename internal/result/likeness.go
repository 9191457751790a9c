package result

import "slices"

// Likeness is a real product beside the simulator with the profile of it, under the same checks. A difference is a finding about the
// profile, or about how the product is configured here; it is no failure of the run.
type Likeness struct {
	// LoadBalancer is the product's name in the scenario.
	LoadBalancer string `json:"load_balancer"`
	Product      string `json:"product"`
	Version      string `json:"version"`
	Profile      string `json:"profile"`
	// Compared is the number of checks that saw something of both.
	Compared    int          `json:"compared"`
	Differences []Difference `json:"differences"`
	// Unclear are the checks that could not be put to both.
	Unclear []Unclear `json:"unclear,omitempty"`
}

// Unclear is why some checks could not be put to one of two.
type Unclear struct {
	Checks []string `json:"checks"`
	Why    string   `json:"why"`
}

// Difference is one check that saw two things.
type Difference struct {
	Check string `json:"check"`
	Slug  string `json:"slug"`
	Title string `json:"title"`
	// Simulated and Real are outcomes in the check's own vocabulary; the details say the same in a sentence.
	Simulated       string `json:"simulated"`
	Real            string `json:"real"`
	SimulatedDetail string `json:"simulated_detail,omitempty"`
	RealDetail      string `json:"real_detail,omitempty"`
}

// saw tells whether a check of that verdict saw what the target does.
func saw(v CheckVerdict) bool {
	switch v {
	case CheckPass, CheckTolerated, CheckFail, CheckXFail, CheckXPass:
		return true
	case CheckUnsupported, CheckNotRun, CheckDepFailed, CheckInconclusive, CheckFlaky:
	}
	return false
}

// Compare fills in what came of the same checks on both.
func (l *Likeness) Compare(simulated, real []CheckResult) {
	l.Compared, l.Differences, l.Unclear = 0, []Difference{}, nil
	for _, s := range simulated {
		for _, r := range real {
			if r.Check != s.Check {
				continue
			}
			switch {
			case s.Verdict == CheckUnsupported && r.Verdict == CheckUnsupported: // neither is asked
			case !saw(s.Verdict):
				l.unclear(s, "on the simulator")
			case !saw(r.Verdict):
				l.unclear(r, "on the product")
			default:
				l.Compared++
				if s.Outcome != r.Outcome {
					l.Differences = append(l.Differences, Difference{
						Check: s.Check, Slug: s.Slug, Title: s.Title, Simulated: s.Outcome, Real: r.Outcome, SimulatedDetail: s.Detail, RealDetail: r.Detail,
					})
				}
			}
		}
	}
}

// unclear adds a check to those that have the same reason.
func (l *Likeness) unclear(r CheckResult, where string) {
	why := where + ": " + string(r.Verdict) + ": " + r.Detail
	i := slices.IndexFunc(l.Unclear, func(u Unclear) bool { return u.Why == why })
	if i < 0 {
		i = len(l.Unclear)
		l.Unclear = append(l.Unclear, Unclear{Why: why})
	}
	l.Unclear[i].Checks = append(l.Unclear[i].Checks, r.Check)
}
