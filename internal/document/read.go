package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// lines are the lines as the parser counts them: it takes a lone CR and three characters of Unicode for breaks too.
func lines(data []byte) []string {
	text := strings.TrimPrefix(string(data), "\ufeff")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(text)
	return strings.Split(text, "\n")
}

// notText finds the first byte that no text has: of those the parser gives no place.
func (d *Document) notText() {
	for i, line := range d.lines {
		column := 0
		for at, r := range line {
			column++
			_, size := utf8.DecodeRuneInString(line[at:])
			switch {
			case r == utf8.RuneError && size == 1:
				d.fault(i+1, column, "the document is not text in UTF-8")
			case r < ' ' && r != '\t', r >= 0x7f && r <= 0x9f:
				d.fault(i+1, column, fmt.Sprintf("control character %U", r))
			default:
				continue
			}
			d.faults[len(d.faults)-1].Source = "" // not for a terminal
			return
		}
	}
}

// decodeYAML returns the first two documents of a stream, the second to complain of. It turns a panic of the parser into an
// error: the text comes from outside.
func decodeYAML(data []byte) (nodes []*yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not YAML: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for len(nodes) < 2 {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return nodes, nil
		}
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, &n)
	}
	return nodes, nil
}

// maxDepth bounds nesting, aliases included, so that a small document cannot unfold into a large one.
const maxDepth = 64

// value turns a node into what encoding/json would have made of it, and reports duplicate keys and aliases.
func (d *Document) value(n *yaml.Node, depth int) any {
	if depth > maxDepth {
		d.fault(n.Line, n.Column, "nested too deeply")
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				d.fault(key.Line, key.Column, "a field name must be a word")
				continue
			}
			if _, twice := m[key.Value]; twice {
				d.fault(key.Line, key.Column, fmt.Sprintf("%q is given twice", key.Value))
			}
			m[key.Value] = d.value(n.Content[i+1], depth+1)
		}
		return m
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			list = append(list, d.value(c, depth+1))
		}
		return list
	case yaml.AliasNode:
		d.fault(n.Line, n.Column, "aliases are not supported: write the value out")
		return nil
	default:
		return d.scalar(n)
	}
}

func (d *Document) scalar(n *yaml.Node) any {
	var v any
	if err := n.Decode(&v); err != nil {
		d.fault(n.Line, n.Column, fmt.Sprintf("%q is not of type %s", n.Value, strings.TrimPrefix(n.Tag, "tag:yaml.org,2002:")))
		return nil
	}
	if f, ok := v.(float64); ok && (math.IsInf(f, 0) || math.IsNaN(f)) {
		d.fault(n.Line, n.Column, fmt.Sprintf("%s is not a number that can be used", n.Value))
		return nil
	}
	switch v := v.(type) {
	case nil, bool, string:
		return v
	case int, int64, uint64, float64:
		// json.Number keeps large integers exact on their way through the schema.
		return json.Number(fmt.Sprint(v))
	default: // timestamps and the like: what was written is what is meant
		return n.Value
	}
}
