package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

// requirement is one of the catalogue: shared/facts/conformance.md section 5.
type requirement struct {
	id, slug, level, text string
	// here is the level that its check has in place of that, and why the reason; both are empty where it has the same.
	here, why string
}

const catalogueFile = "docs/catalogue.tsv"

// levelForm is how the catalogue writes a level: a star for what is this suite's own policy, NOT for a prohibition, and a condition.
var levelForm = regexp.MustCompile(`^(MUST|SHOULD|MAY|INFO)( NOT)?(\*| if claimed)?$`)

func loadCatalogue() ([]requirement, error) {
	data, err := os.ReadFile(catalogueFile)
	if err != nil {
		return nil, err
	}
	return parseCatalogue(string(data))
}

func parseCatalogue(text string) ([]requirement, error) {
	var all []requirement
	ids, slugs := map[string]bool{}, map[string]bool{}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		cells := strings.Split(line, "\t")
		if len(cells) != 6 || slices.Contains(cells, "") {
			return nil, fmt.Errorf("%s:%d: not six cells", catalogueFile, i+1)
		}
		if i == 0 {
			continue
		}
		r := requirement{id: cells[0], slug: cells[1], level: cells[2], text: cells[3]}
		if cells[4] != "-" {
			r.here = cells[4]
		}
		if cells[5] != "-" {
			r.why = cells[5]
		}
		switch {
		case ids[r.id] || slugs[r.slug]:
			return nil, fmt.Errorf("%s:%d: %s (%s) is there twice", catalogueFile, i+1, r.id, r.slug)
		case !levelForm.MatchString(r.level) || r.here != "" && !levelForm.MatchString(r.here):
			return nil, fmt.Errorf("%s:%d: level %q, here %q", catalogueFile, i+1, r.level, r.here)
		case (r.here == "") != (r.why == "") || r.here == r.level:
			return nil, fmt.Errorf("%s:%d: another level needs a reason, and a reason another level", catalogueFile, i+1)
		}
		ids[r.id], slugs[r.slug] = true, true
		all = append(all, r)
	}
	return all, nil
}

// base is the id of the requirement that a check is of: some have a second check, such as SRC-05-U and UPG-16-C.
func base(id string) string {
	if at := strings.LastIndexByte(id, '-'); strings.Count(id, "-") == 2 && len(id)-at == 2 {
		return id[:at]
	}
	return id
}

// differs says in what a check is not what its requirement asks for; empty when it is.
func differs(r requirement, c conformance.Check) string {
	if c.ID != r.id && c.Role == conformance.Client {
		return "" // the client's side of it binds somebody else: its clauses say how much
	}
	level := r.level
	if r.here != "" {
		level = r.here
	}
	m := levelForm.FindStringSubmatch(level)
	if m == nil {
		return "level " + level
	}
	switch policy := m[3] == "*"; {
	case c.ID == r.id && c.Slug != r.slug:
		return fmt.Sprintf("slug %s, want %s", c.Slug, r.slug)
	case string(c.Level) != m[1]:
		return fmt.Sprintf("level %s, want %s", c.Level, level)
	case (c.Origin == conformance.Policy) != policy:
		return fmt.Sprintf("origin %s, want the one of %s", c.Origin, level)
	case m[3] == " if claimed" && len(c.Features) == 0:
		return "required only of who claims it, and asks for no feature"
	}
	return ""
}
