package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

// unknown is one open question of the project's facts about load balancers: alb.md section 16.
type unknown struct {
	number        int
	question, why string   // why is empty where the knobs cover it
	knobs         []string // that a profile answers it with
}

const unknownsFile = "docs/alb-unknowns.tsv"

// ofUnknown is how the evidence of a knob names the question that its value answers.
var ofUnknown = regexp.MustCompile(`\b16\.(\d+)\b`)

// loadUnknowns reads the questions. One that has neither a knob nor a sentence is an error, and so is a knob that there is not,
// or one whose evidence names a question that does not have it.
func loadUnknowns() ([]unknown, error) {
	data, err := os.ReadFile(unknownsFile)
	if err != nil {
		return nil, err
	}
	return parseUnknowns(string(data), knobs())
}

// knobs are those of every profile, with their evidence.
func knobs() map[string][]albsim.Evidence {
	out := map[string][]albsim.Evidence{}
	for _, name := range albsim.Profiles() {
		p, _ := albsim.LookupProfile(name)
		for _, k := range p.Knobs() {
			out[k.Name] = append(out[k.Name], k.Evidence)
		}
	}
	return out
}

func parseUnknowns(text string, known map[string][]albsim.Evidence) ([]unknown, error) {
	var all []unknown
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		cells := strings.Split(line, "\t")
		if len(cells) != 4 || slices.Contains(cells, "") {
			return nil, fmt.Errorf("%s:%d: not four cells", unknownsFile, i+1)
		}
		if i == 0 {
			continue
		}
		u := unknown{question: cells[1]}
		var err error
		if u.number, err = strconv.Atoi(cells[0]); err != nil || u.number != i {
			return nil, fmt.Errorf("%s:%d: number %s, want %d", unknownsFile, i+1, cells[0], i)
		}
		if cells[2] != "-" {
			u.knobs = strings.Fields(cells[2])
		}
		if cells[3] != "-" {
			u.why = cells[3]
		}
		if u.knobs == nil && u.why == "" {
			return nil, fmt.Errorf("%s:%d: neither a knob nor a sentence", unknownsFile, i+1)
		}
		for _, k := range u.knobs {
			if known[k] == nil {
				return nil, fmt.Errorf("%s:%d: no profile has the knob %s", unknownsFile, i+1, k)
			}
		}
		all = append(all, u)
	}
	for knob, evidence := range known {
		for _, e := range evidence {
			for _, m := range ofUnknown.FindAllStringSubmatch(e.Source, -1) {
				n, _ := strconv.Atoi(m[1]) // digits
				if n < 1 || n > len(all) || !slices.Contains(all[n-1].knobs, knob) {
					return nil, fmt.Errorf("%s: the knob %s answers question %d by its source, %q, and is not in its row", unknownsFile, knob, n, e.Source)
				}
			}
		}
	}
	return all, nil
}

// unknownsSection is the end of the page of profiles.
func unknownsSection(all []unknown) []byte {
	var b bytes.Buffer
	b.WriteString(`
# What nobody knows

Written by "make gen" from ` + unknownsFile + `. The facts have ` + strconv.Itoa(len(all)) + ` questions about AWS's load balancers that no source answers (alb.md section 16). Each is a knob,
so that a client can be tried against every answer, or has the reason why it is none.

| question | what is not known | knobs | why it is none, or not one alone |
|---|---|---|---|
`)
	for _, u := range all {
		var links []string
		for _, k := range u.knobs {
			links = append(links, "["+k+"](#"+strings.ToLower(k)+")")
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", u.number, u.question, strings.Join(links, ", "), u.why)
	}
	return b.Bytes()
}
