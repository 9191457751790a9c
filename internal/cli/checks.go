package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/reports"
)

func checksCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "checks",
		Usage: "the catalogue of conformance checks, with sources",
		Subcommands: []*cli.Command{
			{
				Name:  "list",
				Usage: "list the checks, one a line",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "features", Usage: "list the names of features that targets may claim instead"},
					&cli.StringFlag{Name: "format", Value: "text", Usage: "text or json"},
				},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					return listChecks(c, env)
				},
			},
			{
				Name:      "show",
				Usage:     "show one check whole, and what came of it",
				ArgsUsage: "ID",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "in", Usage: "show what came of it in a `REPORT` too, a report.json or the folder it is in"},
				},
				Action: func(c *cli.Context) error {
					if c.NArg() != 1 {
						return usagef("checks show takes one id or slug, such as DET-02")
					}
					list, err := conformance.Select(conformance.Options{Only: []string{c.Args().First()}})
					if err != nil {
						return withStatus(result.ExitUsage, err)
					}
					var run *result.Run
					if file := c.String("in"); file != "" {
						if run, err = readReport(file); err != nil {
							return usagef("--in: %w", err)
						}
					}
					var errs []error
					for _, check := range list {
						errs = append(errs, showCheck(env, check))
						if run != nil {
							errs = append(errs, reports.WriteCheck(env.Stdout, run, check.ID))
						}
					}
					return errors.Join(errs...)
				},
			},
		},
	}
}

func listChecks(c *cli.Context, env Env) error {
	switch format := c.String("format"); {
	case c.Bool("features"):
		for _, f := range conformance.Features() {
			if _, err := fmt.Fprintln(env.Stdout, f); err != nil {
				return err
			}
		}
		return nil
	case format == "json":
		type row struct {
			ID     string   `json:"id"`
			Slug   string   `json:"slug"`
			Level  string   `json:"level"`
			Origin string   `json:"origin"`
			Role   string   `json:"role"`
			Title  string   `json:"title"`
			Tags   []string `json:"tags"`
		}
		rows := []row{}
		for _, k := range conformance.Checks() {
			rows = append(rows, row{k.ID, k.Slug, string(k.Level), string(k.Origin), string(k.Role), k.Title, append([]string{}, k.Tags...)})
		}
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	case format != "text":
		return usagef("--format %s: want text or json", format)
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	for _, k := range conformance.Checks() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Slug, k.Level, k.Origin, k.Role, k.Title)
	}
	return w.Flush()
}

func showCheck(env Env, k conformance.Check) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n%s\n\n", k.ID, k.Slug, k.Title)
	fmt.Fprintf(&b, "level     %s (%s)\nrole      %s\n", k.Level, k.Origin, k.Role)
	list := func(name string, values []string) {
		if len(values) > 0 {
			fmt.Fprintf(&b, "%-9s %s\n", name, strings.Join(values, ", "))
		}
	}
	var over []string
	for _, t := range k.Transports {
		over = append(over, string(t))
	}
	list("over", over)
	list("features", k.Features)
	list("depends", k.Depends)
	list("tags", k.Tags)
	b.WriteString("\nsources\n")
	for _, cl := range k.Clauses {
		fmt.Fprintf(&b, "  %s", cl.Name())
		if cl.URL != "" {
			fmt.Fprintf(&b, "\n    %s", cl.URL)
		}
		b.WriteByte('\n')
	}
	b.WriteString("\naccepts\n")
	for _, a := range k.Accept {
		fmt.Fprintf(&b, "  %-26s %-9s %s\n", a.Outcome, a.Verdict, a.Clause)
	}
	if len(k.Forbid) > 0 {
		b.WriteString("\nforbids\n")
		for _, o := range sortedOutcomes(k.Forbid) {
			fmt.Fprintf(&b, "  %-26s %s\n", o, k.Forbid[o])
		}
	}
	fmt.Fprintf(&b, "\n%s\n", k.Why)
	_, err := fmt.Fprint(env.Stdout, b.String())
	return err
}
