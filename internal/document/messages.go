package document

import (
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/tlsroute/tlsroute-bench/internal/near"
)

var english = message.NewPrinter(language.English)

// leaves reports the innermost causes: the ones a person can act on.
func (d *Document) leaves(e *jsonschema.ValidationError) {
	if len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			d.leaves(cause)
		}
		return
	}
	at := e.InstanceLocation
	switch e.ErrorKind.(type) {
	case *kind.AdditionalProperties, *kind.Required: // the object as such is sound
	default:
		d.unsound = append(d.unsound, at)
	}
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		known := d.fields[e.SchemaURL]
		for _, name := range k.Properties {
			field := append(slices.Clone(at), name)
			d.unsound = append(d.unsound, field)
			n := d.node(field, true)
			d.fault(n.Line, n.Column, fmt.Sprintf("unknown field %q%s", name, suggest(name, known)))
		}
	case *kind.Required:
		n := d.node(at, false)
		d.fault(n.Line, n.Column, fmt.Sprintf("missing field %s", quoted(k.Missing)))
	case *kind.Type:
		n := d.node(at, false)
		d.fault(n.Line, n.Column, fmt.Sprintf("%s must be %s, not %s", place(at), strings.Join(k.Want, " or "), k.Got))
	case *kind.Enum:
		n := d.node(at, false)
		want := make([]string, len(k.Want))
		for i, w := range k.Want {
			want[i] = fmt.Sprint(w)
		}
		got := fmt.Sprint(k.Got)
		d.fault(n.Line, n.Column, fmt.Sprintf("%s is %q, but must be one of %s%s", place(at), got, strings.Join(want, ", "), suggest(got, want)))
	default:
		n := d.node(at, false)
		d.fault(n.Line, n.Column, fmt.Sprintf("%s: %s", place(at), e.ErrorKind.LocalizedString(english)))
	}
}

// collect notes which properties each object of the schema may have.
func (d *Document) collect(s *jsonschema.Schema, seen map[*jsonschema.Schema]bool) {
	if s == nil || seen[s] {
		return
	}
	seen[s] = true
	for name, property := range s.Properties {
		d.fields[s.Location] = append(d.fields[s.Location], name)
		d.collect(property, seen)
	}
	d.collect(s.Ref, seen)
	d.collect(s.Items2020, seen)
	if extra, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		d.collect(extra, seen)
	}
	for _, one := range s.OneOf {
		d.collect(one, seen)
	}
}

func place(at []string) string {
	if len(at) == 0 {
		return "the document"
	}
	var b strings.Builder
	for i, segment := range at {
		if segment != "" && segment[0] >= '0' && segment[0] <= '9' {
			fmt.Fprintf(&b, "[%s]", segment)
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(segment)
	}
	return b.String()
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, ", ")
}

// suggest names the word that may have been meant.
func suggest(got string, known []string) string {
	if word := near.Word(got, known); word != "" {
		return fmt.Sprintf("; did you mean %q?", word)
	}
	return ""
}
