package albsim

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// adminPort is the port of Options.Admin, from Listen to the end of Serve or Shutdown. Its zero value is none.
type adminPort struct {
	at     net.Listener
	server *http.Server
	end    chan struct{}
	once   sync.Once
}

func (s *Server) openAdmin(ctx context.Context) error {
	if s.config.Admin == "" {
		return nil
	}
	var lc net.ListenConfig
	at, err := lc.Listen(ctx, "tcp", s.config.Admin)
	if err != nil {
		return err
	}
	a := &s.admin
	a.at, a.end = at, make(chan struct{})
	a.server = &http.Server{
		Handler:           s.opt.Admin(s),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(a.end)
		if err := a.server.Serve(at); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("admin port stopped", "err", err)
		}
	}()
	return nil
}

// adminGrace is what the last request of the admin port has to end.
const adminGrace = time.Second

// closeAdmin ends the admin port and waits for it.
func (s *Server) closeAdmin() {
	a := &s.admin
	if a.server == nil {
		return
	}
	a.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), adminGrace)
		defer cancel()
		if a.server.Shutdown(ctx) != nil {
			_ = a.server.Close() // what it closes is cut off in any case
		}
	})
	<-a.end
}

// AdminAddr is where the admin port listens, nil when there is none.
func (s *Server) AdminAddr() net.Addr {
	if s.admin.at == nil {
		return nil
	}
	return s.admin.at.Addr()
}

// Ready tells whether new connections are taken: from Listen until Shutdown.
func (s *Server) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listening && !s.draining
}

// Config is the document in force, with its profile and its attributes filled in. It names files of keys and holds none.
func (s *Server) Config() Config {
	c := s.config
	c.Profile = s.plan.profile.Name
	kind := s.plan.profile.Kind
	if kind == application {
		c.Attributes = filled(balancerAttributes.defaults(), c.Attributes)
	}
	c.TargetGroups = slices.Clone(c.TargetGroups)
	for i := range c.TargetGroups {
		g := &c.TargetGroups[i]
		g.Attributes = filled(groupDefaults(kind, g.TargetType), g.Attributes)
	}
	return c
}

func filled(defaults, given map[string]any) map[string]any {
	if defaults == nil {
		return given
	}
	maps.Copy(defaults, given)
	return defaults
}
