// Package conformancetest puts the catalogue of checks to an implementation from a Go test: each check on each path is a subtest.
//
//	func TestMyRouter(t *testing.T) {
//		conformancetest.Run(t, target, conformance.Options{Levels: []string{"MUST"}})
//	}
//
// A FAIL and an unexpected pass fail their subtest, and so does a check that proved nothing: go test has no third answer, and it is
// no pass. What the target does not claim, what was not run and a failure that is known are skipped, with the reason. A flaky check
// passes with a log line. A run in which nothing was executed fails.
//
// The engine runs the checks, several side by side, before the first subtest begins: to choose some of them use Options.Only, since
// -run chooses among what has been run already.
package conformancetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	_ "github.com/tlsroute/tlsroute-bench/conformance/checks" // the catalogue
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Run puts the chosen checks to the target and reports them as subtests. Unless the options say otherwise, the timeline of what did
// not pass is kept in the test's artifacts (go test -artifacts). An end of the test's context cuts the run short.
func Run(t *testing.T, target conformance.Target, opt conformance.Options) {
	t.Helper()
	if opt.Evidence == nil {
		opt.Evidence = timelines(t.ArtifactDir())
	}
	c, err := conformance.Run(t.Context(), target, opt)
	if err != nil {
		t.Fatalf("conformance of %s: %v", target.Name, err)
	}
	t.Logf("seed %d", opt.Seed)
	executed := false
	for _, r := range c.Results {
		executed = executed || answer(r) != skipped
		t.Run(name(r), func(t *testing.T) { tell(t, r) })
	}
	if !executed {
		t.Fatalf("conformance of %s: no check was executed", target.Name)
	}
}

// name is that of a subtest: its slash makes the path a part of its own.
func name(r result.CheckResult) string {
	if r.Path == "" {
		return r.Check
	}
	return r.Check + "/" + r.Path
}

type kind int

const (
	passed kind = iota
	noted
	skipped
	failed
)

func answer(r result.CheckResult) kind {
	switch r.Verdict {
	case result.CheckPass:
		return passed
	case result.CheckTolerated, result.CheckFlaky:
		return noted
	case result.CheckUnsupported, result.CheckNotRun, result.CheckDepFailed, result.CheckXFail:
		return skipped
	default:
		return failed
	}
}

// reporter is what tell needs of a test.
type reporter interface {
	Helper()
	Log(args ...any)
	Skip(args ...any)
	Error(args ...any)
}

func tell(t reporter, r result.CheckResult) {
	t.Helper()
	text := fmt.Sprintf("%s %s (%s, %s): %s\n%s", r.Verdict, r.Slug, r.Level, r.Origin, r.Title, r.Detail)
	if r.Diff != nil {
		text += "\nbytes differ " + r.Diff.String()
	}
	for _, e := range r.Evidence {
		text += "\nevidence " + e
	}
	switch answer(r) {
	case passed:
	case noted:
		t.Log(text)
	case skipped:
		t.Skip(text)
	case failed:
		for _, c := range r.Clauses {
			text += "\nclause " + c.Name() + " " + c.URL
		}
		t.Error(strings.TrimSpace(text))
	}
}

// timelines keeps the timeline and the key log of each check in a folder.
type timelines string

// Save implements conformance.EvidenceSink.
func (dir timelines) Save(name string, e conformance.Evidence) ([]string, error) {
	f, err := os.Create(filepath.Join(string(dir), name+".txt"))
	if err != nil {
		return nil, fmt.Errorf("timeline: %w", err)
	}
	if err := e.Trace.WriteTimeline(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("timeline: %w", err)
	}
	keys := filepath.Join(string(dir), name+".keys")
	if err := os.WriteFile(keys, e.KeyLog, 0o600); err != nil {
		return []string{f.Name()}, fmt.Errorf("key log: %w", err)
	}
	return []string{f.Name(), keys}, nil
}
