package router

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

// Options are what a document cannot say.
type Options struct {
	// Logger gets one line a connection at Info; nil discards.
	Logger *slog.Logger
	// TLSKeyLog receives the secrets of every session that the router ends or begins, in NSS form; nil writes none. It is for tests and
	// captures: who has them reads everything.
	TLSKeyLog io.Writer
	// Wrap may put something around the listener, for a tap or a counter; nil leaves it. Connections that hide their *net.TCPConn
	// must show it by Unwrap() net.Conn, or a reset cannot cross as a reset.
	Wrap func(net.Listener) net.Listener
	// OnHello is told of every ClientHello; nil tells nobody. It is called from many goroutines and must not block.
	OnHello func(HelloEvent)
	// BackendRoots verify the backends that are spoken to over TLS; nil means the system's.
	BackendRoots *x509.CertPool
	// Admin makes the handler of the admin port: admin.New. It is injected so that this package does not pull in a metrics
	// library; a document that asks for the admin port is refused without it.
	Admin func(*Server) http.Handler
}

// HelloEvent is what one ClientHello carried and where it led.
type HelloEvent struct {
	Conn   uint64 // the same for all hellos of one TCP connection
	Source netip.AddrPort
	SNI    string   // empty when there was none
	ALPN   []string // as offered; nil when there was none
	Route  string   // empty when it led to no route
	Tunnel bool     // it came inside an upgraded connection
	// ClientCert tells whether the client sent a certificate; always false for a passthrough route, where it cannot be seen.
	ClientCert bool
	// Resumed tells whether the handshake resumed a session.
	Resumed bool
}

// Server is a router. Make one with [New]; then Listen, Serve, Shutdown.
type Server struct {
	opt    Options
	log    *slog.Logger
	policy atomic.Pointer[policy]
	stats  stats
	nextID atomic.Uint64
	loop   splice.Loop // carries the tunnels between two TCP connections

	// States of the server, which no call's context bounds.
	drainCtx   context.Context //nolint:containedctx // ends when draining begins
	startDrain context.CancelFunc
	cutCtx     context.Context //nolint:containedctx // ends when open connections must go
	cut        context.CancelFunc

	reloadMu sync.Mutex // serialises Reload
	checks   checks

	mu       sync.Mutex // guards what follows
	listener net.Listener
	admin    *http.Server
	adminAt  net.Listener
	adminEnd chan struct{} // closed when the admin server's goroutine is gone; nil without one
	draining bool
	active   int
	perIP    map[netip.Addr]int
	idle     chan struct{} // closed when draining and nothing is active
	serving  bool
}

// New validates all of config and reads the files it names. The error joins everything that is wrong, each with the path of
// its field: "routes[2].client_auth.ca: open x.pem: no such file or directory". Nothing listens yet.
func New(config Config, opt Options) (*Server, error) {
	p, err := newPolicy(config, opt.TLSKeyLog)
	if err != nil {
		return nil, err
	}
	if config.Admin != "" && opt.Admin == nil {
		return nil, errors.New("admin: this program was built without an admin handler (router.Options.Admin)")
	}
	log := opt.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opt: opt, log: log, perIP: map[netip.Addr]int{}, idle: make(chan struct{})}
	s.drainCtx, s.startDrain = context.WithCancel(context.Background())
	s.cutCtx, s.cut = context.WithCancel(context.Background())
	p.generation = 1
	s.policy.Store(p)
	s.warn(p)
	return s, nil
}

// Listen opens the port and the admin port. ctx bounds name resolution only. [Server.Serve] or [Server.Shutdown] closes them.
func (s *Server) Listen(ctx context.Context) error {
	config := s.policy.Load().config
	var handler http.Handler
	if config.Admin != "" {
		handler = s.opt.Admin(s) // outside the lock: it may ask s anything
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.listener != nil:
		return errors.New("listen: already listening")
	case s.draining:
		return fmt.Errorf("listen: %w", net.ErrClosed)
	}
	lc := listenConfig()
	listener, err := lc.Listen(ctx, "tcp", config.Listen)
	if err != nil {
		return err // says "listen tcp ADDRESS: …"
	}
	if handler != nil {
		s.adminAt, err = lc.Listen(ctx, "tcp", config.Admin)
		if err != nil {
			listener.Close()
			return fmt.Errorf("admin: %w", err)
		}
		s.admin = &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 5 * time.Second,
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       2 * time.Minute,
			ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		}
		s.adminEnd = make(chan struct{})
		go s.serveAdmin(s.admin, s.adminAt, s.adminEnd)
	}
	if s.opt.Wrap != nil {
		listener = s.opt.Wrap(listener)
	}
	s.listener = listener
	return nil
}

func (s *Server) serveAdmin(server *http.Server, at net.Listener, end chan<- struct{}) {
	defer close(end)
	if err := server.Serve(at); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("admin port stopped", keyErr, err)
	}
}

// Addr is where the router listens, nil before Listen.
func (s *Server) Addr() net.Addr { return addrOf(s, func() net.Listener { return s.listener }) }

// AdminAddr is where the admin port listens, nil when there is none.
func (s *Server) AdminAddr() net.Addr { return addrOf(s, func() net.Listener { return s.adminAt }) }

func addrOf(s *Server, which func() net.Listener) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := which(); l != nil {
		return l.Addr()
	}
	return nil
}

// Serve accepts connections until ctx ends or Shutdown is called, then drains as Shutdown does, and returns when the last
// connection is gone. A stop that was asked for is not an error.
func (s *Server) Serve(ctx context.Context) error {
	s.mu.Lock()
	listener, serving := s.listener, s.serving
	s.serving = listener != nil
	s.mu.Unlock()
	switch {
	case listener == nil:
		return errors.New("serve: not listening: call Listen first")
	case serving:
		return errors.New("serve: already serving")
	}
	stop := context.AfterFunc(ctx, s.beginDrain)
	defer stop()
	s.checkBackends()
	err := s.accept(listener)
	s.beginDrain()
	return errors.Join(err, s.Shutdown(context.Background()))
}

// accept hands each connection to a goroutine of its own until draining begins.
func (s *Server) accept(listener net.Listener) error {
	var pause time.Duration
	var last spare
	last.take()
	defer last.give()
	for {
		conn, err := listener.Accept()
		if err == nil {
			pause = 0
			if !s.shed(conn, &last) {
				s.start(conn)
			}
			continue
		}
		if s.isDraining() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept: %w", err)
		}
		if s.makeRoom(err, &last) {
			continue
		}
		// No room can be made, or a peer left before it was accepted: neither is a reason to stop.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.log.Warn("accept failed", keyErr, err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-s.drainCtx.Done():
			return nil
		}
	}
}

// start admits a connection and begins to serve it, or closes it at once.
func (s *Server) start(conn net.Conn) {
	p := s.policy.Load()
	if !s.admit(p.config.Limits.Connections) {
		conn.Close()
		s.stats.count("", outcomeLimit)
		s.log.Debug("closed at once: too many connections", keySource, conn.RemoteAddr())
		return
	}
	go newSession(s, p, conn).serve()
}
