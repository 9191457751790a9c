package reports

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// testdata/versions has a report.json of each version of the schema, as it was written then: report-N.json, and report-N-*.json for those
// of an N that had other fields. They are never written anew: what people have stored is read by every later version, in every format.
func TestEveryStoredVersionIsRead(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/versions/report-*.json")
	if err != nil {
		t.Fatal(err)
	}
	current := fmt.Sprintf("testdata/versions/report-%s", result.Schema[strings.LastIndex(result.Schema, "/")+1:])
	has := false
	for _, file := range files {
		has = has || strings.HasPrefix(file, current+".") || strings.HasPrefix(file, current+"-")
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			run, err := Read(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if run.Run.ID == "" || run.Verdict == "" || run.Bench == nil || run.Conformance == nil {
				t.Fatalf("only part of it was read: %+v", run.Run)
			}
			for _, f := range Formats() {
				out := render(t, f.Name, run)
				if strings.TrimSpace(out) == "" {
					t.Errorf("%s: nothing was written", f.Name)
				}
				if strings.Contains(out, "ZgotmplZ") || strings.Contains(out, "%!") || strings.Contains(out, "NaN") {
					t.Errorf("%s: something could not be written", f.Name)
				}
			}
			for _, w := range run.Bench.Workloads {
				for _, a := range w.Arms {
					if !strings.Contains(render(t, "html", run), a.Path) || !strings.Contains(render(t, "text", run), a.Path) {
						t.Errorf("path %s of workload %s is lost", a.Path, w.Name)
					}
				}
			}
			again, err := Read(strings.NewReader(render(t, "json", run)))
			if err != nil || again.Verdict != run.Verdict || len(again.Conformance.Results) != len(run.Conformance.Results) {
				t.Errorf("written anew it is not read again: %v", err)
			}
		})
	}
	if !has {
		t.Errorf("no %s*.json: keep one as this version writes it", current)
	}
}
