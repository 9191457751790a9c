package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/tlsroute/tlsroute-bench/internal/lab"
	"github.com/tlsroute/tlsroute-bench/internal/process"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/shard"
)

// runLocal brings the topology up, starts the agents as processes and coordinates them. Each dials from an address of its own: a process
// has so many descriptors, and a source address so many ports to one destination.
func (a *agent) runLocal(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dir, err := os.MkdirTemp("", "tlsroute-agents-")
	if err != nil {
		return withStatus(result.ExitInconclusive, err)
	}
	defer func() { err = errors.Join(err, withStatus(result.ExitInconclusive, os.RemoveAll(dir))) }()
	ready := a.ready
	if ready == "" {
		l, done, err := a.topology(ctx, cancel)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, done()) }()
		ready = filepath.Join(dir, "ready.json")
		if err := lab.WriteReady(ready, l.Ready()); err != nil {
			return withStatus(result.ExitInconclusive, err)
		}
	}
	listener, err := shard.Listen(ctx, "127.0.0.1:0", nil)
	if err != nil {
		return withStatus(result.ExitInconclusive, err)
	}
	commands, err := a.commands(dir, ready, listener.Addr().String())
	if err != nil {
		return withStatus(result.ExitInconclusive, errors.Join(err, listener.Close()))
	}
	var running sync.WaitGroup
	for i, command := range commands {
		running.Go(func() {
			// One that ends with an error has not delivered: there is nothing to wait for.
			if err := command.Run(ctx, a.log); err != nil {
				cancel(fmt.Errorf("shard %d: %w", i, err))
			}
		})
	}
	parts, err := a.serve(ctx, listener)
	if err != nil {
		cancel(err)
	}
	running.Wait()
	if err != nil {
		return withStatus(result.ExitInconclusive, err)
	}
	return a.report(parts)
}

// commands are the agents' command lines.
func (a *agent) commands(dir, ready, coordinator string) ([]process.Command, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("this program: %w", err)
	}
	file := a.argument
	if _, err := os.Stat(file); err == nil { // or it is the name of one that is built in
		if file, err = filepath.Abs(file); err != nil {
			return nil, err
		}
	}
	if ready, err = filepath.Abs(ready); err != nil {
		return nil, err
	}
	var list []process.Command
	for i := range a.of {
		source := net.IPv4(127, 0, byte((i+2)>>8), byte(i+2))
		argv := []string{
			program, "agent", "--shard", fmt.Sprintf("%d/%d", i, a.of), "--coordinator", coordinator, "--listen", "none", "--ready", ready, "--source", source.String(),
			"--patience", a.patience.String(), "--seed", strconv.FormatInt(a.seed, 10), "--quiet",
		}
		for _, set := range a.sets {
			argv = append(argv, "--set", set)
		}
		if a.out != "" {
			out, err := filepath.Abs(a.out)
			if err != nil {
				return nil, err
			}
			argv = append(argv, "--out", out)
		}
		list = append(list, process.Command{
			Dir: dir, Log: fmt.Sprintf("shard-%d.log", i), Argv: append(argv, file), Death: syscall.SIGTERM,
			Env: []string{"TMPDIR=" + os.TempDir()},
		})
	}
	return list, nil
}
