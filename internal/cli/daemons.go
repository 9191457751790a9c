package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/internal/lab"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func daemonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "the configuration `FILE`, YAML or JSON (required)"},
		&cli.StringFlag{Name: "ready", Usage: "write addresses to `FILE` once everything listens"},
	}
}

// readyFolder refuses a ready file that could not be written, before anything is started for it.
func readyFolder(file string) error {
	if file == "" {
		return nil
	}
	if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
		return usagef("--ready %s: there is no folder %s", file, filepath.Dir(file))
	}
	return nil
}

// sayer tells the operator something: as a plain line, as a log record where the log is for machines, not at all when quiet.
func sayer(c *cli.Context, env Env, log *slog.Logger) func(string, ...any) {
	return func(format string, args ...any) {
		switch {
		case c.String("log-format") == "json":
			log.Warn(fmt.Sprintf(format, args...)) // the default level must not hide it
		case !c.Bool("quiet"):
			fmt.Fprintf(env.Stderr, format+"\n", args...)
		}
	}
}

// daemonAction runs one component until a signal comes.
func daemonAction(env Env, run func(lab.Daemon, context.Context) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := noArguments(c); err != nil {
			return err
		}
		log, err := logger(c, env)
		if err != nil {
			return err
		}
		if c.String("config") == "" {
			return usagef("--config FILE is required")
		}
		if err := readyFolder(c.String("ready")); err != nil {
			return err
		}
		err = run(lab.Daemon{
			Config: c.String("config"), Ready: c.String("ready"), Logger: log, Hangup: env.Hangup,
			Say: sayer(c, env, log),
		}, c.Context)
		if _, ok := errors.AsType[*lab.ConfigError](err); ok {
			return withStatus(result.ExitUsage, err)
		}
		return withStatus(result.ExitInconclusive, listenHint(err))
	}
}

func routerCommand(env Env) *cli.Command {
	run := daemonAction(env, lab.Daemon.Router)
	return &cli.Command{
		Name:  "router",
		Usage: "run the reference router as a daemon (SIGHUP reloads, SIGTERM drains)",
		Flags: append(daemonFlags(), &cli.StringFlag{
			Name: "explain",
			Usage: "start nothing, and print which route takes this `HELLO` and why: sni=NAME,alpn=NAME+NAME, either left out = none, " +
				"alpn repeated or joined by + in the client's order; status 1 when it is refused by an alert",
		}),
		Action: func(c *cli.Context) error {
			if c.IsSet("explain") {
				return explain(c, env)
			}
			return run(c)
		},
	}
}

// explain asks the router's configuration about one ClientHello.
func explain(c *cli.Context, env Env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if c.String("config") == "" {
		return usagef("--config FILE is required")
	}
	sni, alpn, err := parseHello(c.String("explain"))
	if err != nil {
		return err
	}
	e, err := lab.Daemon{Config: c.String("config")}.Explain(sni, alpn)
	if err != nil {
		return withStatus(result.ExitUsage, err)
	}
	if _, err := fmt.Fprintf(env.Stdout, "to        %s\nconfirms  %s\nwhy       %s\n", e.To, e.Confirms, e.Why); err != nil {
		return withStatus(result.ExitInconclusive, err)
	}
	if e.Refused {
		return silent(result.ExitFailed)
	}
	return nil
}

// parseHello reads the value of --explain.
func parseHello(text string) (sni string, alpn []string, err error) {
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case ok && key == "sni" && sni == "":
			sni = value
		case ok && key == "alpn":
			for name := range strings.SplitSeq(value, "+") {
				if name != "" {
					alpn = append(alpn, name)
				}
			}
		default:
			return "", nil, usagef("--explain %s: want sni=NAME,alpn=NAME+NAME, such as sni=pg.example.com,alpn=postgresql", text)
		}
	}
	return sni, alpn, nil
}

func albCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:   "alb",
		Usage:  "run the load balancer simulator as a daemon",
		Flags:  daemonFlags(),
		Action: daemonAction(env, lab.Daemon.LoadBalancer),
	}
}

func serveCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "serve",
		Usage:     "bring the topology of a scenario up and keep it until a signal",
		ArgsUsage: "SCENARIO",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "ready", Usage: "write addresses, credentials and routes to `FILE` once everything listens"},
			&cli.StringFlag{Name: "backends", Value: "embedded", Usage: "embedded, local, container or auto"},
			&cli.StringFlag{Name: "only", Usage: "bring up one `ROLE` and what it needs: " + strings.Join(lab.Roles, ", ")},
			&cli.StringSliceFlag{Name: "set", Usage: "override one scenario value, `KEY=VALUE`"},
		},
		Action: func(c *cli.Context) error {
			log, err := logger(c, env)
			if err != nil {
				return err
			}
			if c.NArg() != 1 {
				return usagef("serve takes one scenario, such as scenarios/alb.yaml")
			}
			if err := lab.KnowsDriver(c.String("backends")); err != nil {
				return usagef("--backends: %w", err)
			}
			if only := c.String("only"); only != "" && !slices.Contains(lab.Roles, only) {
				return usagef("--only %s: want one of %s", only, strings.Join(lab.Roles, ", "))
			}
			if err := readyFolder(c.String("ready")); err != nil {
				return err
			}
			sc, err := loadScenario(c.Args().First(), c.StringSlice("set"), c.String("backends"))
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancelCause(c.Context)
			defer cancel(nil)
			l, err := lab.Start(ctx, sc, lab.Options{
				Backends: c.String("backends"), Only: c.String("only"), Logger: log, Failed: cancel,
			})
			if err != nil {
				return withStatus(result.ExitInconclusive, listenHint(err))
			}
			ready := l.Ready()
			file := c.String("ready")
			if file != "" {
				err = lab.WriteReady(file, ready)
				defer func() { _ = os.Remove(file) }() // what it says is no longer true
			}
			if err == nil {
				if file == "" && !c.Bool("quiet") {
					enc := json.NewEncoder(env.Stdout)
					enc.SetIndent("", "  ")
					err = enc.Encode(ready)
				}
				sayer(c, env, log)("serve: everything listens; stop with Ctrl-C")
				<-ctx.Done()
				if c.Context.Err() == nil {
					err = context.Cause(ctx)
				}
			}
			closing, closed := context.WithTimeout(context.WithoutCancel(c.Context), closeTime)
			defer closed()
			return withStatus(result.ExitInconclusive, errors.Join(err, l.Close(closing)))
		},
	}
}
