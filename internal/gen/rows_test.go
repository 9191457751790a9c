package main

import (
	"slices"
	"testing"
)

// pending are the rows that no test is named by yet.
var pending = []string{
	"ALB-DRN-01",
	"ALB-DRN-02",
	"ALB-RULE-05",
	"ALB-TG-01",
	"ALB-TG-02",
	"ALB-TG-03",
	"ALB-HC-01",
	"ALB-HC-02",
	"ALB-HC-03",
	"ALB-DNS-01",
	"NLB-TCP-01",
	"NLB-TCP-02",
	"NLB-TCP-03",
	"NLB-TCP-04",
	"NLB-TCP-05",
	"NLB-PP-01",
	"NLB-PP-02",
	"NLB-IP-01",
	"NLB-TLS-01",
	"NLB-TLS-02",
	"NLB-TLS-03",
	"NLB-TLS-04",
	"NLB-ALB-01",
	"CHAIN-01",
	"CHAIN-02",
	"CHAIN-03",
	"CHAIN-04",
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
