package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/internal/lab"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func proxyCommand(env Env) *cli.Command {
	kinds := []struct{ name, usage string }{
		{"db", "a local port for PostgreSQL and MySQL clients"},
		{"ssh", "a local port, or with --stdio a ProxyCommand, for ssh"},
		{"http", "a local port for HTTP/1.1 and h2c clients"},
		{"kube", "a local port for kubectl"},
	}
	command := &cli.Command{
		Name:  "proxy",
		Usage: "local ports for clients that cannot speak TLS routing: psql, mysql, ssh, kubectl, curl",
	}
	for _, kind := range kinds {
		command.Subcommands = append(command.Subcommands, &cli.Command{
			Name: kind.name, Usage: kind.usage, ArgsUsage: "[-- COMMAND ARG…]", Flags: proxyFlags(kind.name), Action: proxyAction(env),
		})
	}
	return command
}

func proxyFlags(kind string) []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "router", Usage: "`ADDR` of the router or of the load balancer before it; with --ready-from also its name there, such as alb (required)"},
		&cli.StringFlag{Name: "route", Usage: "`NAME` of the route in the file of --ready-from"},
		&cli.StringFlag{Name: "ready-from", Usage: "read routes, CAs and client certificate from the `FILE` that \"serve --ready FILE\" wrote; flags go before what it says"},
		&cli.StringFlag{Name: "sni", Usage: "server `NAME` of the route, in place of --route"},
		&cli.StringSliceFlag{Name: "alpn", Usage: "`PROTOCOL` to offer to the router, in place of --route"},
		&cli.StringFlag{Name: "listen", Value: "127.0.0.1:0", Usage: "the local `ADDR`; port 0 picks one. Whoever reaches it acts with your certificate"},
		&cli.BoolFlag{Name: "stdio", Usage: "carry one connection on standard input and output, as ssh's ProxyCommand"},
		&cli.StringFlag{Name: "ca", Usage: "PEM bundle `FILE` for outer and inner TLS (default: the system's)"},
		&cli.StringFlag{Name: "outer-ca", Usage: "PEM bundle `FILE` for the load balancer"},
		&cli.StringFlag{Name: "inner-ca", Usage: "PEM bundle `FILE` for the router"},
		&cli.StringFlag{Name: "cert", Usage: "client certificate `FILE`, shown to the router"},
		&cli.StringFlag{Name: "key", Usage: "its key `FILE`"},
		&cli.StringFlag{Name: "upgrade", Value: "auto", Usage: strings.Join(lab.Upgrades(), ", ")},
		&cli.StringFlag{Name: "path", Usage: "`PATH` of the upgrade endpoint (default: /webapi/connectionupgrade)"},
		&cli.BoolFlag{Name: "exec", Usage: "start the command behind -- with the port in its environment, and end with it"},
	}
	if kind == "db" {
		flags = append(flags,
			&cli.StringFlag{Name: "local-cert", Usage: "certificate `FILE` for clients that want TLS on the local port, where it ends (default: one made now, that nobody vouches for)"},
			&cli.StringFlag{Name: "local-key", Usage: "its key `FILE`"})
	}
	return flags
}

func proxyAction(env Env) cli.ActionFunc {
	return func(c *cli.Context) error {
		words, err := behindDashes(c, env.Args)
		if err != nil {
			return err
		}
		log, err := logger(c, env)
		if err != nil {
			return err
		}
		p := lab.Proxy{
			Kind: c.Command.Name, Router: c.String("router"), Ready: c.String("ready-from"), Route: c.String("route"),
			SNI: c.String("sni"), ALPN: list(c, "alpn"), OuterCA: c.String("outer-ca"), InnerCA: c.String("inner-ca"),
			Cert: c.String("cert"), Key: c.String("key"), LocalCert: c.String("local-cert"), LocalKey: c.String("local-key"),
			Upgrade: c.String("upgrade"), UpgradePath: c.String("path"), Listen: c.String("listen"), Stdio: c.Bool("stdio"), Exec: words,
			Stdin: env.Stdin, Stdout: env.Stdout, Stderr: env.Stderr, Say: sayer(c, env, log), Warn: warner(c, env, log),
		}
		if ca := c.String("ca"); ca != "" {
			if p.OuterCA != "" || p.InnerCA != "" {
				return usagef("--ca is outer and inner CA in one: give it, or --outer-ca and --inner-ca")
			}
			p.OuterCA, p.InnerCA = ca, ca
		}
		if err := checkProxy(c, p); err != nil {
			return err
		}
		if len(words) > 0 {
			signals, stop := env.Signals()
			defer stop()
			p.Signals = signals
		}
		return proxyStatus(p.Run(c.Context))
	}
}

// checkProxy refuses what cannot be meant, before anything is started.
func checkProxy(c *cli.Context, p lab.Proxy) error {
	switch {
	case p.Router == "":
		return usagef("--router ADDR is required")
	case p.Route == "" && p.SNI == "" && len(p.ALPN) == 0:
		return usagef("which route? give --route NAME with --ready-from FILE, or --sni and --alpn")
	case p.Route != "" && p.Ready == "":
		return usagef("--route %s is a name in the file that \"serve --ready FILE\" wrote: give it with --ready-from FILE, or give --sni and --alpn", p.Route)
	case p.Stdio && (c.IsSet("listen") || len(p.Exec) > 0):
		return usagef("--stdio goes with neither --listen nor a command")
	case (p.Cert == "") != (p.Key == ""):
		return usagef("--cert and --key go together")
	case (p.LocalCert == "") != (p.LocalKey == ""):
		return usagef("--local-cert and --local-key go together")
	case !slices.Contains(lab.Upgrades(), p.Upgrade):
		return usagef("--upgrade %s: want one of %s", p.Upgrade, strings.Join(lab.Upgrades(), ", "))
	}
	if len(p.Exec) > 0 {
		if _, err := exec.LookPath(p.Exec[0]); err != nil {
			return usagef("--exec: %w", err)
		}
	}
	return nil
}

// behindDashes returns the words behind "--", the command to start. There may be no others.
func behindDashes(c *cli.Context, args []string) ([]string, error) {
	words := c.Args().Slice()
	dashes := slices.Index(args, "--")
	switch {
	case dashes < 0 && len(words) > 0, dashes >= 0 && len(words) != len(args)-dashes-1:
		return nil, usagef("proxy %s takes no argument, but got %q; a command to start goes behind --", c.Command.Name, words[0])
	case c.Bool("exec") && len(words) == 0:
		return nil, usagef("--exec wants a command behind --, such as -- psql")
	}
	return words, nil
}

// warner tells of connections that failed; unlike sayer, also when quiet.
func warner(c *cli.Context, env Env, log *slog.Logger) func(string, ...any) {
	return func(format string, args ...any) {
		if c.String("log-format") == "json" {
			log.Warn(fmt.Sprintf(format, args...))
			return
		}
		fmt.Fprintf(env.Stderr, format+"\n", args...)
	}
}

// proxyStatus is the started command's own status, as a shell counts it.
func proxyStatus(err error) error {
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return silent(128 + int(status.Signal()))
		}
		return silent(ended.ExitCode())
	}
	if _, ok := errors.AsType[*lab.ConfigError](err); ok {
		return withStatus(result.ExitUsage, err)
	}
	return withStatus(result.ExitInconclusive, listenHint(err))
}
