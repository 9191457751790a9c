package result

import "fmt"

// Judge sets Verdict and Reasons from what the run holds and returns the exit status that goes with them.
//
// What is certain weighs more than what is not: a failed check fails the run even when the rest of it was cut short or its
// measurement was invalid. A limit counts only on a valid measurement. A run in which nothing was executed is never a pass, and
// nor is one that was to judge and of whose checks none was executed, whatever it measured. With FailOnFlake, flaky checks fail a
// run that nothing else is wrong with, by a status of their own.
func (r *Run) Judge() int {
	r.Reasons = r.Reasons[:0]
	var failed, unsure []string
	executed, idle := 0, false
	if c := r.Conformance; c != nil {
		c.Count()
		for _, v := range []CheckVerdict{CheckPass, CheckTolerated, CheckFail, CheckXFail, CheckXPass, CheckFlaky, CheckInconclusive} {
			executed += c.Totals[v]
		}
		idle = executed == 0
		if n := c.checks(CheckFail); n > 0 {
			failed = append(failed, fmt.Sprintf("%s failed", checks(n)))
		}
		if n := c.checks(CheckXPass); n > 0 {
			failed = append(failed, fmt.Sprintf("%s passed although known to fail", checks(n)))
		}
		for _, b := range c.Background {
			if b.Failed > 0 {
				failed = append(failed, fmt.Sprintf("%d of %d tunnels of %s failed that carried traffic beside the checks: %s", b.Failed, b.Tunnels, b.Target, b.Errors[0]))
			}
		}
		if n := c.checks(CheckInconclusive); n > 0 {
			unsure = append(unsure, fmt.Sprintf("%s inconclusive", checks(n)))
		}
	}
	if m := r.Matrix; m != nil {
		bad, n := m.judge()
		failed, executed = append(failed, bad...), executed+n
	}
	if b := r.Bench; b != nil {
		executed += len(b.Workloads)
		if !b.Validity.OK {
			for _, reason := range b.Validity.Reasons {
				unsure = append(unsure, "the measurement is not valid: "+reason)
			}
		} else {
			for _, l := range b.Limits {
				if !l.OK {
					failed = append(failed, fmt.Sprintf("limit missed: %s (value %.4g)", l.Expr, l.Value))
				}
			}
			failed = append(failed, b.Against.regressions()...)
		}
	}
	if r.Partial {
		unsure = append(unsure, "the run was interrupted: this report is partial")
	}
	r.Reasons = append(append(r.Reasons, failed...), unsure...)
	switch {
	case len(failed) > 0:
		r.Verdict = Fail
		return ExitFailed
	case len(unsure) > 0:
		r.Verdict = Inconclusive
		return ExitInconclusive
	case executed == 0:
		r.Verdict = Inconclusive
		r.Reasons = append(r.Reasons, "nothing was executed")
		return ExitNothing
	case idle:
		r.Verdict = Inconclusive
		r.Reasons = append(r.Reasons, "no check was executed")
		return ExitNothing
	case r.FailOnFlake && r.Conformance != nil && r.Conformance.checks(CheckFlaky) > 0:
		r.Verdict = Fail
		r.Reasons = append(r.Reasons, fmt.Sprintf("%s flaky", checks(r.Conformance.checks(CheckFlaky))))
		return ExitFlaky
	}
	r.Verdict = Pass
	return ExitOK
}

// checks counts the checks that have a result of that verdict: one put to several paths has several results.
func (c *Conformance) checks(v CheckVerdict) int {
	ids := map[string]bool{}
	for _, r := range c.Results {
		if r.Verdict == v {
			ids[r.Check] = true
		}
	}
	return len(ids)
}

func checks(n int) string {
	if n == 1 {
		return "1 check"
	}
	return fmt.Sprintf("%d checks", n)
}
