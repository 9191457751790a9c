package cli

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/lab"
	"github.com/tlsroute/tlsroute-bench/internal/progress"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/internal/stranger"
	"github.com/tlsroute/tlsroute-bench/reports"
)

// closeTime bounds the taking down of a lab, whatever state it is in.
const closeTime = 20 * time.Second

func runCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "bring a topology up, check, measure, report, judge",
		ArgsUsage: "SCENARIO...",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "write the report to `DIR` (default reports/out/<scenario>-<time>)"},
			&cli.StringFlag{Name: "backends", Value: "embedded", Usage: "embedded, local, container or auto: the most real driver that works here"},
			&cli.StringSliceFlag{Name: "only", Usage: "run the checks that match `GLOB` only (id or slug)"},
			&cli.StringSliceFlag{Name: "skip", Usage: "leave out the checks that match `GLOB`"},
			&cli.StringSliceFlag{Name: "tag", Usage: "run the checks with this `TAG` only"},
			&cli.StringSliceFlag{Name: "level", Usage: "run the checks of this `LEVEL` only: MUST, SHOULD, MAY, INFO"},
			&cli.StringSliceFlag{Name: "set", Usage: "override one scenario value, `KEY=VALUE`, such as bench.pairs=20"},
			&cli.StringSliceFlag{Name: "target", Usage: "judge a stranger in the role router, client or lb, `ROLE=FILE`, and nothing of ours; measures nothing"},
			&cli.Int64Flag{Name: "under-load", Usage: "judge routers while `N` other tunnels carry traffic (default: the scenario's conformance.under_load)"},
			&cli.BoolFlag{Name: "no-bench", Usage: "check only"},
			&cli.BoolFlag{Name: "no-conformance", Usage: "measure only"},
			&cli.Int64Flag{Name: "seed", Usage: "repeat the random choices of an earlier run"},
			&cli.IntFlag{Name: "parallel", Usage: "let `N` checks work side by side (default one a processor, and one more)"},
			&cli.StringFlag{Name: "baseline", Usage: "expect the failures listed in `FILE`, and fail when one of them passes; or compare the measurement with an earlier report.json"},
			&cli.StringFlag{Name: "rerun-failed", Usage: "run only the checks that did not pass in an earlier `REPORT`, a report.json or the folder it is in"},
			&cli.BoolFlag{Name: "fail-on-flake", Usage: "end with status 5 when checks were flaky and nothing else is wrong"},
			&cli.StringFlag{Name: "format", Value: "text", Usage: "what to print on standard output: text, json, github, test2json, tap, …"},
			&cli.BoolFlag{Name: "capture", Usage: "leave capture/PATH.HOP.pcapng with the TLS secrets for every hop, and capture/timeline.json; needs root or CAP_NET_RAW"},
			&cli.StringFlag{Name: "live", Usage: "show the report at http://`ADDR`/ while the run goes on, such as 127.0.0.1:8080; ends with the run"},
			&cli.StringFlag{Name: "evidence", Value: "failed", Usage: "keep evidence for failed or all checks"},
		},
		Action: func(c *cli.Context) (err error) {
			o, err := runOptions(c, env)
			if err != nil {
				return err
			}
			// Every scenario is read before anything is started.
			var list []*scenario.Scenario
			names := map[string]bool{}
			for _, file := range c.Args().Slice() {
				sc, err := loadScenario(file, c.StringSlice("set"), c.String("backends"))
				if err != nil {
					return err
				}
				if names[sc.Name] {
					return usagef("two of the scenarios are called %q: their reports would overwrite each other", sc.Name)
				}
				names[sc.Name] = true
				list = append(list, sc)
			}
			if addr := c.String("live"); addr != "" {
				if err := o.startLive(addr); err != nil {
					return err
				}
				defer func() { err = errors.Join(err, o.live.close()) }()
			}
			worst := result.ExitOK
			for _, sc := range list {
				status, err := o.run(c.Context, sc, len(list) > 1)
				if err != nil {
					return err
				}
				worst = worse(worst, status)
				if c.Context.Err() != nil {
					break
				}
			}
			if worst == result.ExitOK {
				return nil
			}
			return silent(worst)
		},
	}
}

// worse keeps the status that says more: a failure before anything inconclusive before nothing executed.
func worse(a, b int) int {
	order := []int{result.ExitOK, result.ExitFlaky, result.ExitNothing, result.ExitInconclusive, result.ExitFailed}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// runner is one "run" with its options.
type runner struct {
	env      Env
	log      *slog.Logger
	quiet    bool
	out      string
	backends string
	checks   conformance.Options
	noBench  bool
	capture  bool
	noChecks bool
	noFlakes bool
	// strangers are judged in place of ours, by role.
	strangers map[string]*stranger.File
	earlier   *result.Run // that the measurement is compared with; nil for none
	format    reports.Format
	live      *live // nil without --live
}

func runOptions(c *cli.Context, env Env) (*runner, error) {
	o := &runner{
		env: env, quiet: c.Bool("quiet") || c.String("log-format") == "json", out: c.String("out"), backends: c.String("backends"),
		capture: c.Bool("capture"), noBench: c.Bool("no-bench"), noChecks: c.Bool("no-conformance"), noFlakes: c.Bool("fail-on-flake"),
		checks: conformance.Options{
			Only: list(c, "only"), Skip: list(c, "skip"), Tags: list(c, "tag"), Levels: list(c, "level"),
			Seed: c.Int64("seed"), Parallel: c.Int("parallel"), Background: int(c.Int64("under-load")),
		},
	}
	var err error
	if o.log, err = logger(c, env); err != nil {
		return nil, err
	}
	if c.NArg() == 0 {
		return nil, usagef("run needs a scenario, such as scenarios/alb.yaml")
	}
	if o.checks.Parallel < 0 {
		return nil, usagef("--parallel %d: want 1 or more, or 0 for one a processor and one more", o.checks.Parallel)
	}
	if err := lab.KnowsDriver(o.backends); err != nil {
		return nil, usagef("--backends: %w", err)
	}
	if o.format, err = reports.Get(c.String("format")); err != nil {
		return nil, usagef("--format: %w", err)
	}
	switch c.String("evidence") {
	case "failed":
	case "all":
		o.checks.EvidenceAll = true
	default:
		return nil, usagef("--evidence %s: want failed or all", c.String("evidence"))
	}
	if o.strangers, err = strangers(c.StringSlice("target")); err != nil {
		return nil, err
	}
	if o.noChecks && len(o.strangers) > 0 {
		return nil, usagef("--target is for the checks, and --no-conformance leaves them out")
	}
	if !c.IsSet("seed") {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return nil, err
		}
		o.checks.Seed = int64(binary.BigEndian.Uint64(b[:]) >> 33)
	}
	if err := o.choose(c); err != nil {
		return nil, err
	}
	return o, nil
}

// choose reads what other files say of the checks, and looks whether any is left.
func (o *runner) choose(c *cli.Context) (err error) {
	if o.checks.Known, err = o.baselines(c.String("baseline")); err != nil {
		return err
	}
	if file := c.String("rerun-failed"); file != "" {
		if o.checks.Again, err = failedIn(file); err != nil {
			return err
		}
	}
	left, err := conformance.Select(o.checks)
	switch {
	case err != nil:
		return withStatus(result.ExitUsage, err)
	case len(left) > 0 || o.noChecks:
		return nil
	case o.checks.Again != nil && len(o.checks.Again) == 0:
		return withStatus(result.ExitNothing, fmt.Errorf("--rerun-failed %s: every check of that report passed; nothing was executed", c.String("rerun-failed")))
	}
	return withStatus(result.ExitNothing, errors.New("--only, --skip, --tag, --level and --rerun-failed leave no check; nothing was executed. Give --no-conformance if that is meant"))
}

// run does one scenario: topology, wire, checks, load, reports. The status is that of the verdict; an error means that not
// even a report could be written.
func (o *runner) run(ctx context.Context, sc *scenario.Scenario, several bool) (int, error) {
	started := time.Now().UTC()
	dir := o.out
	switch {
	case dir == "":
		dir = filepath.Join("reports", "out", sc.Name+"-"+started.Format("20060102-150405"))
	case several:
		dir = filepath.Join(dir, sc.Name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, withStatus(result.ExitInconclusive, fmt.Errorf("output folder: %w", err))
	}
	begun := result.Run{
		Schema: result.Schema, FailOnFlake: o.noFlakes,
		Run: result.Info{
			ID: newID(), Started: started, Seed: o.checks.Seed, Host: host(), Command: o.command(),
		},
		Scenario: result.Scenario{Name: sc.Name, File: sc.File, SHA256: sc.SHA256, Description: sc.Description},
	}
	begun.Run.Version, begun.Run.Commit = build()
	growing := result.NewGrowing(begun)
	finish := o.live.show(growing)
	p := progress.New(o.env.Stderr, progress.Options{TTY: isTerminal(o.env.Stderr), Quiet: o.quiet})
	err := o.execute(ctx, sc, growing, dir, p)
	p.Close()
	r := growing.Copy()
	r.Run.Finished = time.Now().UTC()
	r.Partial = ctx.Err() != nil
	status := r.Judge()
	if err != nil {
		// Trouble of our own: what was found before it is reported, but the run cannot pass.
		r.Reasons = append(r.Reasons, short(err.Error()))
		if status != result.ExitFailed {
			r.Verdict, status = result.Inconclusive, result.ExitInconclusive
		}
		fmt.Fprintf(o.env.Stderr, "tlsroute-bench: %v\n", err)
	}
	if err := errors.Join(writeReports(r, dir), o.format.Write(o.env.Stdout, r)); err != nil {
		return 0, withStatus(result.ExitInconclusive, err)
	}
	if !o.quiet {
		fmt.Fprintf(o.env.Stderr, "report: %s\n", filepath.Join(dir, "report.html"))
	}
	if err := finish(ctx, r); err != nil {
		return 0, withStatus(result.ExitInconclusive, fmt.Errorf("--live: %w", err))
	}
	return status, nil
}

// short is the first line of a message, and no more of it than a reason should have; the whole is on standard error.
func short(message string) string {
	const most = 300
	line, _, cut := strings.Cut(message, "\n")
	if len(line) > most {
		line, cut = strings.ToValidUTF8(line[:most], ""), true
	}
	if cut {
		line += " …"
	}
	return line
}

// command is the command line that does the same again, the seed included.
func (o *runner) command() []string {
	words := append([]string{"tlsroute-bench"}, o.env.Args[1:]...)
	if !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "--seed") }) {
		words = append(words, "--seed", fmt.Sprint(o.checks.Seed))
	}
	return words
}

func newID() string {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("cli: no randomness: " + err.Error()) // crypto/rand never fails on supported systems
	}
	return hex.EncodeToString(b[:])
}
