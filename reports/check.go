package reports

import (
	"fmt"
	"io"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// WriteCheck writes what came of one check in a run, path by path, for a terminal.
func WriteCheck(w io.Writer, run *result.Run, id string) error {
	t := &text{}
	t.printf("\nin run %s of %s\n", plainText(run.Run.ID), plainText(run.Scenario.Name))
	found := false
	for _, c := range checks(run) {
		if c.Check != id {
			continue
		}
		found = true
		t.printf("  %-12s %s, %s\n", c.Verdict, plainText(checkName(c)), plainText(c.Target))
		t.field("expected", strings.Join(c.Expected, " or "))
		t.field("actual", c.Outcome)
		t.field("detail", c.Detail)
		if c.Diff != nil {
			t.field("bytes", c.Diff.String())
		}
		for i, a := range c.Attempts {
			t.field(fmt.Sprintf("run %d", i+1), fmt.Sprintf("%s %s %s", a.Verdict, a.Outcome, a.Detail))
		}
		if c.Known != nil {
			t.field("known", knownText(*c.Known))
		}
		for _, e := range c.Evidence {
			t.field("evidence", e)
		}
	}
	if !found {
		t.printf("  it was not among the checks\n")
	}
	if _, err := w.Write(t.Bytes()); err != nil {
		return fmt.Errorf("write check: %w", err)
	}
	return nil
}
