package reports

import (
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// faultReading says how the timeline of faults is to be read.
const faultReading = "What was made to go wrong on purpose, in time from the start of the bench. " +
	"Errors, and latencies that stand out, may be its doing. The run's seed makes it happen the same way again."

// faultWhat is a fault with its measures.
func faultWhat(f result.Fault) string {
	what := f.Kind
	if f.Direction != "" {
		what += " " + f.Direction
	}
	if f.Detail != "" {
		what += ": " + f.Detail
	}
	return what
}

// faultWhen is when it began.
func faultWhen(f result.Fault) string {
	if !f.Injected {
		return duration(f.AtNS) + ", which the bench did not last to"
	}
	return duration(f.InjectedNS)
}

// shownStrikes is how many ends of connections a report names.
const shownStrikes = 5

// faultStruck says whom it struck, and when.
func faultStruck(f result.Fault) string {
	if f.Struck == 0 {
		return "–"
	}
	var times []string
	for _, s := range f.Strikes[:min(len(f.Strikes), shownStrikes)] {
		times = append(times, duration(s.AtNS))
	}
	if n := f.Struck - len(times); n > 0 {
		times = append(times, fmt.Sprintf("%d more", n))
	}
	return fmt.Sprintf("%s ended: %s", plural(f.Struck, "connection"), strings.Join(times, ", "))
}

// faultHop is the hop, and the paths that have it, or the backend.
func faultHop(f result.Fault) string {
	if f.Backend != "" {
		return "backend " + f.Backend
	}
	return fmt.Sprintf("%s of %s", f.Hop, strings.Join(f.Paths, ", "))
}

func (t *text) faults(run *result.Run) {
	if len(run.Faults) == 0 {
		return
	}
	t.title("Faults on purpose")
	rows := [][]string{{"at", "where", "what", "struck"}}
	for _, f := range run.Faults {
		rows = append(rows, []string{faultWhen(f), faultHop(f), faultWhat(f), faultStruck(f)})
	}
	t.table(rows)
	t.printf("  %s\n", t.paint(ansiDim, faultReading))
}

func (m *markdown) faults(run *result.Run) {
	if len(run.Faults) == 0 {
		return
	}
	m.printf("### Faults on purpose\n\n| at | where | what | struck |\n|---|---|---|---|\n")
	var rows []string
	for _, f := range run.Faults {
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |\n", md(faultWhen(f), 80), md(faultHop(f), 160), md(faultWhat(f), 160), md(faultStruck(f), 160)))
	}
	m.list(rows, "fault")
	m.printf("\n%s\n\n", md(faultReading, 0))
}
