package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

const (
	checkTimeout = 10 * time.Second // of a check that names none
	checkRTTs    = 200              // what a round trip adds to it
	hungGrace    = 5 * time.Second  // for a check to return after its connections were closed under it
)

// sighting is what came of running a check: exactly one of its fields says something.
type sighting struct {
	observation Observation
	control     error // the positive control failed
	trouble     error // the check itself, or the harness, failed
	panicked    string
}

// execute runs control and check in a goroutine of their own, so that one that hangs can be left: first ctx, then its
// connections are taken away from it. What a check reports when its time is over is not believed, whatever it is: the end of
// its time has cut short a wait, so that what looks like a timeout, or like silence, is of the harness's making.
func (e *engine) execute(ctx context.Context, t *T) sighting {
	limit := t.Check.Timeout
	if limit == 0 {
		limit = checkTimeout
	}
	allowed := limit + checkRTTs*t.rtt
	if t.place != nil {
		allowed += gateWait // which is no time of its own
	}
	ctx, cancel := context.WithTimeout(ctx, allowed)
	defer cancel()
	defer t.closeAll()
	done := make(chan sighting, 1)
	go func() { done <- attempt(ctx, t) }()
	select {
	case s := <-done:
		if at, _ := ctx.Deadline(); s.panicked == "" && (ctx.Err() != nil || !time.Now().Before(at)) {
			s = sighting{trouble: fmt.Errorf("%w (%v)", errHung, limit)}
		}
		return s
	case <-ctx.Done():
	}
	t.closeAll()
	grace := time.NewTimer(hungGrace)
	defer grace.Stop()
	select {
	case s := <-done:
		if s.panicked == "" {
			s = sighting{trouble: fmt.Errorf("%w (%v)", errHung, limit)}
		}
		return s
	case <-grace.C:
		return sighting{trouble: fmt.Errorf("%w (%v) and is still running", errHung, limit)}
	}
}

func attempt(ctx context.Context, t *T) (s sighting) {
	defer func() {
		if p := recover(); p != nil {
			s = sighting{panicked: fmt.Sprintf("%v\n%s", p, debug.Stack())}
		}
	}()
	if t.Check.Control != nil {
		t.rec.Notef("positive control")
		if err := t.Check.Control(ctx, t); err != nil {
			return sighting{control: err}
		}
	}
	t.rec.Notef("check")
	o, err := t.Check.Run(ctx, t)
	t.rec.Notef("outcome %s %s %v", o.Outcome, o.Detail, err)
	return sighting{observation: o, trouble: err}
}

// commonReasons say what is wrong with outcomes of the common vocabulary where a check does not say it better.
var commonReasons = map[Outcome]string{
	Timeout:   "nothing came within the wait, which is neither an answer nor a refusal",
	Misrouted: "another witness answered",
	Dialled:   "a backend was dialled that must not be",
	Corrupted: "the bytes are not those that were sent",
	Lost:      "bytes are missing",
}

// verdict turns what was seen into a verdict, an outcome and a sentence. An outcome that the check does not list is a FAIL,
// but for level INFO, which only records and must not turn a run red: there it is TOLERATED, and so is what it forbids. The
// sentence says what was expected and why it matters all the same.
func verdict(c Check, s sighting) (result.CheckVerdict, string, string) {
	var notRun *NotRunError
	var unsupported *UnsupportedError
	for _, err := range []error{s.control, s.trouble} {
		switch {
		case errors.As(err, &notRun):
			return result.CheckNotRun, "", notRun.Reason
		case errors.As(err, &unsupported):
			return result.CheckUnsupported, "", unsupported.Reason
		}
	}
	switch {
	case s.panicked != "":
		return result.CheckInconclusive, "", "the check panicked: " + s.panicked
	case s.control != nil:
		return result.CheckInconclusive, "", fmt.Sprintf("the positive control failed: %v", s.control)
	case s.trouble != nil:
		return result.CheckInconclusive, "", s.trouble.Error()
	}
	o := s.observation
	var expected []string
	for _, a := range c.Accept {
		if a.Outcome == o.Outcome {
			detail := o.Detail
			if a.Verdict != result.CheckPass && a.Clause != "" {
				detail = strings.TrimSpace(detail + " (allowed: " + a.Clause + ")")
			}
			return a.Verdict, string(o.Outcome), detail
		}
		expected = append(expected, string(a.Outcome))
	}
	detail := fmt.Sprintf("expected %s, got %s", strings.Join(expected, " or "), o.Outcome)
	if o.Detail != "" {
		detail += ": " + o.Detail
	}
	if reason := cmp.Or(c.Forbid[o.Outcome], commonReasons[o.Outcome]); reason != "" {
		detail += "; " + reason
	}
	if c.Level == Info {
		return result.CheckTolerated, string(o.Outcome), detail
	}
	return result.CheckFail, string(o.Outcome), detail
}
