package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Table is an immutable routing table, safe for concurrent use.
type Table struct {
	names    map[string]*entry // by keyOf the rule's name
	nameless entry             // the rules without sni
	own      map[string]struct{}
}

// entry holds the rules of one name.
type entry struct {
	alpn    map[string]int // rule that lists the ALPN name
	begins  map[string]int // rule that lists the ALPN prefix, which is written with a star behind it; nil when there is none
	lengths []int          // of the prefixes, each once, the longest first
	any     int            // rule without alpn, -1 when there is none
}

// find gives the rule that lists an ALPN name, or its longest prefix, and the name or prefix as listed.
func (e *entry) find(alpn string) (index int, listed string, ok bool) {
	if i, ok := e.alpn[alpn]; ok {
		return i, alpn, true
	}
	if alpn == ProbeALPN {
		return 0, "", false // for a rule that lists it whole
	}
	for _, n := range e.lengths {
		if n >= len(alpn) {
			continue
		}
		if i, ok := e.begins[alpn[:n]]; ok {
			return i, alpn[:n] + "*", true
		}
	}
	return 0, "", false
}

// list notes rule i under an ALPN name or prefix. When there is one already it returns that and false.
func (e *entry) list(alpn string, i int) (other int, ok bool) {
	names := e.alpn
	prefix, isPrefix := strings.CutSuffix(alpn, "*")
	if isPrefix {
		if e.begins == nil {
			e.begins = make(map[string]int)
		}
		names, alpn = e.begins, prefix
	}
	if j, dup := names[alpn]; dup {
		return j, false
	}
	names[alpn] = i
	if isPrefix && !slices.Contains(e.lengths, len(prefix)) {
		e.lengths = append(e.lengths, len(prefix))
		slices.SortFunc(e.lengths, func(a, b int) int { return b - a })
	}
	return i, true
}

// RuleError is a fault in one rule. NewTable may return several, joined.
type RuleError struct {
	Index   int    // of the rule
	Field   string // "name", "sni[0]", "alpn[2]"
	Message string
}

// Error implements error in the form of a configuration's field path.
func (e *RuleError) Error() string {
	return fmt.Sprintf("routes[%d].%s: %s", e.Index, e.Field, e.Message)
}

// NewTable builds a table. own are the names of the router's certificates; those that a rule claims stop being own. The error
// joins one *RuleError for each fault, the first fault first.
func NewTable(rules []Rule, own []string) (*Table, error) {
	b := builder{
		Table: &Table{names: make(map[string]*entry), nameless: newEntry(), own: make(map[string]struct{})},
		rules: rules,
	}
	b.uniqueNames()
	for i, r := range rules {
		b.add(i, r)
	}
	if len(b.faults) > 0 {
		return nil, errors.Join(b.faults...)
	}
	for _, name := range own {
		if name = normal(name); name != "" {
			b.own[name] = struct{}{}
		}
	}
	return b.Table, nil
}

// Names returns the names of the rules, wildcards as written, sorted.
func (t *Table) Names() []string {
	names := make([]string, 0, len(t.names))
	for key := range t.names {
		names = append(names, written(key))
	}
	slices.Sort(names)
	return names
}

// Claims tells whether a route claims the name, exactly or by a wildcard.
func (t *Table) Claims(name string) bool {
	for key := range keys(normal(name)) {
		if t.names[key] != nil {
			return true
		}
	}
	return false
}

// Own tells whether name is the router's own: a name of its certificates that no route claims.
func (t *Table) Own(name string) bool { return !t.Claims(name) && t.isOwn(normal(name)) }

// isOwn looks only at the certificates. A certificate's wildcard stands for one label (RFC 9525 section 6.3).
func (t *Table) isOwn(name string) bool {
	if _, ok := t.own[name]; ok {
		return true
	}
	first, tail, ok := strings.Cut(name, ".")
	if !ok || first == "" || first == "*" {
		return false
	}
	_, ok = t.own["*."+tail]
	return ok
}

func newEntry() entry { return entry{alpn: make(map[string]int), any: -1} }

type builder struct {
	*Table
	rules  []Rule
	faults []error
}

func (b *builder) fault(i int, field, format string, args ...any) {
	b.faults = append(b.faults, &RuleError{Index: i, Field: field, Message: fmt.Sprintf(format, args...)})
}

func (b *builder) uniqueNames() {
	first := make(map[string]int)
	for i, r := range b.rules {
		if r.Name == "" {
			b.fault(i, "name", "a route needs a name")
		} else if j, dup := first[r.Name]; dup {
			b.fault(i, "name", "%q is already the name of routes[%d]", r.Name, j)
		} else {
			first[r.Name] = i
		}
	}
}

func (b *builder) add(i int, r Rule) {
	for k, name := range r.ALPN {
		if name == "" || len(name) > 255 {
			b.fault(i, fmt.Sprintf("alpn[%d]", k), "an ALPN name has 1 to 255 bytes, this one has %d", len(name))
		} else if isGREASE(name) {
			b.fault(i, fmt.Sprintf("alpn[%d]", k), "%q is reserved for GREASE (RFC 8701) and never selected", name)
		} else if name == "*" {
			b.fault(i, fmt.Sprintf("alpn[%d]", k), "%q: leave alpn out to match any list and none", name)
		}
	}
	if len(r.SNI) == 0 {
		b.enter(i, "any name", "sni", &b.nameless)
		return
	}
	for k, raw := range r.SNI {
		field := fmt.Sprintf("sni[%d]", k)
		name := normal(raw)
		if msg := checkName(name); msg != "" {
			b.fault(i, field, "%q: %s", raw, msg)
			continue
		}
		key := keyOf(name)
		if b.names[key] == nil {
			e := newEntry()
			b.names[key] = &e
		}
		b.enter(i, name, field, b.names[key])
	}
}

// enter notes rule i under one name; a pair of name and ALPN belongs to one rule.
func (b *builder) enter(i int, name, field string, e *entry) {
	r := b.rules[i]
	if len(r.ALPN) == 0 {
		if e.any >= 0 {
			b.clash(i, e.any, field, name, "any ALPN")
			return
		}
		e.any = i
		return
	}
	for _, alpn := range r.ALPN {
		if j, ok := e.list(alpn, i); !ok {
			b.clash(i, j, field, name, fmt.Sprintf("ALPN %q", alpn))
		}
	}
}

func (b *builder) clash(i, j int, field, name, alpn string) {
	if i == j {
		b.fault(i, field, "route %q takes %s with %s twice", b.rules[i].Name, name, alpn)
		return
	}
	b.fault(i, field, "routes %q and %q both take %s with %s", b.rules[j].Name, b.rules[i].Name, name, alpn)
}

// checkName says what is wrong with a normalised name of a rule, "" when nothing.
func checkName(name string) string {
	rest, wildcard := strings.CutPrefix(name, "*.")
	if !wildcard {
		rest = strings.TrimSuffix(name, ".*")
	}
	switch {
	case name == "":
		return "empty; leave sni out to match any name and none"
	case name == "*":
		return "leave sni out to match any name and none"
	case strings.Contains(rest, "*"):
		return "a wildcard is one leading \"*.\", a prefix one trailing \".*\""
	case len(name) > maxName:
		return fmt.Sprintf("longer than %d bytes", maxName)
	}
	for label := range strings.SplitSeq(rest, ".") {
		if label == "" {
			return "empty label"
		}
		if len(label) > 63 {
			return "label longer than 63 bytes"
		}
	}
	for _, r := range rest {
		if r <= ' ' || r >= 0x7f {
			return fmt.Sprintf("%q cannot be in a host name; write international names in their xn-- form", r)
		}
	}
	return ""
}
