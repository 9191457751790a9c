package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	_ "github.com/tlsroute/tlsroute-bench/conformance/checks"
)

// row is one behaviour of a load balancer that the project has facts about.
type row struct {
	id, behaviour, grade, source string
	tests                        []string // named by it, with their folder
}

const (
	rowsFile  = "docs/alb-rows.tsv"
	rowsTable = "docs/alb-rows.md"
)

// rowFolders are where the tests of rows stand.
var rowFolders = []string{"albsim", "internal/lab"}

var (
	testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	// rowTest is a test's name that begins with rows: a family and the numbers in it, as in TestALB_HDR_06_07_Host.
	rowTest = regexp.MustCompile(`^Test((?:ALB|NLB)_[A-Z]+|CHAIN)((?:_\d\d)+)(?:_|$)`)
)

// loadRows reads the rows, and finds their tests in the folders; a test of a row that is not there is an error.
func loadRows(folders ...string) ([]row, error) {
	data, err := os.ReadFile(rowsFile)
	if err != nil {
		return nil, err
	}
	var rows []row
	at := map[string]int{}
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		cells := strings.Split(line, "\t")
		if len(cells) != 4 || slices.Contains(cells, "") {
			return nil, fmt.Errorf("%s:%d: not four cells", rowsFile, i+1)
		}
		if i == 0 {
			continue
		}
		if _, dup := at[cells[0]]; dup {
			return nil, fmt.Errorf("%s:%d: %s is there twice", rowsFile, i+1, cells[0])
		}
		at[cells[0]] = len(rows)
		rows = append(rows, row{id: cells[0], behaviour: cells[1], grade: cells[2], source: cells[3]})
	}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("%s has no tests", folder)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			for _, m := range testFunc.FindAllSubmatch(source, -1) {
				test := string(m[1])
				for _, id := range rowsOf(test) {
					n, ok := at[id]
					if !ok {
						return nil, fmt.Errorf("%s: %s is named by %s, which %s does not have", file, test, id, rowsFile)
					}
					rows[n].tests = append(rows[n].tests, folder+" "+test)
				}
			}
		}
	}
	return rows, nil
}

// rowsOf are the ids that a test's name begins with.
func rowsOf(test string) []string {
	m := rowTest.FindStringSubmatch(test)
	if m == nil {
		return nil
	}
	var ids []string
	for number := range strings.SplitSeq(m[2][1:], "_") {
		ids = append(ids, strings.ReplaceAll(m[1], "_", "-")+"-"+number)
	}
	return ids
}

// table is the rows as a page of the documentation.
func table(rows []row) []byte {
	var b bytes.Buffer
	b.WriteString(`# What the load balancers do, and the tests that say so

Written by "make gen" from ` + rowsFile + ` and the names of the tests. The grade says how sure the behaviour is: D documented by
AWS, O observed on the real service by a third party, S read in source code, I inferred, A assumed, unknown where nothing was
found; sources are the short names of the project's facts about load balancers. The check is what a stranger's load balancer is put to,
with its level ("tlsroute-bench checks show ID"); where there is none the reason stands in its place.

| id | behaviour | grade | source | test | check |
|---|---|---|---|---|---|
`)
	checks := map[string]string{}
	for _, c := range conformance.Checks() {
		checks[c.ID] = string(c.Level)
	}
	for _, u := range conformance.Untestables() {
		checks[u.ID] = "none: " + u.Reason
	}
	for _, r := range rows {
		tests := "none yet"
		if len(r.tests) > 0 {
			tests = "`" + strings.Join(r.tests, "`<br>`") + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.id, r.behaviour, r.grade, r.source, tests, checks[r.id])
	}
	return b.Bytes()
}
