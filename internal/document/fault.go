package document

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong with a document.
type Fault struct {
	File         string
	Line, Column int // 1-based; 0 when the fault has no place
	Message      string
	Source       string // the line itself
}

// Faults is everything that is wrong with a document.
type Faults struct{ List []Fault }

// Error prints every fault with its line and a caret.
func (f *Faults) Error() string {
	var b strings.Builder
	for i, fault := range f.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(fault.String())
	}
	return b.String()
}

// String is "file:line:column: message", then the line and a caret under the column.
func (f Fault) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.File, f.Message)
	}
	text := fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
	if f.Source == "" {
		return text
	}
	line, before := f.excerpt()
	// Tabs are kept before the caret so that it stays under its column in any terminal.
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, before)
	return fmt.Sprintf("%s\n  %s\n  %s^", text, line, pad)
}

// maxColumns is how much of a line is shown: a document that a program wrote may be one line of many thousands.
const maxColumns = 160

// excerpt is the line, cut to maxColumns around the column, and the part of it before the column.
func (f Fault) excerpt() (line, before string) {
	all := []rune(f.Source)
	at := min(max(f.Column-1, 0), len(all))
	if len(all) <= maxColumns {
		return f.Source, string(all[:at])
	}
	from := max(0, min(at-maxColumns/2, len(all)-maxColumns))
	to := from + maxColumns
	left, right := "", ""
	if from > 0 {
		left = "…"
	}
	if to < len(all) {
		right = "…"
	}
	return left + string(all[from:to]) + right, left + string(all[from:at])
}
