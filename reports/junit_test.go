package reports

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// element is what a schema says of an element: its attributes (true: required), and its children in their order, each with how
// often it may come (0: as often as one likes). Text is whether it may hold text.
type element struct {
	attributes map[string]bool
	children   []child
	text       bool
}

type child struct {
	name string
	most int
}

// surefire is surefire-test-report-3.0.xsd of apache/maven-surefire (commit 14e8e1a), element by element.
var (
	surefireCause = element{attributes: map[string]bool{"message": false, "type": true}, text: true}
	surefireRun   = element{attributes: map[string]bool{"message": false, "type": true}, children: []child{{"stackTrace", 1}, {"system-out", 1}, {"system-err", 1}}}
	surefireText  = element{text: true}

	surefire = map[string]element{
		"testsuite": {
			attributes: map[string]bool{"version": false, "name": true, "time": false, "tests": true, "errors": true, "skipped": true, "failures": true, "group": false},
			children:   []child{{"properties", 0}, {"testcase", 0}},
		},
		"properties": {children: []child{{"property", 0}}},
		"property":   {attributes: map[string]bool{"name": true, "value": true}},
		"testcase": {
			attributes: map[string]bool{"name": true, "classname": false, "group": false, "time": true},
			children: []child{
				{"failure", 0},
				{"rerunFailure", 0},
				{"flakyFailure", 0},
				{"skipped", 1},
				{"error", 1},
				{"rerunError", 0},
				{"flakyError", 0},
				{"system-out", 1},
				{"system-err", 1},
			},
		},
		"failure": surefireCause, "error": surefireCause, "skipped": {attributes: map[string]bool{"message": false}, text: true},
		"rerunFailure": surefireRun, "flakyFailure": surefireRun, "rerunError": surefireRun, "flakyError": surefireRun,
		"stackTrace": surefireText, "system-out": surefireText, "system-err": surefireText,
	}
	surefireTime = regexp.MustCompile(`^(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]{0,3})?$`)
)

// node is an element that was read.
type node struct {
	name     string
	attr     map[string]string
	children []*node
	text     string
}

// readXML reads a document without knowing what it is.
func readXML(t *testing.T, text string) *node {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(text))
	dec.Strict = true
	root := &node{}
	stack := []*node{root}
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not XML: %v\n%s", err, text)
		}
		top := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: token.Name.Local, attr: map[string]string{}}
			for _, a := range token.Attr {
				n.attr[a.Name.Local] = a.Value
			}
			top.children = append(top.children, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(token)
		}
	}
	if len(root.children) != 1 {
		t.Fatalf("%d roots", len(root.children))
	}
	return root.children[0]
}

// faults says where an element does not follow the schema.
func (n *node) faults(schema map[string]element) (list []string) {
	e, ok := schema[n.name]
	if !ok {
		return []string{fmt.Sprintf("there is no element %s", n.name)}
	}
	for name, required := range e.attributes {
		if _, ok := n.attr[name]; required && !ok {
			list = append(list, fmt.Sprintf("%s lacks attribute %s", n.name, name))
		}
	}
	for name, value := range n.attr {
		if _, ok := e.attributes[name]; !ok {
			list = append(list, fmt.Sprintf("%s has attribute %s", n.name, name))
		}
		if name == "time" && !surefireTime.MatchString(value) {
			list = append(list, fmt.Sprintf("%s has time %q", n.name, value))
		}
	}
	if !e.text && strings.TrimSpace(n.text) != "" {
		list = append(list, fmt.Sprintf("%s holds text", n.name))
	}
	at, times := 0, 0
	for _, c := range n.children {
		i := slices.IndexFunc(e.children, func(want child) bool { return want.name == c.name })
		switch {
		case i < at:
			list = append(list, fmt.Sprintf("%s in %s is out of order, or none of it", c.name, n.name))
		case i > at:
			at, times = i, 1
		default:
			times++
		}
		if i >= 0 && e.children[i].most > 0 && times > e.children[i].most {
			list = append(list, fmt.Sprintf("%s has several %s", n.name, c.name))
		}
		list = append(list, c.faults(schema)...)
	}
	if (strings.HasPrefix(n.name, "rerun") || strings.HasPrefix(n.name, "flaky")) && (len(n.children) == 0 || n.children[0].name != "stackTrace") {
		list = append(list, n.name+" lacks its stackTrace")
	}
	return list
}

func (n *node) all(name string) (list []*node) {
	for _, c := range n.children {
		if c.name == name {
			list = append(list, c)
		}
	}
	return list
}

func TestJUnitFollowsSurefiresSchema(t *testing.T) {
	for name, run := range map[string]*result.Run{
		"golden": golden(t), "odd": odd(), "many": many(50), "empty": {Verdict: result.Inconclusive, Partial: true}, "flaky": {
			Verdict: result.Pass, Conformance: &result.Conformance{Results: []result.CheckResult{{Check: "KAL-01", Verdict: result.CheckFlaky, Detail: "of a report without runs"}}},
		},
	} {
		for _, fault := range readXML(t, render(t, "junit", run)).faults(surefire) {
			t.Errorf("%s: %s", name, fault)
		}
	}
	for name, text := range map[string]string{
		"another root":       `<testsuites/>`,
		"an attribute":       `<testsuite name="" tests="" errors="" skipped="" failures="" hostname="x"/>`,
		"no name":            `<testsuite tests="" errors="" skipped="" failures=""/>`,
		"out of order":       `<testsuite name="" tests="" errors="" skipped="" failures=""><testcase name="" time="1"><system-out/><failure type=""/></testcase></testsuite>`,
		"two errors":         `<testsuite name="" tests="" errors="" skipped="" failures=""><testcase name="" time="1"><error type=""/><error type=""/></testcase></testsuite>`,
		"a time":             `<testsuite name="" tests="" errors="" skipped="" failures=""><testcase name="" time="1e3"/></testsuite>`,
		"flaky without text": `<testsuite name="" tests="" errors="" skipped="" failures=""><testcase name="" time="1"><flakyFailure type=""/></testcase></testsuite>`,
		"text":               `<testsuite name="" tests="" errors="" skipped="" failures="">text</testsuite>`,
	} {
		if len(readXML(t, text).faults(surefire)) != 1 {
			t.Errorf("%s: the test of the schema finds %q", name, readXML(t, text).faults(surefire))
		}
	}
}

func TestJUnitCountsAgreeWithTheResult(t *testing.T) {
	run := golden(t)
	suite := readXML(t, render(t, "junit", run))
	want := map[string]int{"tests": 1 + len(run.Bench.Limits) + len(run.Conformance.Results), "failures": len(missedLimits(run)), "errors": 0, "skipped": 0}
	for _, c := range run.Conformance.Results {
		switch c.Verdict {
		case "FAIL", "XPASS":
			want["failures"]++
		case "INCONCLUSIVE":
			want["errors"]++
		case "UNSUPPORTED", "NOT-RUN", "DEP-FAILED", "XFAIL":
			want["skipped"]++
		case "PASS", "TOLERATED", "FLAKY":
		}
	}
	said, found := map[string]int{}, map[string]int{"tests": len(suite.all("testcase")), "failures": 0, "errors": 0, "skipped": 0}
	for name := range want {
		var n int
		if _, err := fmt.Sscan(suite.attr[name], &n); err != nil {
			t.Error(err)
		}
		said[name] = n
	}
	for _, c := range suite.all("testcase") {
		found["failures"] += len(c.all("failure"))
		found["errors"] += len(c.all("error"))
		found["skipped"] += len(c.all("skipped"))
		if c.attr["name"] == "" || c.attr["classname"] == "" {
			t.Errorf("a testcase without name or classname: %v", c.attr)
		}
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("elements (-want +got):\n%s", diff)
	}
}

func TestJUnitMarksFlakyRuns(t *testing.T) {
	cases := readXML(t, render(t, "junit", odd())).all("testcase")
	flaky, failed := cases[1].all("flakyFailure"), cases[2]
	if len(flaky) != 2 || len(cases[1].all("failure"))+len(cases[1].all("error")) != 0 {
		t.Fatalf("a flaky check has %d flaky runs and %+v", len(flaky), cases[1])
	}
	if flaky[0].attr["message"] != "first" || flaky[1].attr["message"] != "second" || !strings.Contains(flaky[0].children[0].text, "FLAKY(2/3)") {
		t.Errorf("%+v %+v", flaky[0], flaky[1])
	}
	if len(failed.all("failure")) != 1 || len(failed.all("rerunFailure")) != 1 || failed.all("rerunFailure")[0].attr["message"] != "second" {
		t.Errorf("a check that failed twice: %+v", failed)
	}
	if len(cases[0].all("rerunFailure"))+len(cases[0].all("flakyFailure")) != 0 {
		t.Error("a check that was run once has other runs")
	}
}

func TestJUnitKeepsHostileTextAsText(t *testing.T) {
	run := golden(t)
	c := &run.Conformance.Results[0]
	c.Verdict, c.Slug, c.Detail = result.CheckFail, "a\x00b\x1b[31m", "]]><failure/>\ufffe &amp; \"q\" \xff\xfe end"
	got := readXML(t, render(t, "junit", run)).all("testcase")[0]
	if want := "DET-01 ab[31m [direct]"; got.attr["name"] != want {
		t.Errorf("name %q, want %q", got.attr["name"], want)
	}
	list := got.all("failure")
	if len(list) != 1 || !strings.HasPrefix(list[0].attr["message"], "]]><failure/>") || !strings.HasSuffix(list[0].attr["message"], `&amp; "q" `+"\ufffd"+` end`) {
		t.Errorf("failure %+v", list)
	}
}

func TestJUnitIsNeverGreenWhenTheRunIsNot(t *testing.T) {
	flaky := &result.Conformance{Results: []result.CheckResult{{Check: "KAL-01", Verdict: result.CheckFlaky}}}
	for name, tc := range map[string]struct {
		run              result.Run
		failures, errors string
	}{
		"pass":             {result.Run{Verdict: result.Pass}, "0", "0"},
		"fail":             {result.Run{Verdict: result.Fail}, "1", "0"},
		"inconclusive":     {result.Run{Verdict: result.Inconclusive, Partial: true}, "0", "1"},
		"flaky is to fail": {result.Run{Verdict: result.Fail, FailOnFlake: true, Conformance: flaky}, "1", "0"},
		"flaky may be":     {result.Run{Verdict: result.Pass, Conformance: flaky}, "0", "0"},
	} {
		s := readXML(t, render(t, "junit", &tc.run))
		if s.attr["failures"] != tc.failures || s.attr["errors"] != tc.errors {
			t.Errorf("%s: %s failures, %s errors, want %s and %s", name, s.attr["failures"], s.attr["errors"], tc.failures, tc.errors)
		}
	}
}
