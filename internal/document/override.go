package document

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Override replaces one value of a document before it is validated: the --set key=value of the command line.
type Override struct {
	// Key is a path of field names with dots, such as bench.pairs. An element of a list is chosen by its index or by its
	// name: bench.workloads.echo.rate. A field name that contains dots is written as it is.
	Key string
	// Value is YAML: 4, true, 500ms, [a, b].
	Value string
}

// ParseOverride reads key=value.
func ParseOverride(s string) (Override, error) {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return Override{}, fmt.Errorf("--set %s: want key=value, such as bench.pairs=20", s)
	}
	return Override{Key: key, Value: value}, nil
}

func (d *Document) override(o Override) error {
	parsed, err := decodeYAML([]byte(o.Value))
	if err != nil {
		return fmt.Errorf("--set %s: the value is not YAML: %w", o.Key, err)
	}
	value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	if len(parsed) > 0 && len(parsed[0].Content) > 0 {
		value = parsed[0].Content[0]
	}
	n := d.root
	rest := strings.Split(o.Key, ".")
	for {
		next, used := descend(n, rest)
		if next != nil && used < len(rest) {
			n, rest = next, rest[used:]
			continue
		}
		if next != nil {
			line, column := next.Line, next.Column
			*next = *value
			next.Line, next.Column = line, column
			return nil
		}
		if n.Kind != yaml.MappingNode {
			return fmt.Errorf("--set %s: there is no %q in %s", o.Key, rest[0], d.file)
		}
		// A field that the text left out is added at the place of its object; the schema says whether it may be there.
		key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: rest[0], Line: n.Line, Column: n.Column}
		value.Line, value.Column = n.Line, n.Column
		if len(rest) == 1 {
			n.Content = append(n.Content, key, value)
			return nil
		}
		object := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Column: n.Column}
		n.Content = append(n.Content, key, object)
		n, rest = object, rest[1:]
	}
}

// descend follows as many segments as name one child: the longest first, since names may contain dots.
func descend(n *yaml.Node, rest []string) (*yaml.Node, int) {
	for used := len(rest); used > 0; used-- {
		name := strings.Join(rest[:used], ".")
		if c := child(n, name, false); c != nil {
			return c, used
		}
		if n.Kind != yaml.SequenceNode {
			continue
		}
		for _, element := range n.Content {
			if c := child(element, "name", false); c != nil && c.Value == name {
				return element, used
			}
		}
	}
	return nil, 0
}
