package albsim

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Options are what a document does not say. The zero value is a simulator without hooks in real time.
type Options struct {
	// Logger gets one line a connection at Debug and what goes wrong; nil discards.
	Logger *slog.Logger
	// FrontKeyLog and TargetKeyLog get the TLS secrets of the two legs in NSS format; nil for none. They are for tests and captures:
	// who has them reads everything.
	FrontKeyLog, TargetKeyLog io.Writer
	// OnFrontHello and OnTargetHello are told of each ClientHello once its handshake has ended, on the goroutine of the
	// connection. The front's is what crypto/tls read; the target's is parsed from the bytes that were written.
	OnFrontHello, OnTargetHello func(HelloEvent)
	// Observe is told of what happens on the connections, from the goroutine where it does; it must not block. Nil for none.
	Observe func(Event)
	// Wrap stands between the listening socket and the accept loop. A connection that it wraps must let its socket be
	// found by NetConn, Unwrap or CloseWrite and SetLinger of its own, or half-close and reset cannot cross.
	Wrap func(net.Listener) net.Listener
	// DialTarget opens the TCP connection to a target; nil dials. It takes a network load balancer the client's address, which
	// it would bind to.
	DialTarget func(ctx context.Context, network, address string) (net.Conn, error)
	// TargetRoots are the authorities for targets' certificates, of a profile that verifies them; nil is the system's.
	TargetRoots *x509.CertPool
	// IdentityRoots are the authorities for the endpoints of identity providers and of keys; nil is the system's.
	IdentityRoots *x509.CertPool
	// TimeScale multiplies every timer; 0 means 1.
	TimeScale float64
	// Seed goes into the flow hash of a network load balancer: the same seed and addresses give the same target.
	Seed uint64
	// Admin makes the handler of the admin port: admin.New. It is injected so that this package does not pull in a metrics
	// library; nil refuses a document with an admin port.
	Admin func(*Server) http.Handler
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
	config    Config
	admin     adminPort
	pool      *pool
	jar       jar
	checks    checks
	access    logFile
	connLog   logFile
	count     counters
	board     *board
	ticketKey [32]byte
	slots     chan struct{}
	listeners []*listener

	stopped chan struct{} // closed by Shutdown
	wg      sync.WaitGroup

	mu                           sync.Mutex // guards what follows
	conns                        map[*connState]struct{}
	listening, serving, draining bool
	begin                        func(*listener, *node) // accepts on a node; nil when nobody serves
}

// listener is one bound port, on every node that is in service.
type listener struct {
	plan    *listenerPlan
	nodes   []*node  // in service, the oldest first; guarded by Server.mu as what follows
	leaving []*node  // out of service, and still accepting
	spare   []string // the addresses of the others
	port    int      // as advertised
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
	if cfg.Admin != "" && opt.Admin == nil {
		return nil, Faults{{"admin", "this program was built without an admin handler (albsim.Options.Admin)"}}
	}
	s := &Server{plan: p, config: cfg, opt: opt, log: opt.Logger, stopped: make(chan struct{}), conns: map[*connState]struct{}{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.opt.TimeScale <= 0 {
		s.opt.TimeScale = 1
	}
	if s.opt.MaxConnections <= 0 {
		s.opt.MaxConnections = 10000
	}
	s.board = newBoard(opt.Observe)
	s.slots = make(chan struct{}, s.opt.MaxConnections)
	s.pool = &pool{limit: 64, timeout: s.scaled(p.set.idle), idle: map[string][]*targetConn{}}
	rand.Read(s.ticketKey[:])
	s.jar = newJar()
	for _, g := range p.order {
		g.begin(s)
	}
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
		l := &listener{plan: lp, spare: lp.hosts, port: s.opt.AdvertisedPort, overH2: s.newH2Targets(lp.policy)}
		s.listeners = append(s.listeners, l)
		port := lp.port
		for range lp.inService {
			if err := s.bind(ctx, l, port); err != nil {
				return s.notListening(fmt.Errorf("listeners[%d].listen: %w", i, err))
			}
			if _, bound, err := net.SplitHostPort(l.nodes[0].Addr().String()); err == nil {
				port = bound
			}
		}
		if l.port == 0 {
			l.port, _ = strconv.Atoi(port)
		}
		l.dnsName = s.ownName(l)
		if lp.secure {
			l.tls = s.frontTLS(lp)
		}
	}
	for _, i := range slices.Concat(s.plan.profile.Faults, s.plan.faults) {
		s.board.inject(i, time.Now())
	}
	if err := s.openAdmin(ctx); err != nil {
		return s.notListening(fmt.Errorf("admin: %w", err))
	}
	s.mu.Lock()
	s.listening = true
	s.mu.Unlock()
	return nil
}

// notListening gives back what Listen had.
func (s *Server) notListening(err error) error {
	s.closeListeners()
	s.listeners = nil
	return errors.Join(err, s.access.close(), s.connLog.close())
}

func (s *Server) ownName(l *listener) string {
	if s.opt.DNSName != "" {
		return s.opt.DNSName
	}
	if len(l.plan.certs) > 0 && l.plan.certs[0].Leaf != nil && len(l.plan.certs[0].Leaf.DNSNames) > 0 {
		return l.plan.certs[0].Leaf.DNSNames[0]
	}
	host, _, _ := net.SplitHostPort(l.nodes[0].Addr().String())
	return host
}

// Addrs are the bound addresses, in the order of the document's listeners; of one with several nodes that of the oldest.
func (s *Server) Addrs() []net.Addr {
	out := make([]net.Addr, len(s.listeners))
	for i := range s.listeners {
		out[i] = s.Nodes(i)[0]
	}
	return out
}

// Serve accepts until ctx ends, which cuts every connection, or until Shutdown has drained. It returns when every
// goroutine has ended: nil, or why a listener failed.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	s.mu.Lock() // a Shutdown that sees serving must find the accept loops to wait for
	s.serving = true
	s.begin = func(l *listener, n *node) {
		s.wg.Go(func() {
			if err := s.accept(ctx, l, n); err != nil {
				select {
				case failed <- err:
				default: // one is enough
				}
				cancel()
			}
		})
	}
	for _, l := range s.listeners {
		for _, n := range l.nodes {
			s.begin(l, n)
		}
	}
	s.wg.Go(func() { s.closeWhenOver(ctx) })
	s.beginChecks(ctx)
	s.mu.Unlock()
	s.wg.Wait()
	s.endGroups()
	s.closeTargets()
	s.board.close()
	s.closeAdmin()
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
		s.endGroups()
		s.closeAdmin()
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
	s.endGroups()
	s.closeTargets()
	s.closeAdmin()
	return err
}

func (s *Server) closeTargets() {
	s.pool.close()
	for _, l := range s.listeners {
		l.overH2.close()
	}
}

// closeWhenOver closes the listeners when nothing is to be accepted any more. While it runs a node may be added: the count of
// goroutines cannot have come to nothing before.
func (s *Server) closeWhenOver(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-s.stopped:
	}
	s.closeListeners()
}

func (s *Server) closeListeners() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin = nil
	for _, l := range s.listeners {
		l.close()
	}
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// rawDial connects to a target, uncounted.
func (s *Server) rawDial(ctx context.Context, by net.Dialer, network, address string) (net.Conn, error) {
	if err := s.board.refuses(address); err != nil {
		return nil, err
	}
	if s.opt.DialTarget != nil {
		return s.opt.DialTarget(ctx, network, address)
	}
	return by.DialContext(ctx, network, address)
}

// dial is rawDial on the board; secure says that TLS comes upon it.
func (s *Server) dial(ctx context.Context, by net.Dialer, network, address string, secure bool) (net.Conn, error) {
	conn, err := s.rawDial(ctx, by, network, address)
	if err != nil {
		return nil, err
	}
	s.count.newConnections.Add(1)
	s.count.activeConnections.Add(1)
	return &rawConn{Conn: conn, wire: s.board.wire("target", address, secure, conn), closed: func() { s.count.activeConnections.Add(-1) }}, nil
}

// setGoAway says what ends a connection that has nothing to wait for; false when Shutdown has begun.
func (s *Server) setGoAway(c *connState, end func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.goAway = end
	return !s.draining
}

// setIdle marks a connection as one that Shutdown may close; false when Shutdown has begun.
func (s *Server) setIdle(c *connState, idle bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.idle = idle
	return !s.draining
}
