package selftest

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// atOnce is how many targets run at the same time: most of them wait, for silence or for a timer.
const atOnce = "6"

// matrix is for "make mutants".
var matrix = flag.String("matrix", "", "write the kill matrix to a file")

func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if err := flag.Set("test.parallel", atOnce); !chosen && err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// waits says whether a check sits out timers: such checks run together and before the others, whose work would disturb them.
func waits(c conformance.Check) bool { return slices.Contains(c.Tags, "timing") }

// apart runs the jobs, each in parallel with those of its kind: first those that wait, then those that work.
func apart[J any](t *testing.T, jobs []J, kind func(J) (name string, waits bool), run func(t *testing.T, job J)) {
	for _, waiting := range []bool{true, false} {
		t.Run(map[bool]string{true: "waits", false: "works"}[waiting], func(t *testing.T) {
			for _, job := range jobs {
				if name, w := kind(job); w == waiting {
					t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
						t.Parallel()
						run(t, job)
					})
				}
			}
		})
	}
}

// TestEveryCheckPassesOnWhatIsRight puts the catalogue to the references, and to what the mutants are made of: what a mutant is
// told by is its one bug and nothing else. Each group of checks has a lab of its own, and each check that waits.
func TestEveryCheckPassesOnWhatIsRight(t *testing.T) {
	type job struct {
		conforming
		part   string
		checks []conformance.Check
		waits  bool
	}
	var jobs []job
	put := map[string]bool{} // checks that anything is to pass
	for _, r := range right {
		chosen, err := conformance.Select(conformance.Options{Only: r.only, Skip: r.skip})
		check(t, err)
		for _, c := range chosen {
			part, _, _ := strings.Cut(c.ID, "-")
			if waits(c) {
				part = c.ID
			}
			if c.Role != r.role {
				continue
			}
			put[c.ID] = true
			i := slices.IndexFunc(jobs, func(j job) bool { return j.name == r.name && j.part == part })
			if i < 0 {
				i, jobs = len(jobs), append(jobs, job{conforming: r, part: part, waits: waits(c)})
			}
			jobs[i].checks = append(jobs[i].checks, c)
		}
	}
	for _, c := range conformance.Checks() {
		if !put[c.ID] {
			t.Errorf("%s (%s) is put to nothing that must pass it", c.ID, c.Slug)
		}
	}
	apart(t, jobs, func(j job) (string, bool) { return j.name + "/" + j.part, j.waits }, func(t *testing.T, j job) {
		opt := conformance.Options{Seed: 1, Parallel: 1} // the targets run side by side
		for _, c := range j.checks {
			opt.Only = append(opt.Only, c.ID)
		}
		c, err := conformance.Run(t.Context(), j.target(t), opt)
		check(t, err)
		// A machine that was too slow to tell has told nothing, and another run measures it anew; it may not go on so.
		for range 3 {
			if !slices.ContainsFunc(c.Results, tooSlow) {
				break
			}
			c, err = conformance.Run(t.Context(), j.target(t), opt)
			check(t, err)
		}
		ran := map[string]bool{}
		for _, r := range c.Results {
			t.Logf("%-8s %-18s %-16s %-13s %-10s %7.1f ms  %s", r.Check, r.Slug, r.Path, r.Verdict, r.Outcome, r.DurationMS, r.Detail)
			// What mutants are made of need not have every path, and what runs in this process is measured by a test of its own.
			absent := r.Verdict == result.CheckNotRun && (len(j.only) > 0 || slices.Contains(measured, r.Check))
			elsewhere := r.Verdict == result.CheckUnsupported && slices.ContainsFunc(right, func(o conforming) bool { return o.name != j.name && slices.Contains(o.only, r.Check) })
			if r.Verdict != result.CheckPass && (r.Verdict != result.CheckTolerated || !j.tolerated) && !absent && !elsewhere {
				t.Errorf("%s on %s: %s: %s", r.Check, r.Path, r.Verdict, r.Detail)
			}
			ran[r.Check] = true
		}
		for _, c := range j.checks {
			if !ran[c.ID] {
				t.Errorf("%s was not run", c.ID)
			}
		}
	})
}

// TestKillMatrix is the point of it all. Every check has a mutant, and every mutant is killed by its check on at least one path:
// with a FAIL and an outcome that the check or the common vocabulary knows, and on no path with a verdict that says the harness
// was at fault.
func TestKillMatrix(t *testing.T) {
	type job struct {
		conformance.Check
		mutant
	}
	var jobs []job
	bare, known := 0, map[string]bool{}
	for _, c := range conformance.Checks() {
		known[c.ID] = true
		if len(mutants[c.ID]) == 0 {
			bare++
			t.Errorf("%s (%s) has no mutant that it fails on", c.ID, c.Slug)
		}
		for _, m := range mutants[c.ID] {
			jobs = append(jobs, job{c, m})
		}
	}
	for id := range mutants {
		if !known[id] {
			t.Errorf("a mutant is registered for %s, which is no check", id)
		}
	}
	var mu sync.Mutex // guards kills
	kills := map[string]string{}
	apart(t, jobs, func(j job) (string, bool) { return j.ID + "/" + j.name, waits(j.Check) }, func(t *testing.T, j job) {
		got, err := conformance.Run(t.Context(), j.target(t), conformance.Options{Only: []string{j.ID}, Seed: 1, Parallel: 1})
		check(t, err)
		var how []string
		for _, r := range got.Results {
			t.Logf("%s: %s %s: %s", r.Path, r.Verdict, r.Outcome, r.Detail)
			_, forbidden := j.Forbid[conformance.Outcome(r.Outcome)]
			switch {
			case r.Verdict == result.CheckInconclusive:
				t.Errorf("%s: the mutant breaks more than the check is about: %s", r.Path, r.Detail)
			// Level INFO never fails, and FLAKY is no pass: on a slow machine a timer may hide a mutant once in three runs.
			case r.Verdict == result.CheckFail, r.Verdict == result.CheckFlaky && forbidden, j.Level == conformance.Info && forbidden:
				how = append(how, r.Path+" "+r.Outcome)
				if !forbidden && !common(r.Outcome) {
					t.Errorf("%s: outcome %q is in no list of %s", r.Path, r.Outcome, j.ID)
				}
			}
		}
		if len(how) == 0 {
			t.Errorf("the mutant %q survives %s", j.name, j.ID)
		}
		mu.Lock()
		defer mu.Unlock()
		kills[j.ID+j.name] = strings.Join(how, ", ")
	})
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	slices.SortStableFunc(jobs, func(a, b job) int { return strings.Compare(a.ID, b.ID) })
	alive, judged := 0, map[string]bool{}
	for _, j := range jobs {
		if how, ran := kills[j.ID+j.name]; ran { // -run may have chosen some of them
			judged[j.ID] = true
			if how == "" {
				how = "SURVIVES"
				alive++
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", j.ID, j.Slug, j.name, how)
		}
	}
	check(t, w.Flush())
	fmt.Fprintf(&out, "\n%d checks, %d mutants: %d killed, %d alive; %d checks without a mutant\n", len(judged), len(kills), len(kills)-alive, alive, bare)
	t.Logf("the mutants, and the paths and outcomes by which they are killed:\n%s", out.String())
	if *matrix != "" {
		check(t, os.WriteFile(*matrix, []byte(out.String()), 0o600))
	}
}

// common says whether an outcome is of the vocabulary that all checks share.
func common(outcome string) bool {
	word, _, _ := strings.Cut(outcome, ":")
	return slices.Contains([]string{"alert", "http", "misrouted", "fin", "rst", "timeout", "refused", "lost", "corrupted", "truncated", "dialled"}, word)
}

// TestEveryClauseHasASource: a clause is a document with an address, or a policy of this project. What an RFC is said to ask for
// names the RFC.
func TestEveryClauseHasASource(t *testing.T) {
	for _, c := range conformance.Checks() {
		cited := false
		for _, clause := range c.Clauses {
			if clause.Doc == "" || clause.URL == "" && !strings.Contains(clause.Doc, "DESIGN.md") {
				t.Errorf("%s: clause %+v has no source", c.ID, clause)
			}
			cited = cited || strings.HasPrefix(clause.Doc, "RFC ")
		}
		if c.Origin == conformance.RFC && !cited {
			t.Errorf("%s: origin is an RFC, but none is named", c.ID)
		}
	}
}

// tooSlow says whether a check came to nothing because this machine was busy.
func tooSlow(r result.CheckResult) bool {
	return r.Verdict == result.CheckInconclusive && strings.Contains(r.Detail, conformance.ErrStalled.Error())
}
