package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	_ "github.com/tlsroute/tlsroute-bench/conformance/checks" // the catalogue
)

const cataloguePage = "docs/catalogue.md"

// catalogue is what the page is made of.
type catalogue struct {
	requirements []requirement
	rows         []row // of load balancers
	checks       []conformance.Check
	untestable   []conformance.Untestable
}

const pageHead = `# The conformance checks

Written by "make gen" from conformance/checks, ` + catalogueFile + ` and ` + rowsFile + `. "tlsroute-bench checks show ID" prints the same of one check.

A check makes something happen and says what it saw as an outcome. The outcomes that conform are listed with the clause that allows each; every other
outcome fails, and a timeout is never taken for a refusal. The id is permanent.

The level says how binding a requirement is, and the origin whose requirement it is:

- **rfc**: a standard asks for it. The clause is named.
- **vendor**: a vendor documents it, or a product is known to do it. No RFC requires it.
- **policy**: this suite asks for it, for the reason given. No RFC requires it, and a target that fails it violates none, whatever the level and whatever
  documents are named as background.

MUST and SHOULD fail, and so does a MAY, which is asked only of targets that claim the feature. INFO never fails: what it does not accept is TOLERATED, with the reason. A target without
a feature that a check needs is UNSUPPORTED there. A check that needs an instance of its own
is NOT-RUN on a target that runs already.

`

func (k catalogue) page() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(pageHead)
	if err := k.counts(&b); err != nil {
		return nil, err
	}
	waits(&b)
	slugs := map[string]string{}
	for _, c := range k.checks {
		slugs[c.ID] = c.Slug
	}
	for _, g := range groups {
		checks := k.of(g.id)
		fmt.Fprintf(&b, "\n## %s: %s\n\n%s\n", g.id, g.name, g.intro)
		if len(checks) > 0 {
			b.WriteString("\n| id | level | role | what it requires |\n|---|---|---|---|\n")
		}
		for _, c := range checks {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", link(c.ID, c.Slug), levelOf(c), c.Role, cell(c.Title))
		}
		for _, c := range checks {
			entry(&b, c, slugs)
		}
	}
	k.unchecked(&b)
	return b.Bytes(), nil
}

func (k catalogue) of(group string) []conformance.Check {
	var list []conformance.Check
	for _, c := range k.checks {
		if c.Group() == group {
			list = append(list, c)
		}
	}
	return list
}

// state of a requirement or row.
type state int

const (
	checked state = iota
	listed
	waiting
)

func (k catalogue) state(id string) state {
	switch {
	case slices.ContainsFunc(k.checks, func(c conformance.Check) bool { return c.ID == id }):
		return checked
	case slices.ContainsFunc(k.untestable, func(u conformance.Untestable) bool { return u.ID == id }):
		return listed
	}
	return waiting
}

// counts writes how much of the catalogue there is. A check that no group or no requirement is of is an error: it would be on no list.
func (k catalogue) counts(b *bytes.Buffer) error {
	tally := map[string]*[3]int{} // by group
	for _, g := range groups {
		tally[g.id] = &[3]int{}
	}
	known := map[string]bool{}
	var total [3]int
	for _, r := range k.requirements {
		group, _, _ := strings.Cut(r.id, "-")
		if tally[group] == nil {
			return fmt.Errorf("%s: %s is of no group", catalogueFile, r.id)
		}
		known[r.id] = true
		tally[group][k.state(r.id)]++
		total[k.state(r.id)]++
	}
	for _, r := range k.rows {
		known[r.id] = true
		tally["ALB"][k.state(r.id)]++
	}
	levels := map[conformance.Level]map[conformance.Origin]int{}
	parts := 0
	for _, c := range k.checks {
		if tally[c.Group()] == nil || !known[base(c.ID)] {
			return fmt.Errorf("%s is a check, and neither in %s nor in %s", c.ID, catalogueFile, rowsFile)
		}
		if base(c.ID) != c.ID {
			parts++
		}
		if levels[c.Level] == nil {
			levels[c.Level] = map[conformance.Origin]int{}
		}
		levels[c.Level][c.Origin]++
	}
	lb := tally["ALB"]
	fmt.Fprintf(b, "Of the %d requirements of the catalogue %d are checks, %d cannot be tested from outside and %d are not checks yet. %d more checks are a second part of one of them. ",
		len(k.requirements), total[checked], total[listed], total[waiting], parts)
	fmt.Fprintf(b, "Of the %d rows about load balancers %d are checks and %d cannot be tested from outside.\n", len(k.rows), lb[checked], lb[listed])
	b.WriteString("\n| group | about | requirements | checks | untestable | not yet |\n|---|---|---|---|---|---|\n")
	for _, g := range groups {
		n := tally[g.id]
		fmt.Fprintf(b, "| [%s](#%s) | %s | %d | %d | %d | %d |\n", g.id, anchor(g.id+": "+g.name), g.name, n[0]+n[1]+n[2], n[checked], n[listed], n[waiting])
	}
	b.WriteString("\n| level | rfc | vendor | policy of this suite |\n|---|---|---|---|\n")
	for _, l := range []conformance.Level{conformance.Must, conformance.Should, conformance.May, conformance.Info} {
		fmt.Fprintf(b, "| %s | %d | %d | %d |\n", l, levels[l][conformance.RFC], levels[l][conformance.Vendor], levels[l][conformance.Policy])
	}
	return nil
}

// waits writes the times that checks wait.
func waits(b *bytes.Buffer) {
	b.WriteString("\nThe waits of checks have names and grow with the round-trip time of the path. Other times are what the target declares, or constants of a check.\n\n" +
		"| wait | for what | at least | round trips of the path | at most |\n|---|---|---|---|---|\n")
	for _, w := range conformance.NamedWaits() {
		atMost := "-"
		if w.Ceiling > 0 {
			atMost = w.Ceiling.String()
		}
		fmt.Fprintf(b, "| %s | %s | %v | %d | %s |\n", w.Name, w.For, w.Floor, w.RTTs, atMost)
	}
}

// unchecked writes what no check is made of, and why.
func (k catalogue) unchecked(b *bytes.Buffer) {
	text := map[string]string{}
	for _, r := range k.requirements {
		text[r.id] = r.text
	}
	for _, r := range k.rows {
		text[r.id] = r.behaviour
	}
	b.WriteString("\n## What cannot be tested from outside\n\nThe suite sees bytes, a witness's record and what an adapter can be asked for. It does not fake the rest.\n\n" +
		"| id | what is required | why it is no check |\n|---|---|---|\n")
	for _, u := range k.untestable {
		fmt.Fprintf(b, "| %s | %s | %s |\n", u.ID, cell(text[u.ID]), cell(u.Reason))
	}
	var rest []string
	for _, r := range k.requirements {
		if k.state(r.id) == waiting {
			rest = append(rest, fmt.Sprintf("| %s | %s | %s | %s |\n", r.id, r.slug, cell(r.level), cell(r.text)))
		}
	}
	if len(rest) > 0 {
		b.WriteString("\n## Not checks yet\n\nA star stands for a policy of this suite.\n\n| id | slug | level | what is required |\n|---|---|---|---|\n" + strings.Join(rest, ""))
	}
	b.WriteString("\n## Where a check has another level than the catalogue\n\nA star stands for a policy of this suite.\n\n| id | catalogue | check | why |\n|---|---|---|---|\n")
	for _, r := range k.requirements {
		if r.here != "" {
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", r.id, cell(r.level), cell(r.here), cell(r.why))
		}
	}
}

// entry writes one check whole.
func entry(b *bytes.Buffer, c conformance.Check, slugs map[string]string) {
	fmt.Fprintf(b, "\n### %s %s\n\n**%s.**\n\n%s.\n\n%s\n\n", c.ID, c.Slug, escape(c.Title), c.Binding(), escape(c.Why))
	b.WriteString("| outcome | verdict | by what right, or why not |\n|---|---|---|\n")
	for _, a := range c.Accept {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", a.Outcome, a.Verdict, cell(a.Clause))
	}
	for _, o := range slices.Sorted(maps.Keys(c.Forbid)) {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", o, c.Otherwise(), cell(c.Forbid[o]))
	}
	fmt.Fprintf(b, "| any other | %s | it is not among those that conform |\n\n", c.Otherwise())
	over := "whichever the target has"
	if len(c.Transports) > 0 {
		over = joined(c.Transports)
	}
	fmt.Fprintf(b, "- put to: %s; paths: %s\n", c.Role, over)
	if len(c.Features) > 0 {
		fmt.Fprintf(b, "- features: %s\n", joined(c.Features))
	}
	var sources, depends []string
	for _, cl := range c.Clauses {
		name := escape(cl.Name())
		if cl.URL != "" {
			name = "[" + name + "](" + cl.URL + ")"
		}
		sources = append(sources, name)
	}
	fmt.Fprintf(b, "- %s: %s\n", map[bool]string{true: "background", false: "sources"}[c.Origin == conformance.Policy], strings.Join(sources, "; "))
	for _, id := range c.Depends {
		depends = append(depends, link(id, slugs[id]))
	}
	if len(depends) > 0 {
		fmt.Fprintf(b, "- depends on: %s\n", strings.Join(depends, ", "))
	}
	if len(c.Tags) > 0 {
		fmt.Fprintf(b, "- tags: %s\n", joined(c.Tags))
	}
	fmt.Fprintf(b, "- time limit: %s\n", c.LimitText())
	if instance := c.Instance(); instance != "" {
		fmt.Fprintf(b, "- instance: %s\n", instance)
	}
}

// levelOf is the level in a table, never without whose it is.
func levelOf(c conformance.Check) string {
	if c.Origin == conformance.Policy {
		return "own policy: " + string(c.Level)
	}
	return fmt.Sprintf("%s (%s)", c.Level, c.Origin)
}

func joined[S ~string](list []S) string {
	var quoted []string
	for _, s := range list {
		quoted = append(quoted, "`"+string(s)+"`")
	}
	return strings.Join(quoted, ", ")
}

func link(id, slug string) string {
	return fmt.Sprintf("[%s](#%s) `%s`", id, anchor(id+" "+slug), slug)
}

// anchor is what GitHub makes of a heading: small letters, spaces as dashes, and of punctuation dashes only.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, strings.ToLower(heading))
}

// escape keeps text from being read as markup.
func escape(text string) string {
	return strings.NewReplacer("<", "&lt;", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`).Replace(text)
}

// cell is escaped text in a table, whose columns a bar divides.
func cell(text string) string { return cmp.Or(strings.ReplaceAll(escape(text), "|", `\|`), "-") }
