package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

const costsTitle = "What the components used of the machine"

// costsReading says how the table of costs is to be read, in every format alike.
const costsReading = "Processor time is of an arm's own measured windows, from the end of the guard to the end of the drain; memory and descriptors are of the whole process at the end. " +
	"What a tunnel adds is the difference between before and after the opening: memory that an earlier workload left is used again, so the first workload with many tunnels says most. " +
	"–: not counted, or not to be told apart."

var costsHeader = []string{"workload", "path", "component", "cpu", "of it in the kernel", "cpu for each", "memory", "descriptors", "spliced", "copied"}

// costsTable has a row for each component that is a process of its own.
func costsTable(run *result.Run) [][]string {
	var rows [][]string
	if run.Bench == nil {
		return nil
	}
	for _, c := range run.Bench.Costs {
		if !c.Process {
			continue
		}
		what := c.Component
		if c.Product != "" {
			what += " (" + c.Product + ")"
		}
		rows = append(rows, []string{
			c.Workload, c.Path, what, duration(c.CPUNS), duration(c.SystemNS), costEach(c), costMemory(c), costDescriptors(c),
			costBytes(c, c.SplicedBytes), costBytes(c, c.CopiedBytes),
		})
	}
	return rows
}

func costEach(c result.Cost) string {
	var words []string
	for _, each := range []struct {
		ns   float64
		what string
	}{{c.CPUPerGiBNS, "GiB"}, {c.CPUPerConnectNS, "new tunnel"}, {c.CPUPerRequestNS, "request"}} {
		if each.ns > 0 {
			words = append(words, duration(int64(each.ns))+" a "+each.what)
		}
	}
	if len(words) == 0 {
		return "–"
	}
	return strings.Join(words, ", ")
}

func costMemory(c result.Cost) string {
	text := size(c.PSSBytes)
	if c.BytesPerTunnel > 0 {
		text += ", " + size(int64(c.BytesPerTunnel)) + " a tunnel"
	}
	return text
}

func costDescriptors(c result.Cost) string {
	text := grouped(int64(c.Descriptors))
	if c.DescriptorsPerTunnel > 0 {
		text += ", " + significant(c.DescriptorsPerTunnel) + " a tunnel"
	}
	return text
}

// costBytes is of a component that counts both, or one that counts neither.
func costBytes(c result.Cost, n int64) string {
	if c.SplicedBytes == 0 && c.CopiedBytes == 0 {
		return "–"
	}
	return size(n)
}

// insiders says of which components nothing is known, and why; empty for none.
func insiders(run *result.Run) string {
	var names []string
	if run.Bench == nil {
		return ""
	}
	for _, c := range run.Bench.Costs {
		if !c.Process && !slices.Contains(names, c.Component) {
			names = append(names, c.Component)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("Of %s nothing is said here: inside the load generator's process nobody can tell what is whose. With topology.processes: separate each is a process of its own.",
		strings.Join(names, ", "))
}

func (t *text) costs(run *result.Run) {
	rows, inside := costsTable(run), insiders(run)
	if len(rows) == 0 && inside == "" {
		return
	}
	t.title(costsTitle)
	if len(rows) > 0 {
		t.table(append([][]string{slices.Clone(costsHeader)}, rows...))
		t.printf("  %s\n", t.paint(ansiDim, costsReading))
	}
	if inside != "" {
		t.printf("  %s\n", t.paint(ansiDim, plainText(inside)))
	}
}

func (m *markdown) costs(run *result.Run) {
	rows, inside := costsTable(run), insiders(run)
	if len(rows) == 0 && inside == "" {
		return
	}
	m.printf("#### %s\n\n", costsTitle)
	if len(rows) > 0 {
		m.printf("| %s |\n|%s\n", strings.Join(costsHeader, " | "), strings.Repeat("---|", len(costsHeader)))
		var lines []string
		for _, r := range rows {
			for i := range r {
				r[i] = md(r[i], 80)
			}
			lines = append(lines, "| "+strings.Join(r, " | ")+" |\n")
		}
		m.list(lines, "row")
		m.printf("\n%s\n\n", md(costsReading, 0))
	}
	if inside != "" {
		m.printf("%s\n\n", md(inside, 0))
	}
}
