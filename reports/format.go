package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/near"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Format is one way to write a result.
type Format struct {
	// Name is what --format takes.
	Name string
	// File is the name under which a run leaves it in its output folder; empty for a format that is only streamed.
	File string
	// Write writes the whole report. It does not change run.
	Write func(w io.Writer, run *result.Run) error
}

var registry = map[string]Format{}

// register adds a format; each file of this package calls it once for its own. A duplicate panics at start.
func register(f Format) {
	if f.Name == "" || f.Write == nil {
		panic("reports: a format without a name or without Write")
	}
	if _, ok := registry[f.Name]; ok {
		panic(fmt.Sprintf("reports: format %q is registered twice", f.Name))
	}
	registry[f.Name] = f
}

// Formats returns all formats in the order of their names.
func Formats() []Format {
	list := make([]Format, 0, len(registry))
	for _, f := range registry {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b Format) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// UnknownFormatError says which format was asked for and which names there are.
type UnknownFormatError struct {
	Name string
	// Near are the names that look like it, the nearest first; Known are all names.
	Near, Known []string
}

func (e *UnknownFormatError) Error() string {
	if len(e.Near) > 0 {
		return fmt.Sprintf("unknown report format %q: did you mean %s? (known: %s)",
			e.Name, strings.Join(e.Near, " or "), strings.Join(e.Known, ", "))
	}
	return fmt.Sprintf("unknown report format %q (known: %s)", e.Name, strings.Join(e.Known, ", "))
}

// Get returns the format of that name, or an *[UnknownFormatError].
func Get(name string) (Format, error) {
	if f, ok := registry[name]; ok {
		return f, nil
	}
	err := &UnknownFormatError{Name: name}
	for _, f := range Formats() {
		err.Known = append(err.Known, f.Name)
	}
	if word := near.Word(name, err.Known); word != "" {
		err.Near = append(err.Near, word)
	}
	for _, f := range Formats() { // the name of the file is a fair guess too
		if name != "" && strings.Contains(f.File, strings.ToLower(name)) && !slices.Contains(err.Near, f.Name) {
			err.Near = append(err.Near, f.Name)
		}
	}
	return Format{}, err
}
