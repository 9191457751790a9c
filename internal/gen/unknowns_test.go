package main

import (
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

// openUnknowns is how many questions alb.md section 16 has.
const openUnknowns = 15

func TestEveryUnknownIsAKnobOrASentence(t *testing.T) {
	t.Chdir("../..")
	all, err := loadUnknowns()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != openUnknowns {
		t.Errorf("%d questions, want %d", len(all), openUnknowns)
	}
	page := string(unknownsSection(all))
	for _, u := range all {
		if len(u.knobs) == 0 && len(u.why) < 20 {
			t.Errorf("question %d: %q says nothing", u.number, u.why)
		}
		for _, k := range u.knobs {
			if !strings.Contains(page, "["+k+"](#"+strings.ToLower(k)+")") {
				t.Errorf("question %d: the page does not have %s", u.number, k)
			}
		}
	}
}

func TestUnknownsThatAreWrongAreRefused(t *testing.T) {
	known := map[string][]albsim.Evidence{"HalfClose": {{Grade: "unknown", Source: "alb.md 16.1"}}, "EarlyBytes": {{Grade: "A", Source: "nothing"}}}
	const head = "number\tunknown\tknobs\twhy\n"
	for text, want := range map[string]string{
		head + "1\tq\tHalfClose EarlyBytes\t-\n":                 "",
		head + "1\tq\tHalfClose\tand why\n2\tq\t-\twhy\n":        "",
		head + "1\tq\tHalfOpen\t-\n":                             "no profile has the knob HalfOpen",
		head + "1\tq\t-\t-\n":                                    "neither",
		head + "2\tq\tHalfClose\t-\n":                            "number 2, want 1",
		head + "1\tq\tHalfClose\n":                               "not four cells",
		head + "1\tq\tEarlyBytes\t-\n2\tq\tHalfClose\t-\n":       "the knob HalfClose answers question 1",
		strings.Replace(head, "\twhy", "", 1) + "1\tq\tx\tx\n":   "not four cells",
		head + "1\tq\tHalfClose\t-\n1\tq\tHalfClose\t-\n":        "number 1, want 2",
		head + "1\tq\tEarlyBytes\tno half-close knob is named\n": "the knob HalfClose answers question 1",
	} {
		_, err := parseUnknowns(text, known)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
