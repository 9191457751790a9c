package albsim

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing wrong with a document.
type Fault struct {
	// Path is the field, as in listeners[0].default.forward.
	Path string
	// Message is a sentence about it, without the path.
	Message string
}

func (f Fault) String() string {
	if f.Path == "" {
		return f.Message
	}
	return f.Path + ": " + f.Message
}

// Faults is everything wrong with a document; it is the error of New for a bad one.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

func (f *Faults) add(path, format string, args ...any) {
	*f = append(*f, Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}

// near returns the known words closest to what was written, best first, at most three.
func near(word string, known []string) []string {
	type scored struct {
		word string
		dist int
	}
	var all []scored
	for _, k := range known {
		d := distance(strings.ToLower(word), strings.ToLower(k))
		// A part of a long dotted key counts as near too: idle_timeout for idle_timeout.timeout_seconds.
		if len(word) >= 4 && strings.Contains(k, word) {
			d = min(d, 2)
		}
		if d <= max(3, len(k)/3) {
			all = append(all, scored{k, d})
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int { return a.dist - b.dist })
	var out []string
	for _, s := range all {
		if len(out) < 3 {
			out = append(out, s.word)
		}
	}
	return out
}

func didYouMean(word string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	if n := near(word, known); len(n) > 0 {
		return "; did you mean " + strings.Join(n, " or ") + "?"
	}
	return "; known are " + strings.Join(known, ", ")
}

// distance is the Levenshtein distance over bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
