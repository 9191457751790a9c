package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func checksCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "checks",
		Usage: "the catalogue of conformance checks, with sources",
		Subcommands: []*cli.Command{
			{
				Name:  "list",
				Usage: "list the checks, one a line, by role and level",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "role", Usage: "only those of this `ROLE`: router, client or lb"},
					&cli.StringSliceFlag{Name: "level", Usage: "only those of this `LEVEL`: MUST, SHOULD, MAY, INFO"},
					&cli.BoolFlag{Name: "features", Usage: "list the names of features that targets may claim instead"},
					&cli.BoolFlag{Name: "untestable", Usage: "list what no check is made of, and why, instead"},
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
					return showChecks(env, c.Args().First(), c.String("in"))
				},
			},
			strengthCommand(env),
		},
	}
}

// roles and levels in the order in which checks are listed.
var (
	roles  = []conformance.Role{conformance.Router, conformance.Client, conformance.LoadBalancer}
	levels = []conformance.Level{conformance.Must, conformance.Should, conformance.May, conformance.Info}
)

func listChecks(c *cli.Context, env Env) error {
	format, role := c.String("format"), conformance.Role(c.String("role"))
	switch {
	case format != "text" && format != "json":
		return usagef("--format %s: want text or json", format)
	case role != "" && !slices.Contains(roles, role):
		return usagef("--role %s: want router, client or lb", role)
	case c.Bool("untestable") && (c.Bool("features") || c.IsSet("role") || c.IsSet("level")):
		return usagef("--untestable lists what is no check, all of it: leave --features, --role and --level away")
	}
	checks, err := conformance.Select(conformance.Options{Levels: list(c, "level")})
	if err != nil {
		return withStatus(result.ExitUsage, err)
	}
	checks = slices.DeleteFunc(checks, func(k conformance.Check) bool { return role != "" && k.Role != role })
	var rows any
	var text strings.Builder
	switch {
	case c.Bool("features"):
		rows = featuresOf(&text, checks)
	case c.Bool("untestable"):
		rows, err = untestables(&text)
	default:
		rows, err = checkRows(&text, checks)
	}
	if err != nil {
		return err
	}
	if format == "json" {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	_, err = fmt.Fprint(env.Stdout, text.String())
	return err
}

// featuresOf are the features that any of the checks asks for.
func featuresOf(text *strings.Builder, checks []conformance.Check) []string {
	names := []string{}
	for _, k := range checks {
		names = append(names, k.Features...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, f := range names {
		fmt.Fprintln(text, f)
	}
	return names
}

func untestables(text *strings.Builder) ([]conformance.Untestable, error) {
	w := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	for _, u := range conformance.Untestables() {
		fmt.Fprintf(w, "%s\t%s\n", u.ID, u.Reason)
	}
	return conformance.Untestables(), w.Flush()
}

// checkRow is a check in the list, for a program.
type checkRow struct {
	ID         string   `json:"id"`
	Slug       string   `json:"slug"`
	Level      string   `json:"level"`
	Origin     string   `json:"origin"`
	Role       string   `json:"role"`
	Title      string   `json:"title"`
	Transports []string `json:"transports"`
	Features   []string `json:"features"`
	Depends    []string `json:"depends"`
	Tags       []string `json:"tags"`
	// Setup says that the check is put to an instance of its own, or starts some, which a target that runs already cannot give.
	Setup     bool   `json:"setup"`
	TimeLimit string `json:"time_limit"`
}

// checkRows lists the checks by role and level; in text, each role begins with how many there are of what.
func checkRows(text *strings.Builder, checks []conformance.Check) ([]checkRow, error) {
	rows := []checkRow{}
	w := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	for _, role := range roles {
		var of []conformance.Check
		var counts []string
		policies := 0
		for _, level := range levels {
			n := len(of)
			for _, k := range checks {
				if k.Role == role && k.Level == level {
					of = append(of, k)
				}
				if k.Role == role && k.Level == level && k.Origin == conformance.Policy {
					policies++
				}
			}
			if len(of) > n {
				counts = append(counts, fmt.Sprintf("%d %s", len(of)-n, level))
			}
		}
		if len(of) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s: %s (%s), %d of them by this suite's own policy\n", role, plural(len(of), "check"), strings.Join(counts, ", "), policies)
		for _, k := range of {
			rows = append(rows, checkRow{
				ID: k.ID, Slug: k.Slug, Level: string(k.Level), Origin: string(k.Origin), Role: string(role), Title: k.Title, Transports: words(k.Transports),
				Features: words(k.Features), Depends: words(k.Depends), Tags: words(k.Tags), Setup: k.Instance() != "", TimeLimit: k.TimeLimit().String(),
			})
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Slug, k.Level, k.Origin, role, k.Title)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s in all; checks show ID tells all of one, and checks list --untestable what none is made of\n", plural(len(rows), "check"))
	return rows, w.Flush()
}

// words are names as plain strings; an empty list is one, and not null.
func words[S ~string](names []S) []string {
	list := make([]string, 0, len(names))
	for _, s := range names {
		list = append(list, string(s))
	}
	return list
}
