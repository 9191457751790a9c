package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// inTurn makes a check see one outcome after the other; an outcome of "!" is trouble of the harness, "slow" that of the machine.
func inTurn(outcomes ...Outcome) func(*Check) {
	return func(c *Check) {
		var n atomic.Int32 // runs
		c.Run = func(context.Context, *T) (Observation, error) {
			o := outcomes[min(int(n.Add(1)), len(outcomes))-1]
			if o == "!" {
				return Observation{}, errors.New("boom")
			}
			if o == "slow" {
				return Observation{}, fmt.Errorf("boom: %w", ErrStalled)
			}
			return Observation{Outcome: o}, nil
		}
	}
}

func TestOnlyTimingIsRunAgain(t *testing.T) {
	target, _ := newTarget(t)
	for name, tc := range map[string]struct {
		tags    []string
		sees    []Outcome
		verdict result.CheckVerdict
		runs    int
		detail  string
	}{
		"passes at once":          {[]string{Timing}, []Outcome{Routed}, result.CheckPass, 0, ""},
		"then passes":             {[]string{Timing}, []Outcome{Lost, Routed}, result.CheckFlaky, 2, "FLAKY(1/2)"},
		"then is tolerated":       {[]string{Timing}, []Outcome{Lost, FIN}, result.CheckFlaky, 2, "FLAKY(1/2)"},
		"passes at last":          {[]string{Timing}, []Outcome{Lost, Timeout, Routed}, result.CheckFlaky, 3, "FLAKY(2/3)"},
		"never passes":            {[]string{Timing}, []Outcome{Lost, Timeout, Lost, Routed}, result.CheckFail, 3, "failed in 3 of 3 runs"},
		"then proves nothing":     {[]string{Timing}, []Outcome{Lost, "!"}, result.CheckFail, 2, "failed in 1 of 2 runs"},
		"proves nothing at first": {[]string{Timing}, []Outcome{"!", Routed}, result.CheckInconclusive, 0, "boom"},
		"slow and then passes":    {nil, []Outcome{"slow", "slow", Routed}, result.CheckPass, 0, ""},
		"slow and then fails":     {nil, []Outcome{"slow", Lost, Routed}, result.CheckFail, 0, "got lost"},
		"slow and then flaky":     {[]string{Timing}, []Outcome{"slow", Lost, Routed}, result.CheckFlaky, 2, "FLAKY(1/2)"},
		"slow for ever":           {nil, []Outcome{"slow", "slow", "slow", Routed}, result.CheckInconclusive, 0, "too slow to tell"},
		"is not about timing":     {nil, []Outcome{Lost, Routed}, result.CheckFail, 0, "got lost"},
	} {
		t.Run(name, func(t *testing.T) {
			kept := sink{}
			c, err := run(t.Context(), target, Options{Evidence: kept}, []Check{fake("X-01", Observation{}, nil, tagged(tc.tags...), inTurn(tc.sees...))})
			if err != nil {
				t.Fatal(err)
			}
			r := c.Results[0]
			if r.Verdict != tc.verdict || len(r.Attempts) != tc.runs || !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("%s in %d runs (%s), want %s in %d (…%s…)", r.Verdict, len(r.Attempts), r.Detail, tc.verdict, tc.runs, tc.detail)
			}
			if tc.runs > 0 && (r.Outcome != string(Lost) || r.Attempts[0].Verdict != result.CheckFail || r.Attempts[0].Outcome != string(Lost)) {
				t.Errorf("the first run is not what is told: %+v", r)
			}
			if tc.verdict != result.CheckPass && len(r.Evidence) != max(tc.runs, 1) {
				t.Errorf("evidence %v of %d runs", r.Evidence, tc.runs)
			}
		})
	}
}

func TestAFlakyCheckHoldsUpNothing(t *testing.T) {
	target, _ := newTarget(t)
	c, err := run(t.Context(), target, Options{}, []Check{
		fake("X-01", Observation{}, nil, tagged(Timing), inTurn(Lost, Routed)),
		fake("X-02", Observation{Outcome: Routed}, nil, func(c *Check) { c.Depends = []string{"X-01"} }),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("X-01 FLAKY, X-02 PASS", verdicts(c)); diff != "" {
		t.Error(diff)
	}
}

func TestKnownFailures(t *testing.T) {
	target, _ := newTarget(t)
	target.Paths = append(target.Paths, Path{Name: "other", Address: target.Paths[0].Address})
	past, future := time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC), time.Now().AddDate(1, 0, 0)
	known := func(path string, expires time.Time) []Known {
		return []Known{{Check: "X-01", Path: path, Reason: "its reason", Link: "https://example.test/1", Expires: expires}}
	}
	for name, tc := range map[string]struct {
		sees   Outcome
		known  []Known
		want   string // on both paths
		detail string
	}{
		"fails and is known":             {Lost, known("", time.Time{}), "X-01 XFAIL, X-01 XFAIL", "got lost"},
		"until later":                    {Lost, known("", future), "X-01 XFAIL, X-01 XFAIL", "got lost"},
		"on one path":                    {Lost, known("dir*", time.Time{}), "X-01 XFAIL, X-01 FAIL", "got lost"},
		"on another":                     {Lost, known("oth?r", time.Time{}), "X-01 FAIL, X-01 XFAIL", "got lost"},
		"expired":                        {Lost, known("", past), "X-01 FAIL, X-01 FAIL", "(its reason) expired on 2000-01-02"},
		"passes":                         {Routed, known("", time.Time{}), "X-01 XPASS, X-01 XPASS", "take the entry out of the baseline"},
		"passes after it expired":        {Routed, known("", past), "X-01 XPASS, X-01 XPASS", "take the entry out"},
		"is tolerated":                   {FIN, known("direct", time.Time{}), "X-01 XPASS, X-01 TOLERATED", "it passed (TOLERATED)"},
		"is not judged":                  {"!", known("", time.Time{}), "X-01 INCONCLUSIVE, X-01 INCONCLUSIVE", "boom"},
		"nothing known":                  {Lost, nil, "X-01 FAIL, X-01 FAIL", "got lost"},
		"the first entry that fits says": {Lost, append(known("direct", past), known("", future)...), "X-01 FAIL, X-01 XFAIL", "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			target := target
			target.Known = tc.known
			c, err := run(t.Context(), target, Options{}, []Check{fake("X-01", Observation{}, nil, inTurn(tc.sees))})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, verdicts(c)); diff != "" || !strings.Contains(c.Results[0].Detail, tc.detail) {
				t.Errorf("%s %s", diff, c.Results[0].Detail)
			}
			for _, r := range c.Results {
				if (r.Verdict == result.CheckXFail) != (r.Known != nil) || r.Known != nil && (r.Known.Reason != "its reason" || r.Known.Link == "") {
					t.Errorf("%s: known %+v", r.Verdict, r.Known)
				}
			}
		})
	}
	for _, k := range []Known{{Check: "X-99"}, {Check: "X-*"}, {Check: "slug-x-01"}} {
		_, err := run(t.Context(), target, Options{Known: []Known{k}}, []Check{fake("X-01", Observation{}, nil)})
		if unknown, ok := errors.AsType[*UnknownError](err); !ok || unknown.Name != k.Check {
			t.Errorf("known failure of %s: %v", k.Check, err)
		}
	}
	if _, err := run(t.Context(), target, Options{Known: known("[", future)}, []Check{fake("X-01", Observation{}, nil)}); err == nil {
		t.Error("a pattern that is none was taken")
	}
}

// TestWhatDependsOnAKnownFailureIsNotJudged, and what depends on an unexpected pass is.
func TestWhatDependsOnAKnownFailureIsNotJudged(t *testing.T) {
	target, _ := newTarget(t)
	depends := func(id string) func(*Check) { return func(c *Check) { c.Depends = []string{id} } }
	c, err := run(t.Context(), target, Options{Known: []Known{{Check: "X-01", Reason: "r"}, {Check: "X-03", Reason: "r"}}}, []Check{
		fake("X-01", Observation{Outcome: Lost}, nil), fake("X-02", Observation{Outcome: Routed}, nil, depends("X-01")),
		fake("X-03", Observation{Outcome: Routed}, nil), fake("X-04", Observation{Outcome: Routed}, nil, depends("X-03")),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("X-01 XFAIL, X-02 DEP-FAILED, X-03 XPASS, X-04 PASS", verdicts(c)); diff != "" {
		t.Error(diff)
	}
}

// badSink has evidence that is not sound.
type badSink struct{}

func (badSink) Save(name string, _ Evidence) ([]string, error) {
	return []string{name}, errors.New("the capture is empty")
}

// TestEvidenceThatIsNotSoundProvesNothing, and what cannot be looked at is not judged.
func TestEvidenceThatIsNotSoundProvesNothing(t *testing.T) {
	target, _ := newTarget(t)
	c, err := run(t.Context(), target, Options{Evidence: badSink{}, Known: []Known{{Check: "X-02", Reason: "r"}}}, []Check{
		fake("X-01", Observation{Outcome: Lost}, nil), fake("X-02", Observation{Outcome: Lost}, nil), fake("X-03", Observation{Outcome: Routed}, nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("X-01 INCONCLUSIVE, X-02 INCONCLUSIVE, X-03 PASS", verdicts(c)); diff != "" {
		t.Error(diff)
	}
	if r := c.Results[0]; !strings.Contains(r.Detail, "the evidence is not sound (the capture is empty); it had been FAIL: expected routed") || len(r.Evidence) != 1 {
		t.Errorf("%s %v", r.Detail, r.Evidence)
	}
}

// TestEvidenceHasBothSides: what the client sent and got, what TLS said, what was waited for, and what the witness recorded.
func TestEvidenceHasBothSides(t *testing.T) {
	target, _ := newTarget(t)
	var kept Evidence
	keep := keeper(func(e Evidence) { kept = e })
	talks := fake("X-01", Observation{}, nil, func(c *Check) {
		c.Run = func(ctx context.Context, t *T) (Observation, error) {
			conn, err := t.Open(ctx, "a")
			if err != nil {
				return Observation{}, err
			}
			o, _ := t.Served(ctx, conn, "wa")
			return o, nil
		}
	})
	if _, err := run(t.Context(), target, Options{Evidence: keep, EvidenceAll: true}, []Check{talks}); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := kept.Trace.WriteTimeline(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"= TLS ClientHello, name \"a.conformance.example.test\"", "= TLS ServerHello", "TLS handshake done: TLS 1.3, ALPN \"trb-a\"", "timer       wait 2s", `wa             witness     {"witness":"wa"`, "outcome routed"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if kept.Sessions != 1 || len(kept.KeyLog) == 0 || kept.Ended.Before(kept.Began) {
		t.Errorf("%d sessions, %d bytes of key log, %v to %v", kept.Sessions, len(kept.KeyLog), kept.Began, kept.Ended)
	}
}

type keeper func(Evidence)

func (k keeper) Save(_ string, e Evidence) ([]string, error) { k(e); return nil, nil }
