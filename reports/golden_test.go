package reports

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden reads testdata/run.json: a run with passes, two FAILs, TOLERATED, INCONCLUSIVE, UNSUPPORTED, XFAIL and two workloads.
func golden(t testing.TB) *result.Run {
	t.Helper()
	f, err := os.Open("testdata/run.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	run, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func render(t testing.TB, format string, run *result.Run) string {
	t.Helper()
	f, err := Get(format)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := f.Write(&buf, run); err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	return buf.String()
}

// A new format is tested here before its author writes a test.
func TestEveryFormatMatchesItsGoldenFile(t *testing.T) {
	for _, f := range Formats() {
		t.Run(f.Name, func(t *testing.T) {
			got := render(t, f.Name, golden(t))
			name := filepath.Join("testdata", "run."+f.Name+".golden")
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatalf("%v (write it with -update, then read it)", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got), look at it and use -update:\n%s", name, diff)
			}
		})
	}
}

// A report is written after an interrupt too: no part of the result may be taken for granted.
func TestEveryFormatWritesAnEmptyResult(t *testing.T) {
	runs := map[string]*result.Run{
		"empty":   {Schema: result.Schema, Verdict: result.Inconclusive, Partial: true},
		"no data": {Schema: result.Schema, Verdict: result.Fail, Conformance: &result.Conformance{}, Bench: &result.Bench{Workloads: []result.Workload{{Name: "echo", Arms: []result.Arm{{Path: "direct"}}}}}},
	}
	for name, run := range runs {
		for _, f := range Formats() {
			t.Run(name+"/"+f.Name, func(t *testing.T) {
				if got := render(t, f.Name, run); got == "" {
					t.Error("nothing was written")
				}
			})
		}
	}
}

func TestNoFormatChangesTheResult(t *testing.T) {
	run, want := golden(t), golden(t)
	for _, f := range Formats() {
		if err := f.Write(io.Discard, run); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, run); diff != "" {
			t.Fatalf("%s changed the result:\n%s", f.Name, diff)
		}
	}
}

var errFull = errors.New("no space left")

// fullDisk takes n bytes and then fails.
type fullDisk struct{ n int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.n -= len(p); d.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestEveryFormatReportsAFullDisk(t *testing.T) {
	t.Parallel()
	for _, f := range Formats() {
		for _, room := range []int{0, 50, len(render(t, f.Name, golden(t))) - 1} {
			if err := f.Write(&fullDisk{room}, golden(t)); !errors.Is(err, errFull) {
				t.Errorf("%s with room for %d bytes: error %v, want %v", f.Name, room, err, errFull)
			}
		}
	}
}

func TestGetSuggestsNearNames(t *testing.T) {
	for asked, want := range map[string]string{"jsn": "json", "HTML": "html", "junit.xml": "junit", "mardkown": "markdown", "summary": "markdown"} {
		_, err := Get(asked)
		var unknown *UnknownFormatError
		if !errors.As(err, &unknown) {
			t.Fatalf("Get(%q): %v", asked, err)
		}
		if len(unknown.Near) == 0 || unknown.Near[0] != want {
			t.Errorf("Get(%q) suggests %v, want %s first", asked, unknown.Near, want)
		}
	}
	_, err := Get("spreadsheet")
	var unknown *UnknownFormatError
	if !errors.As(err, &unknown) || len(unknown.Near) != 0 || len(unknown.Known) != len(Formats()) {
		t.Errorf("Get(spreadsheet): %v", err)
	}
}
