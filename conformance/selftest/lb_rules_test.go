package selftest

import (
	"slices"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// rulesWith is the simulator whose other instances have each rule changed. A rule's lists are the check's own: change makes new ones.
func rulesWith(change func(i int, r *door.Rule)) func(t *testing.T) conformance.Target {
	return misreads(func(doc *door.Balancer) {
		doc.Rules = slices.Clone(doc.Rules)
		for i := range doc.Rules {
			change(i, &doc.Rules[i])
		}
	})
}

// values has other values in the conditions on that field.
func values(field string, change func(string) []string) func(t *testing.T) conformance.Target {
	return rulesWith(func(_ int, r *door.Rule) {
		r.Conditions = slices.Clone(r.Conditions)
		for i, c := range r.Conditions {
			if c.Field == field {
				r.Conditions[i].Values = change(c.Values[0])
			}
		}
	})
}

func init() {
	addMutant("ALB-RULE-01", "goes by the order of the document", rulesWith(func(i int, r *door.Rule) { r.Priority = i + 1 }))
	addMutant("ALB-RULE-01", "has no rules", misreads(func(doc *door.Balancer) { doc.Rules = nil }))
	addMutant("ALB-RULE-02", "has paths without case", values("path-pattern", func(v string) []string { return []string{v, strings.ToLower(v)} }))
	addMutant("ALB-RULE-02", "has hosts with case", values("host-header", func(string) []string { return []string{"nobody.example.test"} }))
	addMutant("ALB-RULE-03", "believes X-Forwarded-For", rulesWith(func(i int, r *door.Rule) {
		if i == 0 {
			r.Conditions = []door.Condition{{Field: "http-header", HTTPHeaderName: "X-Forwarded-For", Values: []string{"192.0.2.*"}}}
		}
	}))
	redirect := func(change func(*door.Action)) func(t *testing.T) conformance.Target {
		return rulesWith(func(_ int, r *door.Rule) {
			r.Actions = slices.Clone(r.Actions)
			change(&r.Actions[0])
		})
	}
	addMutant("ALB-RULE-04", "loses the query", redirect(func(a *door.Action) { none := ""; a.Query = &none }))
	addMutant("ALB-RULE-04", "fills nothing in", redirect(func(a *door.Action) { a.Path = "/" }))
	addMutant("ALB-RULE-04", "answers in place of it", redirect(func(a *door.Action) { *a = door.Action{Type: "fixed-response", StatusCode: 404} }))
}
