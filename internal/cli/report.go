package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/reports"
)

func reportCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:        "report",
		Usage:       "work with the reports of earlier runs",
		Subcommands: []*cli.Command{showCommand(env), compareCommand(env), reportMergeCommand(env), serveReportsCommand(env)},
	}
}

func showCommand(env Env) *cli.Command {
	var names []string
	for _, f := range reports.Formats() {
		names = append(names, f.Name)
	}
	return &cli.Command{
		Name:      "show",
		Usage:     "print a stored report in any format",
		ArgsUsage: "report.json|DIR",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: "text", Usage: strings.Join(names, ", ")},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("report show takes one report.json or the folder it is in")
			}
			format, err := reports.Get(c.String("format"))
			if err != nil {
				return usagef("--format: %w", err)
			}
			run, err := readReport(c.Args().First())
			if err != nil {
				return withStatus(result.ExitUsage, err)
			}
			if format.Name == "text" && isTerminal(env.Stdout) && os.Getenv("NO_COLOR") == "" {
				return reports.WriteText(env.Stdout, run, true)
			}
			return format.Write(env.Stdout, run)
		},
	}
}

func readReport(file string) (_ *result.Run, err error) {
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		file = filepath.Join(file, "report.json")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	run, err := reports.Read(f)
	if err != nil {
		return nil, fmt.Errorf("report %s: %w", file, err)
	}
	return run, nil
}

func sortedOutcomes(m map[conformance.Outcome]string) []conformance.Outcome {
	return slices.Sorted(maps.Keys(m))
}
