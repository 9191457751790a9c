package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/strength"
	"github.com/tlsroute/tlsroute-bench/internal/lab"
	"github.com/tlsroute/tlsroute-bench/internal/progress"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// strengthCommand is a subcommand of checks and no flag of run: it is the checks that are judged, and there is no report of the target.
func strengthCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "strength",
		Usage:     "put faults before a router and see which checks notice",
		ArgsUsage: "[SCENARIO]",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "target", Usage: "the router behind the faults, `router=FILE`"},
			&cli.StringSliceFlag{Name: "fault", Usage: "put the faults that match `GLOB` only"},
			&cli.BoolFlag{Name: "all-checks", Usage: "run every check of a router with each fault, and list the others that notice too; takes long"},
			&cli.Int64Flag{Name: "seed", Usage: "repeat the random choices of an earlier run"},
			&cli.StringFlag{Name: "format", Value: "text", Usage: "text or json"},
		},
		Action: func(c *cli.Context) error {
			files, err := strangers(c.StringSlice("target"))
			if err != nil {
				return err
			}
			format := c.String("format")
			switch {
			case len(files) != 1 || files[string(conformance.Router)] == nil:
				return usagef("checks strength needs a router: --target router=FILE")
			case format != "text" && format != "json":
				return usagef("--format %s: want text or json", format)
			case c.NArg() > 1:
				return usagef("checks strength takes one scenario, such as alb")
			}
			opt := strength.Options{All: c.Bool("all-checks"), Checks: conformance.Options{Seed: c.Int64("seed")}}
			if opt.Faults, err = strength.Select(list(c, "fault")); err != nil {
				return usagef("--fault: %w", err)
			}
			if opt.Checks.Logger, err = logger(c, env); err != nil {
				return err
			}
			name := "alb"
			if c.NArg() == 1 {
				name = c.Args().First()
			}
			sc, err := loadScenario(name, nil, "")
			if err != nil {
				return err
			}
			p := progress.New(env.Stderr, progress.Options{TTY: isTerminal(env.Stderr), Quiet: c.Bool("quiet") || c.String("log-format") == "json"})
			report, err := measureStrength(c.Context, sc, lab.Options{Conformance: true, Strangers: files, Logger: opt.Checks.Logger}, opt, p)
			p.Close()
			if report != nil {
				write := report.WriteText
				if format == "json" {
					write = report.WriteJSON
				}
				err = errors.Join(err, write(env.Stdout))
			}
			if err != nil {
				return withStatus(result.ExitInconclusive, err)
			}
			return strengthStatus(report)
		},
	}
}

func strengthStatus(r *strength.Report) error {
	switch _, _, none, unmeasured := r.Count(); {
	case none > 0:
		return silent(result.ExitFailed)
	case unmeasured == len(r.Rows):
		return withStatus(result.ExitNothing, fmt.Errorf("nothing was measured: %s passes none of the checks without a fault. See tlsroute-bench run", r.Target))
	}
	return nil
}

// measureStrength brings the target up, and puts the faults before it.
func measureStrength(ctx context.Context, sc *scenario.Scenario, at lab.Options, opt strength.Options, p *progress.Progress) (report *strength.Report, err error) {
	step := p.Step("topology", 0)
	at.Step = step.Note
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	at.Failed = cancel
	l, err := lab.Start(ctx, sc, at)
	step.Done()
	if err != nil {
		return nil, listenHint(err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		err = errors.Join(err, l.Close(closing))
	}()
	targets, err := l.Targets("")
	if err != nil {
		return nil, err
	}
	step = p.Step("faults", len(opt.Faults))
	defer step.Done()
	opt.Progress = func(_, _ int, last strength.Row) {
		step.Add(1)
		if last.Unnoticed() {
			step.Note("nothing notices " + last.Fault.Name)
		}
	}
	return strength.Run(ctx, targets[0], opt)
}
