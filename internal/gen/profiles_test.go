package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

func TestProfilesPageHasEveryKnobOfEveryProfile(t *testing.T) {
	t.Chdir("../..")
	comments, err := knobComments("albsim")
	if err != nil {
		t.Fatal(err)
	}
	page, err := profilesTable(comments)
	if err != nil {
		t.Fatal(err)
	}
	for section := range strings.SplitSeq(string(page), "\n## ") {
		knob, rows, _ := strings.Cut(section, "\n")
		if strings.HasPrefix(knob, "# ") {
			continue
		}
		for _, name := range albsim.Profiles() {
			p, _ := albsim.LookupProfile(name)
			want := 0
			if slices.ContainsFunc(p.Knobs(), func(k albsim.Knob) bool { return k.Name == knob }) {
				want = 1
			}
			found := 0
			for line := range strings.SplitSeq(rows, "\n") {
				cells := strings.Split(line, " | ")
				if n := len(cells); n == 4 && strings.Contains(", "+strings.TrimSuffix(cells[3], " |")+",", ", "+name+",") {
					found++
				}
			}
			if found != want {
				t.Errorf("%s has %d values in %s, want %d", knob, found, name, want)
			}
		}
	}
	delete(comments, "HalfClose")
	if _, err := profilesTable(comments); err == nil {
		t.Error("a knob without a comment is taken")
	}
}
