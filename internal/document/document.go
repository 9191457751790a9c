// Package document reads a YAML or JSON file that a person wrote and says everything that is wrong with it at once.
//
// The way is always the same: bytes → yaml nodes (which keep line and column) → JSON Schema → typed value. A fault is
// reported as file:line:column, a sentence, the line itself and a caret under the place. It is the only package that
// imports the YAML and JSON Schema libraries.
package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// MaxBytes bounds a document.
const MaxBytes = 1 << 20

// Document is a file that was read and found valid so far. Its places can be asked for, so that faults found later (a
// name that no entry has) point at the text as well.
type Document struct {
	file   string
	lines  []string
	root   *yaml.Node
	faults []Fault
	fields map[string][]string // the properties an object may have, by the location of its schema
	// unsound are the pointers of what the schema refused.
	unsound [][]string
}

// Parse reads data, validates it against the JSON Schema and decodes it into the value that into points to, by its json
// tags. All syntax and schema faults are returned together as *Faults. Overrides are applied before anything is judged.
//
// With faults of the schema the Document is returned as well, and into holds what is sound: a caller that has more to say
// adds it by Faultf and returns Err, so that a person sees everything at once. Without a Document nothing was decoded.
func Parse(file string, data, schema []byte, into any, overrides ...Override) (*Document, error) {
	d := &Document{file: file}
	if len(data) > MaxBytes {
		d.fault(0, 0, fmt.Sprintf("the document has %d bytes, more than %d", len(data), MaxBytes))
		return nil, d.Err()
	}
	d.lines = lines(data)
	if d.notText(); len(d.faults) > 0 {
		return nil, d.Err()
	}
	root, err := decodeYAML(data)
	if err != nil {
		d.syntax(err)
		return nil, d.Err()
	}
	switch {
	case len(root) == 0 || len(root[0].Content) == 0:
		d.fault(1, 1, "the document is empty")
		return nil, d.Err()
	case len(root) > 1:
		d.fault(root[1].Line, root[1].Column, "a second document begins here: a file holds one")
		return nil, d.Err()
	}
	d.root = root[0].Content[0]
	for _, o := range overrides {
		if err := d.override(o); err != nil {
			d.fault(0, 0, err.Error())
			return nil, d.Err()
		}
	}
	value := d.value(d.root, 0)
	if len(d.faults) > 0 {
		return nil, d.Err()
	}
	if err := d.validate(schema, value); err != nil {
		return nil, err
	}
	for _, at := range d.unsound {
		value = without(value, at)
	}
	plain, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("document %s: %w", file, err)
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		if len(d.faults) == 0 { // else it comes of them
			d.fault(1, 1, strings.TrimPrefix(err.Error(), "json: "))
		}
		return nil, d.Err()
	}
	return d, d.Err()
}

// without returns the value with the field at a pointer left out, or the element of a list made null, so that the places of
// its neighbours stay what they are.
func without(value any, at []string) any {
	if len(at) == 0 {
		return map[string]any{}
	}
	switch v := value.(type) {
	case map[string]any:
		if len(at) == 1 {
			delete(v, at[0])
		} else if inner, ok := v[at[0]]; ok {
			v[at[0]] = without(inner, at[1:])
		}
	case []any:
		i, err := strconv.Atoi(at[0])
		if err != nil || i < 0 || i >= len(v) {
			break
		}
		if len(at) == 1 {
			v[i] = nil
		} else {
			v[i] = without(v[i], at[1:])
		}
	}
	return value
}

func (d *Document) syntax(err error) {
	var many *yaml.LoadErrors
	var one *yaml.LoadError
	switch {
	case errors.As(err, &many):
		for _, e := range many.Errors {
			d.fault(e.Mark.Line, e.Mark.Column, e.Message)
		}
	case errors.As(err, &one):
		d.fault(one.Mark.Line, one.Mark.Column, one.Message)
	default:
		d.fault(1, 1, err.Error())
	}
}

func (d *Document) fault(line, column int, message string) {
	f := Fault{File: d.file, Line: line, Column: column, Message: message}
	if line >= 1 && line <= len(d.lines) {
		f.Source = d.lines[line-1]
	}
	d.faults = append(d.faults, f)
}

// Faultf adds a fault at the place of a JSON pointer's segments ("routes", "2", "backend").
func (d *Document) Faultf(at []string, format string, args ...any) {
	n := d.node(at, false)
	d.fault(n.Line, n.Column, fmt.Sprintf(format, args...))
}

// Err returns all faults so far in the order of the text, nil when there are none.
func (d *Document) Err() error {
	if len(d.faults) == 0 {
		return nil
	}
	sort.SliceStable(d.faults, func(i, j int) bool {
		a, b := d.faults[i], d.faults[j]
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
	return &Faults{List: d.faults}
}

// node finds the place of a pointer; with key set, the last segment's key rather than its value.
func (d *Document) node(at []string, key bool) *yaml.Node {
	n := d.root
	for i, segment := range at {
		next := child(n, segment, key && i == len(at)-1)
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

func child(n *yaml.Node, segment string, key bool) *yaml.Node {
	switch n.Kind {
	default: // nothing else has children that a pointer can name
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == segment {
				if key {
					return n.Content[i]
				}
				return n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if index, err := strconv.Atoi(segment); err == nil && index >= 0 && index < len(n.Content) {
			return n.Content[index]
		}
	}
	return nil
}

func (d *Document) validate(schema []byte, value any) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return fmt.Errorf("document: schema: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", doc); err != nil {
		return fmt.Errorf("document: schema: %w", err)
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		return fmt.Errorf("document: schema: %w", err)
	}
	d.fields = map[string][]string{}
	d.collect(compiled, map[*jsonschema.Schema]bool{})
	var invalid *jsonschema.ValidationError
	if err := compiled.Validate(value); errors.As(err, &invalid) {
		d.leaves(invalid)
	} else if err != nil {
		return fmt.Errorf("document: %w", err)
	}
	return nil
}
