package checks

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	idForm   = regexp.MustCompile(`^(ALB-)?[A-Z]{2,4}-\d\d(-[CUO])?$`) // ALB: rows of shared/facts/alb.md; -C: the client side of a check, -U: with an untrusted peer, -O: turned off
	slugForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// TestCatalogueIsWellFormed: what reports and people rely on in every check, whoever wrote it.
func TestCatalogueIsWellFormed(t *testing.T) {
	ids := map[string]bool{}
	for _, c := range conformance.Checks() {
		ids[c.ID] = true
	}
	for _, c := range conformance.Checks() {
		t.Run(c.ID, func(t *testing.T) {
			if !idForm.MatchString(c.ID) || !slugForm.MatchString(c.Slug) {
				t.Errorf("id %q, slug %q", c.ID, c.Slug)
			}
			if strings.ContainsAny(c.Title, "\n") || len(c.Title) > 120 || len(c.Why) < 80 || strings.HasSuffix(c.Title, ".") {
				t.Errorf("title %q, why of %d bytes", c.Title, len(c.Why))
			}
			if !slices.Contains([]conformance.Level{conformance.Must, conformance.Should, conformance.May, conformance.Info}, c.Level) ||
				!slices.Contains([]conformance.Origin{conformance.RFC, conformance.Vendor, conformance.Policy}, c.Origin) ||
				!slices.Contains([]conformance.Role{conformance.Router, conformance.Client, conformance.LoadBalancer}, c.Role) {
				t.Errorf("level %q, origin %q, role %q", c.Level, c.Origin, c.Role)
			}
			passes := false
			for _, a := range c.Accept {
				passes = passes || a.Verdict == result.CheckPass
				if _, both := c.Forbid[a.Outcome]; both {
					t.Errorf("outcome %s is accepted and forbidden", a.Outcome)
				}
				if a.Verdict != result.CheckPass && a.Verdict != result.CheckTolerated {
					t.Errorf("outcome %s earns %s", a.Outcome, a.Verdict)
				}
				if a.Outcome == conformance.Timeout && c.Level != conformance.Info {
					t.Errorf("a timeout is accepted")
				}
			}
			if !passes {
				t.Error("no outcome passes")
			}
			for _, dep := range c.Depends {
				if !ids[dep] || dep >= c.ID {
					t.Errorf("depends on %s, which does not exist or is run later", dep)
				}
			}
			for _, clause := range c.Clauses {
				if strings.HasPrefix(clause.Doc, "RFC ") && (clause.Section == "" || !strings.HasPrefix(clause.URL, "https://www.rfc-editor.org/rfc/rfc")) {
					t.Errorf("clause %+v", clause)
				}
			}
		})
	}
}

func TestWorstHidesNothing(t *testing.T) {
	tt := &conformance.T{Check: conformance.Check{
		Accept: append(pass("", conformance.Alert(116)), tolerate("x", conformance.FIN)...),
		Forbid: map[conformance.Outcome]string{served: "x"},
	}}
	list := func(outcomes ...conformance.Outcome) (out []conformance.Observation) {
		for _, o := range outcomes {
			out = append(out, conformance.Observation{Outcome: o})
		}
		return out
	}
	for want, seen := range map[conformance.Outcome][]conformance.Observation{
		served:                list(conformance.FIN, conformance.Alert(80), served, conformance.Alert(116)),
		conformance.Alert(80): list(conformance.Alert(116), conformance.FIN, conformance.Alert(80), conformance.RST),
		conformance.FIN:       list(conformance.Alert(116), conformance.FIN),
	} {
		if got := worst(tt, seen); got.Outcome != want {
			t.Errorf("%v: %s, want %s", seen, got.Outcome, want)
		}
	}
}

func TestOffsetsCoverTheHeadersAndTheName(t *testing.T) {
	raw := wire.Records(wire.NewHello(wire.HelloOptions{SNI: "name.example.test", ALPN: []string{"proto"}, PadTo: 1500}))[0]
	name := strings.Index(string(raw), "name.example.test")
	all, few := offsets(raw, false), offsets(raw, true)
	for _, must := range []int{1, 4, 5, 6, 9, 10, name, name + 1, len(raw) - 1} {
		if !slices.Contains(all, must) {
			t.Errorf("offset %d is not tried", must)
		}
	}
	if len(few) >= len(all) || len(few) < 15 || slices.Contains(all, 0) || slices.Contains(all, len(raw)) {
		t.Errorf("%d and %d offsets of %d bytes", len(all), len(few), len(raw))
	}
}

// A grade that a check claims is the one that the table of what is known has for its row.
func TestAFactHasTheGradeOfItsRow(t *testing.T) {
	data, err := os.ReadFile("../../docs/alb-rows.tsv")
	if err != nil {
		t.Fatal(err)
	}
	grades := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(line, "\t"); len(f) > 2 {
			grades[f[0]] = f[2]
		}
	}
	facts := 0
	for _, c := range conformance.Checks() {
		if c.Role != conformance.LoadBalancer {
			continue
		}
		for _, clause := range c.Clauses {
			rows, isFact := strings.CutSuffix(clause.Section, " in docs/alb-rows.md")
			if !isFact {
				continue
			}
			facts++
			row, _, _ := strings.Cut(rows, ",")
			if clause.Grade == "" || clause.Grade != grades[row] || result.Grades[clause.Grade] == "" {
				t.Errorf("%s: %s has grade %q, and row %s %q", c.ID, clause.Doc, clause.Grade, row, grades[row])
			}
		}
	}
	if facts == 0 {
		t.Error("no check rests on a fact")
	}
}
