package backend

import (
	"context"
	"errors"
	"syscall"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// MissingError says which program a local driver lacks.
type MissingError = process.MissingError

const instead = "use --backends embedded"

// maxLog is how much of a server's log is kept.
const maxLog = 1 << 20

func missing(program, pkg string) error {
	return &MissingError{Program: program, Package: pkg, Instead: instead}
}

// program finds a server program, or says what to do without it.
func program(pkg string, patterns []string, names ...string) (string, error) {
	path, err := process.Find(pkg, patterns, names...)
	if m, ok := errors.AsType[*MissingError](err); ok {
		m.Instead = instead
	}
	return path, err
}

// privateDir makes a directory of the account's own (0700) under spec.Dir; r removes it at the end.
func privateDir(a process.Account, spec Spec, r *Running) (string, error) {
	dir, err := a.PrivateDir(spec.Dir, "tlsroute-bench-"+spec.Kind+"-", spec.Logger)
	if err != nil {
		return "", err
	}
	r.OnClose(func(context.Context) error { return process.RemoveAll(dir) })
	return dir, nil
}

// listenOn is process.Listen with the faults of the server, and its stop, added to r.
func listenOn(ctx context.Context, spec Spec, r *Running, polite syscall.Signal, at func(port int) process.Command, probe func(ctx context.Context, address string) error) error {
	logged := at(0) // it is the same file whatever the port
	r.Log = func(context.Context) ([]byte, error) { return logged.LogEnd(maxLog) }
	ch, address, err := process.Listen(ctx, spec.Logger, at, probe)
	if err != nil {
		return err
	}
	server := &localServer{name: spec.Name, address: address, logger: spec.Logger, polite: polite, start: ch.Command, probe: probe, child: ch}
	r.Address, r.Faults = address, server
	r.OnClose(server.close)
	return nil
}
