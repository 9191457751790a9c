package container

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

const (
	// stopSeconds is how long a server may take to end when it is told to, faultTimeout bounds everything else that the engine does to it.
	stopSeconds  = 10
	faultTimeout = time.Minute
)

// server is a container that can be killed and started again. Its ports are its own from before its start to its end: an engine that
// chooses one itself chooses another at every start.
type server struct {
	engine  *engine
	backend string
	name    string // the container's
	image   image
	logger  *slog.Logger
	probe   func(ctx context.Context, at []string) (about, error)

	at   []string // by port of the kind
	keep []func() error

	mu           sync.Mutex // one fault at a time; guards what follows
	down, frozen bool
}

// about is what a server says of itself.
type about struct{ product, version, note string }

// choose takes n ports that are free.
func (s *server) choose(n int) error {
	for try := 1; len(s.at) < n; try++ {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("choose a port: %w", err)
		}
		address := l.Addr().String()
		if err := l.Close(); err != nil {
			return fmt.Errorf("choose a port: %w", err)
		}
		release, err := netx.RefuseAt(address)
		switch {
		case err == nil:
			s.at, s.keep = append(s.at, address), append(s.keep, release)
		case try >= portTries*n: // somebody else was given it in between
			return fmt.Errorf("keep a port: %w", err)
		}
	}
	return nil
}

// close removes the container, and gives up its ports.
func (s *server) close(ctx context.Context) error {
	err := s.engine.remove(ctx, s.name)
	for _, release := range s.keep {
		err = errors.Join(err, release())
	}
	s.at, s.keep = nil, nil
	return err
}

func (s *server) Kill(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return fmt.Errorf("kill %s: %w", s.backend, backend.ErrDown)
	}
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	return s.kill(ctx)
}

// kill returns when nobody is taken any more: an engine takes connections for the container, and goes on to for a moment.
func (s *server) kill(ctx context.Context) error {
	_, err := s.engine.client.ContainerKill(ctx, s.name, client.ContainerKillOptions{Signal: "KILL"})
	if err != nil && !errdefs.IsConflict(err) { // one that has ended by itself
		return fmt.Errorf("kill %s: %w", s.backend, err)
	}
	s.gone("kill")
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", s.at[0])
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if err == nil {
			_ = c.Close()
		}
		select {
		case <-time.After(probePause):
		case <-ctx.Done():
			return fmt.Errorf("kill %s: %s still takes connections: %w", s.backend, s.at[0], context.Cause(ctx))
		}
	}
}

func (s *server) gone(why string) {
	s.down, s.frozen = true, false
	s.logger.Debug("backend is down", "by", why)
}

func (s *server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	asking, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	if !s.down {
		if err := s.stop(asking); err != nil {
			return fmt.Errorf("restart %s: %w", s.backend, err)
		}
		s.gone("restart")
	}
	if _, err := s.engine.client.ContainerStart(asking, s.name, client.ContainerStartOptions{}); err != nil {
		return fmt.Errorf("restart %s: %w", s.backend, s.engine.explain(asking, err, s.image, nil))
	}
	if _, err := s.await(ctx); err != nil {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), faultTimeout)
		defer cancel()
		return errors.Join(fmt.Errorf("restart %s at %s: %w", s.backend, s.at[0], err), s.kill(ending))
	}
	s.down = false
	return nil
}

// stop tells a server to end that is at work, or frozen, which would hear nothing. The image says by which signal.
func (s *server) stop(ctx context.Context) error {
	if s.frozen {
		if _, err := s.engine.client.ContainerUnpause(ctx, s.name, client.ContainerUnpauseOptions{}); err != nil && !errdefs.IsConflict(err) {
			return err
		}
	}
	patience := stopSeconds
	_, err := s.engine.client.ContainerStop(ctx, s.name, client.ContainerStopOptions{Timeout: &patience})
	return err
}

func (s *server) Pause(ctx context.Context) error {
	return s.still(ctx, "pause", true, func(ctx context.Context) error {
		_, err := s.engine.client.ContainerPause(ctx, s.name, client.ContainerPauseOptions{})
		if err != nil {
			return fmt.Errorf("this engine does not freeze the container (a rootless one needs cgroup v2 for it): use driver: local: %w", err)
		}
		return nil
	})
}

func (s *server) Resume(ctx context.Context) error {
	return s.still(ctx, "resume", false, func(ctx context.Context) error {
		_, err := s.engine.client.ContainerUnpause(ctx, s.name, client.ContainerUnpauseOptions{})
		return err
	})
}

// still freezes or thaws a server that is not so yet.
func (s *server) still(ctx context.Context, what string, frozen bool, do func(context.Context) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return fmt.Errorf("%s %s: %w", what, s.backend, backend.ErrDown)
	}
	if s.frozen == frozen {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	if err := do(ctx); err != nil {
		return fmt.Errorf("%s %s: %w", what, s.backend, err)
	}
	s.frozen = frozen
	s.logger.Debug("backend", "fault", what)
	return nil
}
