package reports

import (
	"fmt"
	"io"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Running is what the page of a run under way has for a verdict; it is never stored.
const Running result.Verdict = "running"

// WriteLivePage writes the page of a run under way, as far as it has come by now, which asks for itself again after refresh. It needs no
// script. The run is not changed.
func WriteLivePage(w io.Writer, run *result.Run, now time.Time, refresh time.Duration) error {
	r := *run
	r.Verdict, r.Run.Finished, r.Reasons = Running, now, nil
	if r.Bench != nil {
		b := *r.Bench
		b.Validity = result.Validity{OK: true} // it has not been looked at yet, and the page says so
		r.Bench = &b
	}
	v := newView(&r)
	v.Refresh = max(1, int(refresh.Round(time.Second)/time.Second))
	v.Next = nil
	v.Headline = fmt.Sprintf("%s so far.", took(&r))
	if list := checks(&r); len(list) > 0 {
		v.Headline = fmt.Sprintf("%s so far; of the checks: %s", took(&r), headline(&result.Run{Conformance: r.Conformance}))
	}
	return v.write(w)
}
