// Command tlsroute-bench tests and measures TLS routing through load balancers; see README.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/cli"
)

const patience = 3 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the run in good order, which takes a fraction of a second: until then an impatient second one
	// changes nothing. After patience the default handling is back, and the next one kills.
	context.AfterFunc(ctx, func() { time.AfterFunc(patience, stop) })
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	// A reader that has gone ("… | head") is an error of the write, not the end of the process in the middle of a run.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(cli.Main(ctx, cli.Env{
		Args: os.Args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Hangup: hangup, Signals: signals,
	}))
}

// signals listens for a command that was started. SIGQUIT is among them only here: by itself this process dumps its goroutines at it.
func signals() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 8)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	return c, func() { signal.Stop(c) }
}
