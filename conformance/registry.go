package conformance

import (
	"fmt"
	"slices"
	"sort"
)

var (
	registry   = map[string]Check{}
	untestable = map[string]string{}
)

// Untestable is a requirement that no check is made of, and the reason: it does not show from outside, or it needs what a target cannot
// yet be asked for.
type Untestable struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// RegisterUntestable adds to the table of what is not checked. An id that is a check's, or is there already, or has no reason is a mistake
// of the programmer and panics at start.
func RegisterUntestable(list ...Untestable) {
	for _, u := range list {
		_, listed := untestable[u.ID]
		if _, checked := registry[u.ID]; u.ID == "" || u.Reason == "" || listed || checked {
			panic(fmt.Sprintf("conformance: %q cannot be listed as untestable: it has no id or reason, is listed already, or is a check", u.ID))
		}
		untestable[u.ID] = u.Reason
	}
}

// Untestables returns that table in the order of ids.
func Untestables() []Untestable {
	list := make([]Untestable, 0, len(untestable))
	for id, reason := range untestable {
		list = append(list, Untestable{id, reason})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list
}

// Register adds a check to the catalogue. A duplicate id or slug, or a check without the parts every check must have, is a
// mistake of the programmer and panics at start.
func Register(c Check) {
	for _, have := range registry {
		if have.ID == c.ID || have.Slug == c.Slug {
			panic(fmt.Sprintf("conformance: check %s (%s) is registered twice", c.ID, c.Slug))
		}
	}
	_, unchecked := untestable[c.ID]
	switch {
	case unchecked:
		panic(fmt.Sprintf("conformance: check %s is listed as untestable", c.ID))
	case c.ID == "" || c.Slug == "" || c.Title == "" || c.Why == "":
		panic(fmt.Sprintf("conformance: check %q lacks id, slug, title or why", c.ID))
	case len(c.Accept) == 0 || len(c.Clauses) == 0:
		panic(fmt.Sprintf("conformance: check %s accepts no outcome or names no clause", c.ID))
	case slices.ContainsFunc(c.Accept, func(a Accepted) bool { return a.Clause == "" }):
		panic(fmt.Sprintf("conformance: check %s accepts an outcome without saying by what right", c.ID))
	case c.Run == nil || c.Control == nil:
		panic(fmt.Sprintf("conformance: check %s has no function or no positive control", c.ID))
	}
	registry[c.ID] = c
}

// Checks returns the catalogue in the order of ids.
func Checks() []Check {
	list := make([]Check, 0, len(registry))
	for _, c := range registry {
		list = append(list, c)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list
}
