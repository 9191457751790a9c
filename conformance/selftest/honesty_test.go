package selftest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// obsolete are RFCs that a later one has replaced (rfc-editor.org says so at the head of each): a clause names that one.
var obsolete = map[string]string{
	"RFC 5246": "RFC 9846", "RFC 8446": "RFC 9846", "RFC 5077": "RFC 9846", "RFC 7230": "RFC 9112", "RFC 7231": "RFC 9110", "RFC 7540": "RFC 9113",
}

var (
	rfcDoc     = regexp.MustCompile(`^RFC (\d+)$`)
	rfcSection = regexp.MustCompile(`^(?:section|appendix) ([0-9A-Z]+(?:\.\d+)*)`)
	namesRFC   = regexp.MustCompile(`\bRFCs?\b|\bviolat`)
)

// TestClausesOfRFCsAreWhatTheySay: the address leads to the document and the section that the clause names, and the document is in force.
func TestClausesOfRFCsAreWhatTheySay(t *testing.T) {
	rfcs := 0
	for _, c := range conformance.Checks() {
		for _, clause := range c.Clauses {
			if !strings.HasPrefix(clause.Doc, "RFC") || clause.Grade != "" { // a graded one names its row of docs/alb-rows.md
				continue
			}
			rfcs++
			doc, section := rfcDoc.FindStringSubmatch(clause.Doc), rfcSection.FindStringSubmatch(clause.Section)
			if doc == nil || section == nil {
				t.Errorf("%s: %q, %q is no clause of an RFC", c.ID, clause.Doc, clause.Section)
				continue
			}
			kind := map[bool]string{true: "section-", false: "appendix-"}[section[1][0] <= '9']
			if want := "https://www.rfc-editor.org/rfc/rfc" + doc[1] + "#" + kind + section[1]; clause.URL != want {
				t.Errorf("%s: %s leads to %s, want %s", c.ID, clause.Name(), clause.URL, want)
			}
			if now := obsolete[clause.Doc]; now != "" {
				t.Errorf("%s: %s is obsolete: name %s", c.ID, clause.Name(), now)
			}
		}
	}
	if rfcs == 0 {
		t.Error("no check names an RFC")
	}
}

// TestNoPolicyIsPresentedAsAViolation: what a check of our own policy, or of a vendor's, says to whoever fails it names no RFC as the one
// who asks for it.
func TestNoPolicyIsPresentedAsAViolation(t *testing.T) {
	seen := map[conformance.Origin]int{}
	for _, c := range conformance.Checks() {
		seen[c.Origin]++
		said := append(slices.Collect(maps.Values(c.Forbid)), c.Title)
		binding := c.Binding()
		switch c.Origin {
		case conformance.RFC:
			i := slices.IndexFunc(c.Clauses, func(clause result.Clause) bool { return rfcDoc.MatchString(clause.Doc) })
			if i >= 0 && !strings.HasPrefix(binding, string(c.Level)+", by "+c.Clauses[i].Doc) { // that it has one: TestEveryClauseHasASource
				t.Errorf("%s: origin is an RFC, and it says %q", c.ID, binding)
			}
			continue
		case conformance.Policy:
			said = append(said, c.Why)
			if !strings.Contains(binding, "policy of this suite; no RFC requires it") {
				t.Errorf("%s: origin is policy, and it says %q", c.ID, binding)
			}
		case conformance.Vendor:
			if !strings.Contains(binding, "not the requirement of an RFC") {
				t.Errorf("%s: origin is a vendor, and it says %q", c.ID, binding)
			}
		}
		for _, text := range said {
			if namesRFC.MatchString(text) {
				t.Errorf("%s: origin is %s, and it says %q", c.ID, c.Origin, text)
			}
		}
	}
	if len(seen) != 3 {
		t.Errorf("checks by origin: %v", seen)
	}
}

// A MAY binds only who does it, which a target says by a feature.
func TestEveryMayIsClaimed(t *testing.T) {
	for _, c := range conformance.Checks() {
		if c.Level == conformance.May && len(c.Features) == 0 {
			t.Errorf("%s: level MAY, and every target is put to it", c.ID)
		}
	}
}

// TestEveryWaitHasAName: a check waits by T.Wait, T.Silence and T.Gap, which grow with the path, or by a constant whose comment says where it
// comes from; it never sleeps, and no deadline is a number in the middle of the code.
func TestEveryWaitHasAName(t *testing.T) {
	files, err := filepath.Glob("../checks/*.go")
	check(t, err)
	waits := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, file, nil, 0)
		check(t, err)
		for at, wrong := range unnamedWaits(tree, &waits) {
			t.Errorf("%s: %s", set.Position(at), wrong)
		}
	}
	if waits == 0 {
		t.Error("no wait was found: the test looks in the wrong place")
	}
}

var waiting = []string{"SetDeadline", "SetReadDeadline", "SetWriteDeadline", "WithTimeout", "WithDeadline", "After", "AfterFunc", "NewTimer"}

// unnamedWaits are the places of a file where it sleeps, or waits for so many seconds; count grows by the waits that it has.
func unnamedWaits(tree *ast.File, count *int) map[token.Pos]string {
	found := map[token.Pos]string{}
	ast.Inspect(tree, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if ofTime(f) && f.Sel.Name == "Sleep" {
			found[call.Pos()] = "a check never sleeps"
		}
		if !slices.Contains(waiting, f.Sel.Name) {
			return true
		}
		*count++
		for _, arg := range call.Args {
			ast.Inspect(arg, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && ofTime(s) && slices.Contains([]string{"Microsecond", "Millisecond", "Second", "Minute"}, s.Sel.Name) {
					found[call.Pos()] = f.Sel.Name + " waits for a time without a name"
				}
				return true
			})
		}
		return true
	})
	return found
}

func ofTime(s *ast.SelectorExpr) bool {
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "time"
}

func TestUnnamedWaitsAreFound(t *testing.T) {
	const text = `package x
func f() {
	time.Sleep(short)
	c.SetDeadline(time.Now().Add(2 * time.Second))
	c.SetDeadline(time.Now().Add(2 * t.Wait()))
	<-time.After(pause)
	took.Round(time.Millisecond)
}`
	tree, err := parser.ParseFile(token.NewFileSet(), "x.go", text, 0)
	check(t, err)
	waits := 0
	if found := unnamedWaits(tree, &waits); len(found) != 2 || waits != 3 {
		t.Errorf("%v of %d waits", found, waits)
	}
}
