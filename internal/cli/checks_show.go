package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/reports"
)

// showChecks shows what a name means: a check or several, each with what came of it in the report if one is given, or why there is none.
func showChecks(env Env, name, report string) error {
	for _, u := range conformance.Untestables() {
		if strings.EqualFold(u.ID, name) {
			_, err := fmt.Fprintf(env.Stdout, "%s is no check: it cannot be tested from outside\n  %s\n", u.ID, u.Reason)
			return err
		}
	}
	list, err := conformance.Select(conformance.Options{Only: []string{name}})
	if err != nil {
		return withStatus(result.ExitUsage, err)
	}
	var run *result.Run
	if report != "" {
		if run, err = readReport(report); err != nil {
			return usagef("--in: %w", err)
		}
	}
	var b strings.Builder
	var errs []error
	for i, k := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		describe(&b, k)
		if run != nil {
			errs = append(errs, reports.WriteCheck(&b, run, k.ID))
		}
	}
	_, err = fmt.Fprint(env.Stdout, b.String())
	return errors.Join(append(errs, err)...)
}

// describe says in text what docs/catalogue.md has of a check.
func describe(b *strings.Builder, k conformance.Check) {
	fmt.Fprintf(b, "%s %s\n%s\n\n", k.ID, k.Slug, k.Title)
	line := func(name string, values ...string) {
		if len(values) > 0 {
			fmt.Fprintf(b, "%-9s %s\n", name, strings.Join(values, ", "))
		}
	}
	line("level", k.Binding())
	line("origin", string(k.Origin))
	line("role", string(k.Role))
	line("over", words(k.Transports)...)
	line("features", k.Features...)
	line("depends", k.Depends...)
	line("tags", k.Tags...)
	line("limit", k.LimitText())
	if instance := k.Instance(); instance != "" {
		line("instance", instance)
	}
	b.WriteString("\n" + map[bool]string{true: "background", false: "sources"}[k.Origin == conformance.Policy] + "\n")
	for _, cl := range k.Clauses {
		fmt.Fprintf(b, "  %s", cl.Name())
		if cl.URL != "" {
			fmt.Fprintf(b, "\n    %s", cl.URL)
		}
		b.WriteByte('\n')
	}
	b.WriteString("\naccepts\n")
	for _, a := range k.Accept {
		fmt.Fprintf(b, "  %-26s %-9s %s\n", a.Outcome, a.Verdict, a.Clause)
	}
	b.WriteString("\nforbids\n")
	for _, o := range sortedOutcomes(k.Forbid) {
		fmt.Fprintf(b, "  %-26s %-9s %s\n", o, k.Otherwise(), k.Forbid[o])
	}
	fmt.Fprintf(b, "  %-26s %-9s it is not among those that conform\n\n%s\n", "any other", k.Otherwise(), k.Why)
}
