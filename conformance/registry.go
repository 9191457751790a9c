package conformance

import (
	"fmt"
	"slices"
	"sort"
)

var registry = map[string]Check{}

// Register adds a check to the catalogue. A duplicate id or slug, or a check without the parts every check must have, is a
// mistake of the programmer and panics at start.
func Register(c Check) {
	for _, have := range registry {
		if have.ID == c.ID || have.Slug == c.Slug {
			panic(fmt.Sprintf("conformance: check %s (%s) is registered twice", c.ID, c.Slug))
		}
	}
	switch {
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
