package conformance

import (
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Known is a failure that is known: a FAIL of the check is XFAIL and fails no run. One that passes is XPASS, which does fail it, so
// that a baseline shrinks as the target gets better; and after Expires a FAIL is a FAIL again.
type Known struct {
	// Check is the id, Path a glob over the names of paths; every path when empty.
	Check, Path string
	// Reason says why it fails, Link where that is being dealt with.
	Reason, Link string
	// Expires is the first moment at which it no longer holds; never when zero.
	Expires time.Time
}

// day is how dates are written here and in baselines.
const day = "2006-01-02"

// knownChecks says which known failure is of no check.
func (e *engine) knownChecks(catalogue []Check) error {
	for _, k := range e.known {
		if !slices.ContainsFunc(catalogue, func(c Check) bool { return c.ID == k.Check }) {
			return &UnknownError{Kind: "known failure", Name: k.Check, Near: near(catalogue, k.Check)}
		}
		if _, err := path.Match(k.Path, ""); err != nil {
			return fmt.Errorf("known failure %s: path %q: %w", k.Check, k.Path, err)
		}
	}
	return nil
}

// expect turns a verdict into what it is in the light of what is known: of several entries that fit, the first.
func (e *engine) expect(r *result.CheckResult) {
	i := slices.IndexFunc(e.known, func(k Known) bool {
		fits, _ := path.Match(k.Path, r.Path) // the pattern was looked at by knownChecks
		return k.Check == r.Check && (k.Path == "" || fits)
	})
	if i < 0 {
		return
	}
	k := e.known[i]
	expired := !k.Expires.IsZero() && !e.now().Before(k.Expires)
	switch r.Verdict {
	case result.CheckFail:
		if expired {
			r.Detail = fmt.Sprintf("the baseline's entry for it (%s) expired on %s: mend it or give the entry a new date; %s", k.Reason, k.Expires.Format(day), r.Detail)
			break
		}
		r.Verdict, r.Known = result.CheckXFail, &result.Known{Reason: k.Reason, Link: k.Link}
		if !k.Expires.IsZero() {
			r.Known.Expires = k.Expires.Format(day)
		}
	case result.CheckPass, result.CheckTolerated:
		hint := "take the entry out of the baseline"
		if k.Path == "" {
			hint += ", or give it the path on which the check still fails"
		}
		r.Detail = fmt.Sprintf("it passed (%s) although the baseline says that it fails (%s): %s", r.Verdict, k.Reason, hint)
		r.Verdict = result.CheckXPass
	default: // nothing is known of a check that was not judged, and one that is flaky does both
	}
}
