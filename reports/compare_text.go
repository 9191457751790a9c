package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func writeCompareText(w io.Writer, c *Compared) error {
	t := &text{}
	t.printf("%s\n\n", c.Headline())
	rows := [][]string{{"run", "verdict", "scenario", "started", "version", "checks that conform", "measurement"}}
	for _, r := range c.Runs {
		rows = append(rows, c.runCells(r))
	}
	t.table(rows)
	for _, n := range c.Notes {
		t.printf("  ! %s\n", plainText(n))
	}
	if len(c.Changes) > 0 {
		t.title("What it costs, against " + plainText(c.Runs[0].Label))
		rows = [][]string{c.changeHead()}
		for _, ch := range c.Changes {
			rows = append(rows, c.cells(ch))
		}
		t.table(rows)
	}
	if len(c.Checks) > 0 {
		t.title("Checks whose verdict changed")
		head := []string{"check", "path"}
		for _, r := range c.Runs {
			head = append(head, r.Label)
		}
		rows = [][]string{append(head, "")}
		for _, ch := range c.Checks {
			rows = append(rows, append(append([]string{ch.Check + " " + ch.Slug, ch.Path}, verdictWordsOf(ch.Verdicts)...), ch.Turn))
		}
		t.table(rows)
	}
	if c.Same > 0 {
		t.printf("  %s the same in all runs\n", plural(c.Same, "check result"))
	}
	return writeAll(w, t.Bytes(), "comparison")
}

func (c *Compared) runCells(r ComparedRun) []string {
	conform, measured := "–", "none"
	if r.Checks > 0 {
		conform = fmt.Sprintf("%d of %d", r.Conform, r.Checks)
	}
	for i := range c.Runs {
		if c.Runs[i].Label == r.Label && c.runs[i].Bench != nil {
			measured = "not valid"
		}
	}
	if r.Valid {
		measured = "valid"
	}
	return []string{r.Label, string(r.Verdict), r.Scenario, r.Run.Started.UTC().Format("2006-01-02 15:04:05"), strings.TrimSpace(r.Run.Version + " " + shortHash(r.Run.Commit)), conform, measured}
}

func shortHash(s string) string { return s[:min(len(s), 12)] }

func verdictWordsOf(list []result.CheckVerdict) []string {
	var out []string
	for _, v := range list {
		if v == "" {
			v = "–"
		}
		out = append(out, string(v))
	}
	return out
}

func writeCompareMarkdown(w io.Writer, c *Compared) error {
	m := &markdown{}
	m.printf("## Comparison of %s\n\n%s\n\n", plural(len(c.Runs), "run"), md(c.Headline(), 0))
	row := func(cells []string) string {
		var b strings.Builder
		for _, cell := range cells {
			b.WriteString("| " + md(cell, 80) + " ")
		}
		return b.String() + "|\n"
	}
	table := func(head []string, right int, rows []string, noun string) { // the last columns from right on are figures
		m.printf("%s", row(head))
		for i := range head {
			if i >= right && i < len(head)-1 {
				m.printf("|---:")
			} else {
				m.printf("|---")
			}
		}
		m.printf("|\n")
		m.list(rows, noun)
		m.printf("\n")
	}
	var rows []string
	for _, r := range c.Runs {
		rows = append(rows, row(c.runCells(r)))
	}
	table([]string{"run", "verdict", "scenario", "started", "version", "checks that conform", "measurement"}, 99, rows, "run")
	rows = nil
	for _, n := range c.Notes {
		rows = append(rows, "- "+md(n, 400)+"\n")
	}
	m.list(rows, "note")
	if len(c.Changes) > 0 {
		m.printf("\n### What it costs, against %s\n\n", md(c.Runs[0].Label, 60))
		rows = nil
		for _, ch := range c.Changes {
			rows = append(rows, row(c.cells(ch)))
		}
		table(c.changeHead(), len(c.changeHead())-5, rows, "figure")
	}
	if len(c.Checks) > 0 {
		m.printf("### Checks whose verdict changed\n\n")
		head := []string{"check", "path"}
		for _, r := range c.Runs {
			head = append(head, r.Label)
		}
		rows = nil
		for _, ch := range c.Checks {
			rows = append(rows, row(append(append([]string{ch.Check + " " + ch.Slug, ch.Path}, verdictWordsOf(ch.Verdicts)...), ch.Turn)))
		}
		table(append(head, "turn"), 99, rows, "check")
	}
	if c.Same > 0 {
		m.printf("%s the same in all runs.\n", plural(c.Same, "check result"))
	}
	return writeAll(w, []byte(m.b.String()), "compare.md")
}

func writeCompareJSON(w io.Writer, c *Compared) error {
	for i := range c.Changes {
		if bad := firstNonFinite(reflect.ValueOf(c.Changes[i]), fmt.Sprintf("changes[%d]", i)); bad != "" {
			return fmt.Errorf("write compare.json: %s is not a finite number, which JSON cannot hold", bad)
		}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(c); err != nil {
		return fmt.Errorf("write compare.json: %w", err)
	}
	return writeAll(w, buf.Bytes(), "compare.json")
}

func writeAll(w io.Writer, data []byte, what string) error {
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", what, err)
	}
	return nil
}
