package main

import (
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// The catalogue has as many requirements of each level as the table of shared/facts/conformance.md, section 5. (Its heading counts four that
// bind only who claims something; the table has five.)
func TestCatalogueIsWhole(t *testing.T) {
	t.Chdir("../..")
	all, err := loadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, r := range all {
		got[strings.Replace(r.level, " NOT", "", 1)]++
	}
	want := map[string]int{"MUST": 63, "MUST if claimed": 5, "MUST*": 39, "SHOULD": 19, "SHOULD*": 12, "MAY": 3, "INFO": 4}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryRequirementIsACheckOrHasAReason(t *testing.T) {
	t.Chdir("../..")
	requirements, err := loadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	k := catalogue{requirements: requirements, checks: conformance.Checks(), untestable: conformance.Untestables()}
	known := map[string]requirement{}
	for _, r := range requirements {
		known[r.id] = r
		if k.state(r.id) == waiting {
			t.Errorf("%s (%s) is neither a check nor listed as untestable", r.id, r.slug)
		}
	}
	for _, c := range k.checks {
		if r, ok := known[base(c.ID)]; ok {
			if how := differs(r, c); how != "" {
				t.Errorf("%s: %s: another level needs its reason in %s", c.ID, how, catalogueFile)
			}
		}
	}
}

func TestDiffers(t *testing.T) {
	must := requirement{id: "DET-02", slug: "split", level: "MUST"}
	check := conformance.Check{ID: "DET-02", Slug: "split", Level: conformance.Must, Origin: conformance.RFC, Features: []string{"terminate"}}
	for name, c := range map[string]struct {
		change func(*requirement, *conformance.Check)
		want   string
	}{
		"as it is":                     {func(*requirement, *conformance.Check) {}, ""},
		"a vendor's":                   {func(_ *requirement, c *conformance.Check) { c.Origin = conformance.Vendor }, ""},
		"a prohibition":                {func(r *requirement, _ *conformance.Check) { r.level = "MUST NOT" }, ""},
		"a policy":                     {func(r *requirement, c *conformance.Check) { r.level, c.Origin = "MUST NOT*", conformance.Policy }, ""},
		"a policy with a reason":       {func(r *requirement, c *conformance.Check) { r.here, c.Origin = "MUST*", conformance.Policy }, ""},
		"a second part":                {func(_ *requirement, c *conformance.Check) { c.ID, c.Slug = "DET-02-C", "split-client" }, ""},
		"another slug":                 {func(_ *requirement, c *conformance.Check) { c.Slug = "cut" }, "slug"},
		"another level":                {func(_ *requirement, c *conformance.Check) { c.Level = conformance.Should }, "level"},
		"a policy without a reason":    {func(_ *requirement, c *conformance.Check) { c.Origin = conformance.Policy }, "origin"},
		"a policy shown as an RFC's":   {func(r *requirement, _ *conformance.Check) { r.level = "MUST*" }, "origin"},
		"a reason that is out of date": {func(r *requirement, _ *conformance.Check) { r.here = "MUST*" }, "origin"},
		"claimed by nobody":            {func(r *requirement, c *conformance.Check) { r.level, c.Features = "MUST if claimed", nil }, "claims"},
		"a level that is none":         {func(r *requirement, _ *conformance.Check) { r.level = "SHALL" }, "level"},
	} {
		r, k := must, check
		c.change(&r, &k)
		if got := differs(r, k); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestWrongCataloguesAreRefused(t *testing.T) {
	const head = "id\tslug\tlevel\trequirement\there\twhy\n"
	for text, want := range map[string]string{
		head + "DET-01\ta\tMUST*\tx\t-\t-\nDET-02\tb\tINFO\tx\tMAY\tas it is\n": "",
		head + "DET-01\ta\tMUST*\tx\t-\n":                                       "not six cells",
		head + "DET-01\ta\tMUST*\t\t-\t-\n":                                     "not six cells",
		head + "DET-01\ta\tMUST\tx\t-\t-\nDET-01\tb\tMUST\tx\t-\t-\n":           "DET-01 (b) is there twice",
		head + "DET-01\ta\tMUST\tx\t-\t-\nDET-02\ta\tMUST\tx\t-\t-\n":           "DET-02 (a) is there twice",
		head + "DET-01\ta\tSHALL\tx\t-\t-\n":                                    `level "SHALL"`,
		head + "DET-01\ta\tMUST\tx\tmust\tso\n":                                 `here "must"`,
		head + "DET-01\ta\tMUST\tx\tMUST*\t-\n":                                 "needs a reason",
		head + "DET-01\ta\tMUST\tx\t-\tso\n":                                    "needs a reason",
		head + "DET-01\ta\tMUST\tx\tMUST\tso\n":                                 "needs a reason",
	} {
		_, err := parseCatalogue(text)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

var (
	anchorLink = regexp.MustCompile(`\]\(#([^)]*)\)`)
	headline   = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// Every check of the catalogue is on the page once, and every link within the page leads somewhere.
func TestCataloguePageHasEveryCheck(t *testing.T) {
	t.Chdir("../..")
	k := real(t)
	page, err := k.page()
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]int{}
	for _, m := range headline.FindAllSubmatch(page, -1) {
		there[anchor(string(m[1]))]++
	}
	for _, c := range k.checks {
		if n := there[anchor(c.ID+" "+c.Slug)]; n != 1 {
			t.Errorf("%s is there %d times", c.ID, n)
		}
	}
	for _, m := range anchorLink.FindAllSubmatch(page, -1) {
		if there[string(m[1])] != 1 {
			t.Errorf("the link #%s leads to %d headings", m[1], there[string(m[1])])
		}
	}
	for _, u := range k.untestable {
		if !strings.Contains(string(page), "| "+u.ID+" | ") || !strings.Contains(string(page), cell(u.Reason)) {
			t.Errorf("%s is not among what cannot be tested", u.ID)
		}
	}
}

func real(t *testing.T) catalogue {
	t.Helper()
	requirements, err := loadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := loadRows(rowFolders...)
	if err != nil {
		t.Fatal(err)
	}
	return catalogue{requirements, rows, conformance.Checks(), conformance.Untestables()}
}

// A check of our own policy may name RFCs as background; nothing on the page says that they require it.
func TestPolicyIsNotTakenForAnRFC(t *testing.T) {
	rule := conformance.Check{
		ID: "DET-01", Slug: "one", Title: "A | bar", Why: "it breaks", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Clauses: []result.Clause{{Doc: "RFC 9846", Section: "section 5.1", URL: "https://rfc.example"}},
		Accept:  []conformance.Accepted{{Outcome: "fine", Verdict: result.CheckPass, Clause: "so"}}, Forbid: map[conformance.Outcome]string{"bad": "a|b"},
		Depends: []string{"DET-02"}, Setup: &conformance.Setup{Name: "odd", Alone: true},
	}
	own, info := rule, rule
	own.ID, own.Slug, own.Origin, own.Depends, own.Setup, own.Relaunches = "DET-02", "two", conformance.Policy, nil, nil, true
	info.ID, info.Slug, info.Level, info.Depends, info.Setup = "DET-03", "three", conformance.Info, nil, nil
	k := catalogue{
		requirements: []requirement{
			{id: "DET-01", slug: "one", level: "MUST", text: "x"},
			{id: "DET-02", slug: "two", level: "MUST*", text: "x"},
			{id: "DET-03", slug: "three", level: "INFO", text: "x"},
			{id: "DET-04", slug: "four", level: "MUST*", text: "the fourth"},
			{id: "DET-05", slug: "five", level: "MAY", text: "the fifth"},
		},
		checks: []conformance.Check{rule, own, info}, untestable: []conformance.Untestable{{ID: "DET-04", Reason: "it is inside"}},
	}
	page, err := k.page()
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for section := range strings.SplitSeq(string(page), "\n### ") {
		name, text, _ := strings.Cut(section, "\n")
		text, _, _ = strings.Cut(text, "\n## ")
		sections[name] = text
	}
	for name, parts := range map[string][]string{
		"DET-01 one":   {"MUST, by RFC 9846.", "- sources: [RFC 9846", "| `bad` | FAIL | a\\|b |", "depends on: [DET-02](#det-02-two)", "one of its own (odd)", "time limit: 10s"},
		"DET-02 two":   {"MUST by the policy of this suite; no RFC requires it", "- background: [RFC 9846", "- instance: ones of its own"},
		"DET-03 three": {"| `bad` | TOLERATED |", "| any other | TOLERATED |"},
	} {
		for _, part := range parts {
			if !strings.Contains(sections[name], part) {
				t.Errorf("%s does not say %q:\n%s", name, part, sections[name])
			}
		}
	}
	for _, wrong := range []string{"by RFC 9846", "sources:"} {
		if strings.Contains(sections["DET-02 two"], wrong) {
			t.Errorf("the policy says %q", wrong)
		}
	}
	for _, line := range []string{
		"Of the 5 requirements of the catalogue 3 are checks, 1 cannot be tested from outside and 1 are not checks yet.",
		"| [DET-02](#det-02-two) `two` | own policy: MUST | router | A \\| bar |", "| [DET-01](#det-01-one) `one` | MUST (rfc) |",
		"| DET-04 | the fourth | it is inside |", "| DET-05 | five | MAY | the fifth |", "| MUST | 1 | 0 | 1 |",
	} {
		if !strings.Contains(string(page), line) {
			t.Errorf("the page does not have %q", line)
		}
	}
	k.requirements = k.requirements[1:]
	if _, err := k.page(); err == nil || !strings.Contains(err.Error(), "DET-01 is a check") {
		t.Errorf("a check that is no requirement: %v", err)
	}
	k.requirements = append(k.requirements, requirement{id: "DET-01"}, requirement{id: "XYZ-01"})
	if _, err := k.page(); err == nil || !strings.Contains(err.Error(), "XYZ-01 is of no group") {
		t.Errorf("a group that has no words: %v", err)
	}
}

func TestGroupsAreThoseOfTheCatalogue(t *testing.T) {
	t.Chdir("../..")
	all, err := loadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"ALB": true}
	for _, r := range all {
		group, _, _ := strings.Cut(r.id, "-")
		want[group] = true
	}
	got := map[string]bool{}
	for _, g := range groups {
		got[g.id] = true
		if g.name == "" || len(g.intro) < 60 {
			t.Errorf("%s is introduced by %q: %q", g.id, g.name, g.intro)
		}
	}
	if !maps.Equal(want, got) {
		t.Errorf("groups %v, want %v", got, want)
	}
}
