package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCommittedFilesAreCurrent fails when a type, a row, a check or the name of a row's test was changed and "make gen" was not run.
func TestCommittedFilesAreCurrent(t *testing.T) {
	// The comments are read relative to the module's root.
	t.Chdir("../..")
	dir := t.TempDir()
	if err := run(dir); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{
		"scenarios/schema/scenario.json", "scenarios/schema/router.json", "scenarios/schema/alb.json", "reports/schema/report.json", "reports/schema/compare.json", rowsTable,
		profilesPage, cataloguePage,
	} {
		want, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what make gen writes:\n%s", file, diff)
		}
	}
}
