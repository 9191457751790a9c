package cli

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/internal/reportserver"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func serveReportsCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "serve",
		Usage:     "show a folder of runs in a browser, until a signal",
		ArgsUsage: "DIR",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:0", Usage: "listen on `ADDR`; there is no login, so leave it on this machine"},
		},
		Action: func(c *cli.Context) (err error) {
			if c.NArg() != 1 {
				return usagef("report serve takes one folder, such as reports/out")
			}
			folder, err := reportserver.OpenFolder(c.Args().First(), against)
			if err != nil {
				return withStatus(result.ExitUsage, err)
			}
			defer func() { err = errors.Join(err, folder.Close()) }()
			l, names, err := listenForPages(c.String("listen"))
			if err != nil {
				return usagef("--listen: %w", err)
			}
			s := reportserver.Start(l, folder, names...)
			fmt.Fprintln(env.Stdout, s.URL())
			select {
			case <-c.Context.Done():
			case <-s.Ended():
				return withStatus(result.ExitInconclusive, errors.Join(errors.New("report serve: the server ended by itself"), s.Close()))
			}
			return s.Close()
		},
	}
}

// listenForPages listens, and says under which name besides its addresses the user means to reach it.
func listenForPages(addr string) (net.Listener, []string, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, listenHint(err)
	}
	names := []string{host}
	if own, err := os.Hostname(); err == nil && !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		names = append(names, own)
	}
	return l, names, nil
}
