package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() { register(Format{Name: "test2json", Write: writeTest2JSON}) }

// event is a line of `go test -json` (cmd/test2json), so that gotestsum and editors can show a run.
type event struct {
	Time    time.Time
	Action  string
	Package string
	Test    string   `json:",omitempty"`
	Elapsed *float64 `json:",omitempty"`
	Output  string   `json:",omitempty"`
}

func writeTest2JSON(w io.Writer, run *result.Run) error {
	t := &test2json{pkg: "tlsroute-bench/" + testWord(run.Scenario.Name), now: run.Run.Started.UTC()}
	t.enc = json.NewEncoder(&t.buf)
	t.enc.SetEscapeHTML(false)
	t.emit("start", "", "")
	seen := map[string]int{}
	if run.Conformance != nil {
		for _, c := range run.Conformance.Results {
			action := "pass"
			switch {
			case conforms(c.Verdict) || c.Verdict == result.CheckFlaky && !run.FailOnFlake:
			case c.Verdict == result.CheckUnsupported || c.Verdict == result.CheckNotRun || c.Verdict == result.CheckDepFailed || c.Verdict == result.CheckXFail:
				action = "skip"
			default:
				action = "fail" // INCONCLUSIVE too: go test has no third answer, and it is no pass
			}
			out := ""
			if c.Verdict != result.CheckPass {
				out = string(c.Verdict) + "\n" + checkText(c)
			}
			t.test(unique(seen, testWord(checkName(c))), action, out, c.DurationMS/1000)
		}
	}
	if run.Bench != nil {
		action := "pass"
		if invalid(run) {
			action = "fail"
		}
		t.test(unique(seen, "bench_validity"), action, strings.Join(run.Bench.Validity.Reasons, "\n"), 0)
		for _, l := range run.Bench.Limits {
			action := "pass"
			if !l.OK {
				action = "fail"
			}
			t.test(unique(seen, "limit_"+testWord(l.Expr)), action, limitText(l), 0)
		}
	}
	action, word := "pass", "ok  "
	if run.Verdict != result.Pass {
		action, word = "fail", "FAIL"
	}
	if run.Run.Finished.After(run.Run.Started) {
		t.now = run.Run.Finished.UTC()
	}
	elapsed := t.now.Sub(run.Run.Started).Seconds()
	t.emit("output", "", fmt.Sprintf("%s\t%s\t%.3fs\n", word, t.pkg, elapsed))
	t.end(action, "", elapsed)
	if t.err != nil {
		return fmt.Errorf("write test2json: %w", t.err)
	}
	if _, err := w.Write(t.buf.Bytes()); err != nil {
		return fmt.Errorf("write test2json: %w", err)
	}
	return nil
}

type test2json struct {
	buf bytes.Buffer
	enc *json.Encoder
	pkg string
	now time.Time
	err error
}

func (t *test2json) put(e event) {
	e.Time, e.Package = t.now, t.pkg
	if err := t.enc.Encode(e); err != nil && t.err == nil {
		t.err = err
	}
}

func (t *test2json) emit(action, test, output string) {
	t.put(event{Action: action, Test: test, Output: output})
}

func (t *test2json) end(action, test string, elapsed float64) {
	t.put(event{Action: action, Test: test, Elapsed: &elapsed})
}

func (t *test2json) test(name, action, output string, elapsed float64) {
	t.emit("run", name, "")
	t.emit("output", name, "=== RUN   "+name+"\n")
	if output != "" {
		for line := range strings.Lines(output) {
			t.emit("output", name, "    "+strings.TrimRight(line, "\n")+"\n")
		}
	}
	t.now = t.now.Add(time.Duration(elapsed * float64(time.Second)))
	t.emit("output", name, fmt.Sprintf("--- %s: %s (%.2fs)\n", strings.ToUpper(action), name, elapsed))
	t.end(action, name, elapsed)
}

// testWord makes one word of a name as go test would: no white space, and no slash, which would make a subtest of it.
func testWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return '_'
		}
		if r == '/' {
			return '÷'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// unique numbers a name that was there before, as go test does: the same check on two targets is two tests.
func unique(seen map[string]int, name string) string {
	seen[name]++
	if n := seen[name]; n > 1 {
		return fmt.Sprintf("%s#%02d", name, n-1)
	}
	return name
}
