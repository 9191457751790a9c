package albsim

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"
)

// Options are what a document does not say. The zero value is a simulator without hooks in real time.
type Options struct {
	// Logger gets one line a connection at Debug and what goes wrong; nil discards.
	Logger *slog.Logger
	// FrontKeyLog and TargetKeyLog get the TLS secrets of the two legs in NSS format; nil for none.
	FrontKeyLog, TargetKeyLog io.Writer
	// OnFrontHello and OnTargetHello are told of each ClientHello once its handshake has ended, on the goroutine of the
	// connection. The front's is what crypto/tls read; the target's is parsed from the bytes that were written.
	OnFrontHello, OnTargetHello func(HelloEvent)
	// Wrap stands between the listening socket and the accept loop. A connection that it wraps must let its socket be
	// found by NetConn, Unwrap or CloseWrite and SetLinger of its own, or half-close and reset cannot cross.
	Wrap func(net.Listener) net.Listener
	// DialTarget opens the TCP connection to a target; nil dials.
	DialTarget func(ctx context.Context, network, address string) (net.Conn, error)
	// TimeScale multiplies every timer; 0 means 1.
	TimeScale float64
	// AdvertisedPort is the port that clients are taken to have used, for X-Forwarded-Port and Host; 0 is the real one.
	AdvertisedPort int
	// DNSName is the balancer's own name, used where a request has no Host; the default certificate's first, or the
	// address, when empty.
	DNSName string
	// MaxConnections bounds the connections in front over all listeners; 0 is 10000. More wait to be accepted.
	MaxConnections int
}

// Server is a simulator: New, Listen, Serve, Shutdown, each once.
type Server struct {
	plan      *plan
	opt       Options
	log       *slog.Logger
	pool      *pool
	access    logFile
	connLog   logFile
	count     counters
	ticketKey [32]byte
	slots     chan struct{}
	listeners []*listener

	stopped chan struct{} // closed by Shutdown
	wg      sync.WaitGroup

	mu       sync.Mutex // guards what follows
	conns    map[*connState]struct{}
	draining bool
	serving  bool
}

// listener is one bound port.
type listener struct {
	plan    *listenerPlan
	net     net.Listener
	port    int // as advertised
	dnsName string
	tls     *tls.Config
	overH2  *h2Targets
}

// New checks the whole document and reads the files that it names; the error is Faults. Nothing listens yet.
func New(cfg Config, opt Options) (*Server, error) {
	p, err := makePlan(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{plan: p, opt: opt, log: opt.Logger, stopped: make(chan struct{}), conns: map[*connState]struct{}{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.opt.TimeScale <= 0 {
		s.opt.TimeScale = 1
	}
	if s.opt.MaxConnections <= 0 {
		s.opt.MaxConnections = 10000
	}
	s.slots = make(chan struct{}, s.opt.MaxConnections)
	s.pool = &pool{limit: 64, timeout: s.scaled(p.set.idle), idle: map[string][]*targetConn{}}
	rand.Read(s.ticketKey[:])
	for _, note := range s.Notes() {
		s.log.Warn(note)
	}
	return s, nil
}

func (s *Server) scaled(d time.Duration) time.Duration {
	return max(time.Millisecond, time.Duration(float64(d)*s.opt.TimeScale))
}

// Listen binds every listener and opens the logs, or nothing. ctx bounds the binding.
func (s *Server) Listen(ctx context.Context) error {
	if err := s.access.open(s.plan.logs.Access); err != nil {
		return fmt.Errorf("open access log: %w", err)
	}
	if err := s.connLog.open(s.plan.logs.Connection); err != nil {
		return errors.Join(fmt.Errorf("open connection log: %w", err), s.access.close())
	}
	for i, lp := range s.plan.listeners {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", lp.address)
		if err != nil {
			for _, l := range s.listeners {
				l.net.Close()
			}
			s.listeners = nil
			return errors.Join(fmt.Errorf("listeners[%d].listen: %w", i, err), s.access.close(), s.connLog.close())
		}
		l := &listener{plan: lp, net: ln, port: s.opt.AdvertisedPort, overH2: s.newH2Targets(lp.policy)}
		if _, port, err := net.SplitHostPort(ln.Addr().String()); err == nil && l.port == 0 {
			l.port, _ = strconv.Atoi(port)
		}
		l.dnsName = s.ownName(l)
		if s.opt.Wrap != nil {
			l.net = s.opt.Wrap(ln)
		}
		if lp.secure {
			l.tls = s.frontTLS(lp)
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

func (s *Server) ownName(l *listener) string {
	if s.opt.DNSName != "" {
		return s.opt.DNSName
	}
	if len(l.plan.certs) > 0 && l.plan.certs[0].Leaf != nil && len(l.plan.certs[0].Leaf.DNSNames) > 0 {
		return l.plan.certs[0].Leaf.DNSNames[0]
	}
	host, _, _ := net.SplitHostPort(l.net.Addr().String())
	return host
}

// Addrs are the bound addresses, in the order of the document's listeners.
func (s *Server) Addrs() []net.Addr {
	out := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		out[i] = l.net.Addr()
	}
	return out
}

// Serve accepts until ctx ends, which cuts every connection, or until Shutdown has drained. It returns when every
// goroutine has ended: nil, or why a listener failed.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	release := context.AfterFunc(ctx, func() { s.closeListeners() })
	defer release()
	failed := make(chan error, len(s.listeners))
	s.mu.Lock() // a Shutdown that sees serving must find the accept loops to wait for
	s.serving = true
	for _, l := range s.listeners {
		s.wg.Go(func() {
			if err := s.accept(ctx, l); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.closeTargets()
	var err error
	select {
	case err = <-failed:
	default:
	}
	return errors.Join(err, s.access.close(), s.connLog.close())
}

// Shutdown stops accepting, closes idle connections and waits for those at work, tunnels too, until ctx ends; then it
// cuts them. It returns ctx's error if it had to cut, and when nothing runs any more.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.draining
	s.draining = true
	for c := range s.conns {
		switch {
		case c.idle:
			c.conn.Close()
		case c.goAway != nil:
			c.goAway()
		}
	}
	serving := s.serving
	s.mu.Unlock()
	if first {
		close(s.stopped)
	}
	s.closeListeners()
	if !serving {
		return errors.Join(s.access.close(), s.connLog.close())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.wg.Wait()
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = ctx.Err()
		s.mu.Lock()
		for c := range s.conns {
			c.cancel()
		}
		s.mu.Unlock()
		<-ended
	}
	s.closeTargets()
	return err
}

func (s *Server) closeTargets() {
	s.pool.close()
	for _, l := range s.listeners {
		l.overH2.close()
	}
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		l.net.Close()
	}
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

func (s *Server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dial := s.opt.DialTarget
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.count.newConnections.Add(1)
	s.count.activeConnections.Add(1)
	return &rawConn{Conn: conn, closed: func() { s.count.activeConnections.Add(-1) }}, nil
}

// setIdle marks a connection as one that Shutdown may close; false when Shutdown has begun.
func (s *Server) setIdle(c *connState, idle bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.idle = idle
	return !s.draining
}
