package reports

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// cellWord is what a cell says in a word: how the client got through, or why not.
func cellWord(c *result.Cell) string {
	if c == nil {
		return "–"
	}
	if c.Verdict == result.CheckPass {
		return cmp.Or(c.Upgrade, "direct")
	}
	if c.Verdict == result.CheckFail {
		if strings.HasPrefix(c.Outcome, "error") || c.Outcome == "" {
			return "fails"
		}
		return c.Outcome
	}
	if c.Verdict == result.CheckUnsupported {
		return "unsupported"
	}
	return "not run"
}

// cellTone is the class of a cell: good, bad where it had to work, quiet otherwise.
func cellTone(c *result.Cell) string {
	switch {
	case c == nil, c.Verdict == result.CheckNotRun, c.Verdict == result.CheckUnsupported:
		return "none"
	case c.Verdict == result.CheckPass:
		return "works"
	case c.Required:
		return "broken"
	}
	return "fails"
}

// matrixSentence says how many combinations work.
func matrixSentence(m *result.Matrix) string {
	works, required, broken, ran := 0, 0, 0, 0
	for _, c := range m.Cells {
		if c.Verdict == result.CheckPass {
			works++
		}
		if c.Verdict == result.CheckPass || c.Verdict == result.CheckFail {
			ran++
		}
		if c.Required {
			required++
			if c.Verdict != result.CheckPass {
				broken++
			}
		}
	}
	s := fmt.Sprintf("%d of %s work", works, plural(ran, "combination"))
	if required > 0 && broken == 0 {
		s += fmt.Sprintf(", among them all %d that have to", required)
	} else if broken > 0 {
		s += fmt.Sprintf("; %d of the %d that have to do not", broken, required)
	}
	return s + "."
}

// telling are the cells of a router that have something to say beyond a word.
func telling(m *result.Matrix, router string) (cells []result.Cell) {
	for _, c := range m.Cells {
		if c.Router == router && c.Verdict == result.CheckFail {
			cells = append(cells, c)
		}
	}
	return cells
}

const matrixReading = "A cell names the upgrade by which the client reached the service, or says what it met. It works when the service answered, both sides agree on it, and bytes came back unchanged. Cells with a border have to work."

func (t *text) matrix(run *result.Run) {
	m := run.Matrix
	if m == nil {
		return
	}
	t.title("Matrix: who reaches " + m.Route)
	t.printf("  %s\n", matrixSentence(m))
	for _, r := range m.Routers {
		t.printf("  router %s%s\n", plainText(r.Name), plainText(partyText(r)))
		rows := [][]string{append([]string{"client"}, m.Paths...)}
		for _, client := range m.Clients {
			row := []string{client}
			for _, path := range m.Paths {
				row = append(row, plainText(cellWord(m.Cell(client, path, r.Name))))
			}
			rows = append(rows, row)
		}
		t.table(rows)
	}
	t.printf("\n")
}

func partyText(p result.Party) string {
	s := ""
	if p.Product != "" {
		s = ": " + strings.TrimSpace(p.Product+" "+p.Version)
	}
	if p.Reason != "" {
		s += " (not run: " + p.Reason + ")"
	}
	return s
}

func (m *markdown) matrix(run *result.Run) {
	x := run.Matrix
	if x == nil {
		return
	}
	m.printf("\n## Matrix: who reaches %s\n\n%s\n", md(x.Route, 0), matrixSentence(x))
	for _, r := range x.Routers {
		m.printf("\n**%s**%s\n\n| client |", md(r.Name, 0), md(partyText(r), 300))
		for _, p := range x.Paths {
			m.printf(" %s |", md(p, 0))
		}
		m.printf("\n|---|%s\n", strings.Repeat("---|", len(x.Paths)))
		for _, client := range x.Clients {
			m.printf("| %s |", md(client, 0))
			for _, p := range x.Paths {
				c := x.Cell(client, p, r.Name)
				mark := map[string]string{"works": "✓ ", "broken": "✗ ", "fails": "✗ ", "none": ""}[cellTone(c)]
				m.printf(" %s%s |", mark, md(cellWord(c), 60))
			}
			m.printf("\n")
		}
	}
}
