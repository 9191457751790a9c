// Package cli is the command line: subcommands, flags, and what becomes of errors. It joins the rooms for each command and
// knows nothing that they do not tell it. urfave/cli is imported here only.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Env is what a command may use of the process.
type Env struct {
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Hangup asks a daemon to read its configuration again.
	Hangup <-chan os.Signal
	// Signals gives, from now until stop is called, each signal that a command which was started is to get.
	Signals func() (signals <-chan os.Signal, stop func())
}

// statusError is an error with the exit status it stands for.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &statusError{result.ExitUsage, fmt.Errorf(format, args...)}
}

// withStatus gives an error the exit status it stands for; nil stays nil.
func withStatus(status int, err error) error {
	if err == nil {
		return nil
	}
	return &statusError{status, err}
}

// silent is an exit status without a message: the report has said it all.
func silent(status int) error { return &statusError{status, errSilent} }

var errSilent = errors.New("")

// Main runs one command line and returns the exit status of DESIGN.md section 4.
func Main(ctx context.Context, env Env) int {
	app := newApp(env)
	err := app.RunContext(ctx, permute(app, env.Args))
	if err == nil {
		return result.ExitOK
	}
	status := result.ExitInconclusive
	if s, ok := errors.AsType[*statusError](err); ok {
		status = s.status
	}
	if !errors.Is(err, errSilent) {
		fmt.Fprintf(env.Stderr, "tlsroute-bench: %v\n", err)
	}
	return status
}

func newApp(env Env) *cli.App {
	app := &cli.App{
		Name:                 "tlsroute-bench",
		Usage:                "test and measure TLS routing through load balancers",
		HideVersion:          true,
		EnableBashCompletion: true,
		Suggest:              true,
		// The value of --set is YAML and may hold commas; lists of globs are taken apart by list.
		DisableSliceFlagSeparator: true,
		Reader:                    env.Stdin,
		Writer:                    env.Stdout,
		ErrWriter:                 env.Stderr,
		Flags:                     commonFlags(),
		ExitErrHandler:            func(*cli.Context, error) {}, // Main decides
		OnUsageError:              usageError,
		Commands: []*cli.Command{
			runCommand(env), agentCommand(env), serveCommand(env), routerCommand(env), albCommand(env), probeCommand(env), proxyCommand(env), adapterCommand(env), backendCommand(env),
			checksCommand(env), reportCommand(env), completionCommand(env), versionCommand(env),
		},
		Action: func(c *cli.Context) error {
			if name := c.Args().First(); name != "" {
				return usagef("there is no command %q: see tlsroute-bench --help", name)
			}
			return cli.ShowAppHelp(c)
		},
	}
	prepare(env, app.Commands)
	for _, f := range app.Flags {
		fromEnvironment(f)
	}
	return app
}

func usageError(_ *cli.Context, err error, _ bool) error {
	return usagef("%w: see --help", err)
}

// prepare gives every command the common flags, the environment and our handling of faults.
func prepare(env Env, commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = usageError
		if len(c.Subcommands) > 0 {
			prepare(env, c.Subcommands)
			c.Action = needSubcommand(c)
			continue
		}
		if c.Name != "router" { // which reads its configuration again
			c.Action = endedByHangup(env, c.Action)
		}
		c.Flags = append(c.Flags, commonFlags()...)
		for _, f := range c.Flags {
			fromEnvironment(f)
		}
	}
}

// endedByHangup ends a command in good order when its terminal goes away.
func endedByHangup(env Env, action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		ctx, cancel := context.WithCancel(c.Context)
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			select {
			case <-env.Hangup:
				cancel()
			case <-ctx.Done():
			}
		}()
		c.Context = ctx
		err := action(c)
		cancel()
		<-watched
		return err
	}
}

func needSubcommand(c *cli.Command) cli.ActionFunc {
	var names []string
	for _, sub := range c.Subcommands {
		names = append(names, sub.Name)
	}
	return func(ctx *cli.Context) error {
		if name := ctx.Args().First(); name != "" {
			return usagef("%s has no subcommand %q: there are %s", c.Name, name, strings.Join(names, ", "))
		}
		return usagef("%s needs a subcommand: %s", c.Name, strings.Join(names, ", "))
	}
}

func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "quiet", Usage: "print results and errors only"},
		&cli.StringFlag{Name: "log-level", Value: "warn", Usage: "debug, info, warn or error"},
		&cli.StringFlag{Name: "log-format", Value: "text", Usage: "text or json"},
	}
}

// fromEnvironment lets every flag be set as TLSROUTE_NAME.
func fromEnvironment(f cli.Flag) {
	name := "TLSROUTE_" + strings.ToUpper(strings.ReplaceAll(f.Names()[0], "-", "_"))
	switch f := f.(type) {
	case *cli.StringFlag:
		f.EnvVars = []string{name}
	case *cli.BoolFlag:
		f.EnvVars = []string{name}
	case *cli.IntFlag:
		f.EnvVars = []string{name}
	case *cli.Int64Flag:
		f.EnvVars = []string{name}
	case *cli.StringSliceFlag:
		f.EnvVars = []string{name}
	case *cli.DurationFlag:
		f.EnvVars = []string{name}
	default:
		panic(fmt.Sprintf("cli: flag %s has a type that the environment does not know", name))
	}
}

// logger writes to standard error as the common flags say.
func logger(c *cli.Context, env Env) (*slog.Logger, error) {
	var level slog.Level
	if c.Bool("quiet") && !c.IsSet("log-level") {
		level = slog.LevelError
	} else if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, usagef("--log-level %s: want debug, info, warn or error", c.String("log-level"))
	}
	opt := &slog.HandlerOptions{Level: level}
	switch format := c.String("log-format"); format {
	case "text":
		return slog.New(slog.NewTextHandler(env.Stderr, opt)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(env.Stderr, opt)), nil
	default:
		return nil, usagef("--log-format %s: want text or json", format)
	}
}

// list returns the values of a flag that may be given several times or as a list with commas.
func list(c *cli.Context, name string) []string {
	var values []string
	for _, v := range c.StringSlice(name) {
		values = append(values, strings.Split(v, ",")...)
	}
	return values
}

// noArguments refuses what a command does not take.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("%s takes no argument, but got %q", c.Command.Name, c.Args().First())
	}
	return nil
}
