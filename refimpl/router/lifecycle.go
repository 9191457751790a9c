package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/route"
)

// beginDrain stops accepting. Connections that wait for their next HTTP request are told to go.
func (s *Server) beginDrain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return
	}
	s.draining = true
	s.startDrain()
	if s.listener != nil {
		s.listener.Close()
	}
	if s.active == 0 {
		close(s.idle)
	}
}

// Shutdown stops accepting and waits until the last connection is gone. What is open after drain.timeout, or when ctx ends, is
// reset; only the latter is an error. It may be called more than once and beside Serve.
func (s *Server) Shutdown(ctx context.Context) error {
	s.beginDrain()
	timer := time.NewTimer(time.Duration(s.policy.Load().config.Drain.Timeout))
	defer timer.Stop()
	var err error
	select {
	case <-s.idle:
	case <-timer.C:
	case <-ctx.Done():
		err = fmt.Errorf("drain: %w", context.Cause(ctx))
	}
	s.cut()
	s.loop.Close()
	<-s.idle // short: every wait of a connection ends with cutCtx
	s.checks.stop()

	s.mu.Lock()
	server, end := s.admin, s.adminEnd
	s.mu.Unlock()
	if server != nil {
		_ = server.Close() // of its listener, which nobody uses any more
		<-end
	}
	return err
}

// Reload puts another document in force for the connections that come from now on; open ones keep what they have. A document
// that is not valid, or that wants another listen or admin address, is refused whole and changes nothing.
func (s *Server) Reload(config Config) error {
	s.reloadMu.Lock()
	defer s.reloadMu.Unlock()
	old := s.policy.Load()
	p, err := newPolicy(config, s.opt.TLSKeyLog)
	var f faults
	if config.Listen != old.config.Listen {
		f.add("listen", "a reload cannot move the port from %s to %s: restart", old.config.Listen, config.Listen)
	}
	if config.Admin != old.config.Admin {
		f.add("admin", "a reload cannot change the admin port from %q to %q: restart", old.config.Admin, config.Admin)
	}
	if err := errors.Join(f.err(), err); err != nil {
		return s.RefuseReload(err)
	}
	p.generation = old.generation + 1
	s.policy.Store(p)
	s.checkBackends()
	s.warn(p)
	s.log.Info("reloaded", "generation", p.generation, "routes", len(p.config.Routes))
	return nil
}

// RefuseReload counts a reload that came to nothing, and says so: Reload calls it, and whoever could not even read the document.
func (s *Server) RefuseReload(cause error) error {
	s.stats.reloadFailures.Add(1)
	return fmt.Errorf("reload refused, generation %d stays: %w", s.Generation(), cause)
}

// warn tells of a document that is valid and likely not what was meant.
func (s *Server) warn(p *policy) {
	now := time.Now()
	for i, cert := range p.own.config("").Certificates {
		if now.Before(cert.Leaf.NotBefore) || now.After(cert.Leaf.NotAfter) {
			s.log.Warn("this certificate is out of date: clients will refuse it", "cert", p.config.Certificates[i].Cert,
				"not_before", cert.Leaf.NotBefore, "not_after", cert.Leaf.NotAfter)
		}
	}
	if d := p.table.Match("", nil); d.Kind == route.RouteKind {
		s.log.Warn("this route takes every ClientHello without name and ALPN: no load balancer reaches the upgrade endpoint over TLS",
			keyRoute, p.config.Routes[d.Index].Name)
	}
}

// Generation counts the documents that have been in force, from 1.
func (s *Server) Generation() int { return s.policy.Load().generation }

// Config is the document in force, defaults filled in, and its generation. It names key files and holds no keys.
func (s *Server) Config() (Config, int) {
	p := s.policy.Load()
	return p.config.clone(), p.generation
}

// Ready tells whether new connections are taken: listening and not draining.
func (s *Server) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener != nil && !s.draining
}
