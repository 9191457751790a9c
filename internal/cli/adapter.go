package cli

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/internal/lab/ours"
	"github.com/tlsroute/tlsroute-bench/internal/stranger"
)

// strangers reads the target files of --target.
func strangers(args []string) (map[string]*stranger.File, error) {
	files := map[string]*stranger.File{}
	for _, arg := range args {
		role, file, ok := strings.Cut(arg, "=")
		switch conformance.Role(role) {
		case conformance.Router, conformance.Client, conformance.LoadBalancer:
		default:
			ok = false
		}
		if !ok || file == "" {
			return nil, usagef("--target %s: want router=FILE, client=FILE or lb=FILE", arg)
		}
		f, err := stranger.Load(file)
		if err != nil {
			return nil, usagef("--target %s: %w", arg, err)
		}
		if f.Role != role {
			return nil, usagef("--target %s: the file describes a target of the role %s", arg, f.Role)
		}
		if files[role] != nil {
			return nil, usagef("--target: two files for the role %s", role)
		}
		files[role] = f
	}
	return files, nil
}

func adapterCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "adapter",
		Usage:     "put our router, client or load balancer to the checks as a stranger's: one verb, JSON on standard input and output",
		ArgsUsage: "router|client|lb",
		Action: func(c *cli.Context) error {
			// Not os.Executable: a program may go by several names, and does what its name says.
			program, err := exec.LookPath(env.Args[0])
			if err == nil {
				program, err = filepath.Abs(program)
			}
			if err != nil {
				return err
			}
			h := map[string]door.Handler{"router": ours.RouterAdapter(program), "client": ours.ClientAdapter(), "lb": ours.BalancerAdapter(program)}[c.Args().First()]
			if h == nil || c.NArg() != 1 {
				return usagef("adapter needs a role: router, client or lb")
			}
			if err := door.Serve(c.Context, env.Stdin, env.Stdout, h); err != nil {
				return fmt.Errorf("adapter: %w", err)
			}
			return nil
		},
	}
}
