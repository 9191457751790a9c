package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"

	"github.com/tlsroute/tlsroute-bench/internal/netx"
	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// Faults has a server fail as those in the field do. What was asked for has happened when a call returns.
type Faults interface {
	// Kill ends the server and its sessions as a crash does: nothing is said to anybody and nothing is written any more. Its address
	// refuses connections until Restart.
	Kill(ctx context.Context) error
	// Restart starts the server again at its address, having told it to stop if it is at work, and returns when it answers.
	Restart(ctx context.Context) error
	// Pause freezes the server and its sessions until Resume. The kernel goes on to take connections for it, and says nothing.
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
}

// Fails tells whether what a driver starts of a kind has Faults.
func Fails(driver, kind string) bool {
	d, err := choose(kind, driver)
	return err == nil && d.Name != Embedded
}

// ErrDown is what a server that has been killed answers to all but Restart.
var ErrDown = errors.New("the server has been killed and not started again")

// localServer is a server program of this machine that can be killed and started again.
type localServer struct {
	name, address string
	logger        *slog.Logger
	polite        syscall.Signal
	start         process.Command
	probe         func(ctx context.Context, address string) error

	mu      sync.Mutex     // one fault at a time; guards what follows
	child   *process.Child // nil while it is down
	release func() error   // of its port, while it is down
}

func (s *localServer) Kill(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return fmt.Errorf("kill %s: %w", s.name, ErrDown)
	}
	s.child.Kill()
	return s.gone("kill")
}

// gone notes that the server is down, and keeps its port.
func (s *localServer) gone(why string) (err error) {
	s.child = nil
	s.logger.Debug("backend is down", "by", why)
	if s.release, err = netx.RefuseAt(s.address); err != nil {
		return fmt.Errorf("%s %s: keep its port: %w", why, s.name, err)
	}
	return nil
}

func (s *localServer) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child != nil {
		if err := s.stop(ctx); err != nil {
			return fmt.Errorf("restart %s: %w", s.name, err)
		}
		if err := s.gone("restart"); err != nil {
			return err
		}
	}
	child, err := s.start.Start(s.logger)
	if err != nil {
		return fmt.Errorf("restart %s: %w", s.name, err)
	}
	if err := child.Await(ctx, func(ctx context.Context) error { return s.probe(ctx, s.address) }); err != nil {
		child.Kill()
		return fmt.Errorf("restart %s at %s: %w", s.name, s.address, err)
	}
	s.child = child
	return s.let()
}

// let gives up the port.
func (s *localServer) let() error {
	if s.release == nil {
		return nil
	}
	release := s.release
	s.release = nil
	return release()
}

func (s *localServer) Pause(context.Context) error { return s.still("pause", (*process.Child).Pause) }

func (s *localServer) Resume(context.Context) error {
	return s.still("resume", (*process.Child).Resume)
}

func (s *localServer) still(what string, do func(*process.Child) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return fmt.Errorf("%s %s: %w", what, s.name, ErrDown)
	}
	s.logger.Debug("backend", "fault", what)
	return do(s.child)
}

// stop ends a server that is at work, or frozen, which would hear nothing.
func (s *localServer) stop(ctx context.Context) error {
	_ = s.child.Resume() // one that has ended by itself is told of by Stop
	return s.child.Stop(ctx, s.polite)
}

// close is the end, whatever has been done to the server.
func (s *localServer) close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return s.let()
	}
	return s.stop(ctx)
}

// Flushing says how much a database's confirmation is worth, for its note.
func Flushing(spec Spec) string {
	if spec.Durable {
		return "flushing at commit"
	}
	return "without flushing at commit"
}
