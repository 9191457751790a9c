package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/internal/lab"
)

// backendCommand is for the containers of our own backends, which are this program. Nobody else needs it.
func backendCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:   "backend",
		Usage:  "serve as one backend of our own, until a signal",
		Hidden: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "kind", Usage: "witness, http or kube"},
			&cli.StringFlag{Name: "name", Usage: "its `NAME` in the scenario"},
			&cli.StringFlag{Name: "listen", Usage: "where clients go, `HOST:PORT`"},
			&cli.StringFlag{Name: "admin", Usage: "where it says what it is and what it has seen, `HOST:PORT`"},
			&cli.StringFlag{Name: "cert", Usage: "certificate `FILE` of the server, PEM"},
			&cli.StringFlag{Name: "key", Usage: "its key `FILE`, PEM"},
			&cli.StringFlag{Name: "client-ca", Usage: "`FILE` with the authority of client certificates, PEM"},
		},
		Action: func(c *cli.Context) error {
			log, err := logger(c, env)
			if err != nil {
				return err
			}
			if err := noArguments(c); err != nil {
				return err
			}
			for _, name := range []string{"kind", "listen", "admin"} {
				if c.String(name) == "" {
					return usagef("backend needs --%s", name)
				}
			}
			return lab.OwnBackend{
				Kind: c.String("kind"), Name: c.String("name"), Listen: c.String("listen"), Admin: c.String("admin"),
				Cert: c.String("cert"), Key: c.String("key"), ClientCA: c.String("client-ca"), Logger: log,
			}.Serve(c.Context)
		},
	}
}
