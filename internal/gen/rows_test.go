package main

import (
	"slices"
	"testing"
)

// pending are the rows that no test is named by yet.
var pending = []string{
	"ALB-DNS-01",
	"NLB-PP-01", // health checks of a network load balancer carry no PROXY header yet
}

func TestEveryRowHasATestOrIsPending(t *testing.T) {
	t.Chdir("../..")
	rows, err := loadRows(rowFolders...)
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, r := range rows {
		known = append(known, r.id)
		waits := slices.Contains(pending, r.id)
		switch {
		case len(r.tests) == 0 && !waits:
			t.Errorf("%s has no test: %s", r.id, r.behaviour)
		case len(r.tests) > 0 && waits:
			t.Errorf("%s is pending, and has %v", r.id, r.tests)
		}
		if !slices.Contains([]string{"D", "O", "S", "I", "A", "unknown"}, r.grade) {
			t.Errorf("%s has grade %q", r.id, r.grade)
		}
	}
	for _, id := range pending {
		if !slices.Contains(known, id) {
			t.Errorf("%s is pending, and no row", id)
		}
	}
}

func TestRowsOfATestsName(t *testing.T) {
	for name, want := range map[string][]string{
		"TestALB_TLS_01_02_ALPNMatrix": {"ALB-TLS-01", "ALB-TLS-02"},
		"TestNLB_ALB_01":               {"NLB-ALB-01"},
		"TestCHAIN_03_SmallestIdle":    {"CHAIN-03"},
		"TestALB_DES_Strictest":        nil,
		"TestALB_TLS_1_Short":          nil,
		"TestOf_ALB_TLS_01":            nil,
	} {
		if got := rowsOf(name); !slices.Equal(got, want) {
			t.Errorf("%s is of %v, want %v", name, got, want)
		}
	}
}
