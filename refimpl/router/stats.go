package router

import (
	"maps"
	"sync"
	"sync/atomic"
)

// The keys of the log line.
const (
	keyConn    = "conn_id"
	keySNI     = "sni"
	keyALPN    = "alpn"
	keyRoute   = "route"
	keyUpgrade = "upgrade"
	keySource  = "source"
	keyIn      = "in"
	keyOut     = "out"
	keyDur     = "dur"
	keyOutcome = "outcome"
	keyCause   = "cause"
	keyErr     = "err"
	keyBackend = "backend"
)

// The outcomes of a connection, as in the metrics and the log: a closed set, so that no stranger can invent a label.
const (
	outcomeJoined    = "joined"           // reached its backend; cause says how it ended
	outcomeDial      = "dial_failed"      // the backend could not be reached
	outcomeHandshake = "handshake_failed" // the client's, or its certificate refused
	outcomeHello     = "bad_hello"        // no ClientHello, or none within its limits
	outcomeNoALPN    = "alert_120"        // unknown ALPN
	outcomeNoName    = "alert_112"        // unknown name
	outcomeProbe     = "probe"            // tlsroute-probe/1
	outcomeHTTP      = "http"             // the HTTP endpoint, without an upgrade
	outcomeRefused   = "upgrade_refused"  // an upgrade that was not granted
	outcomeProxy     = "bad_proxy"        // the PROXY header missing, malformed or not trusted
	outcomeUnknown   = "unknown_opener"   // neither TLS nor HTTP, nor anything that plaintext has a route for
	outcomeSilent    = "silent"           // nothing came
	outcomeDepth     = "too_deep"         // upgrades inside upgrades
	outcomeLimit     = "limit"            // one connection too many
	outcomeShed      = "shed"             // no descriptor was left to serve it with
)

// stats is what /metrics shows. Counters only go up.
type stats struct {
	in, out        atomic.Int64
	tunnels        atomic.Int64
	reloadFailures atomic.Int64
	failovers      atomic.Int64

	mu       sync.Mutex // guards the maps
	ended    map[Ended]int64
	upgrades map[string]int64
}

func (s *stats) count(route, outcome string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = map[Ended]int64{}
	}
	s.ended[Ended{Route: route, Outcome: outcome}]++
}

func (s *stats) upgraded(typ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.upgrades == nil {
		s.upgrades = map[string]int64{}
	}
	s.upgrades[typ]++
}

// Ended identifies a counter of connections that are over.
type Ended struct{ Route, Outcome string }

// Stats is a snapshot of the router's counters.
type Stats struct {
	// Active are the connections open now, Tunnels those of them that are joined to a backend.
	Active, Tunnels int
	// Ended counts the connections that are over, by route (empty when none was reached) and outcome.
	Ended map[Ended]int64
	// Upgrades counts the granted upgrades by type.
	Upgrades map[string]int64
	// In and Out are the bytes that went to backends and came from them, of connections that are over.
	In, Out int64
	// Spliced are the bytes that the kernel has moved between two sockets without a copy, of tunnels that are open too.
	Spliced int64
	// Failovers counts the connections that reached their backend at another address than the first they tried.
	Failovers int64
	// Generation counts the documents in force so far, ReloadFailures those that were refused.
	Generation     int
	ReloadFailures int64
	Draining       bool
}

// Stats takes a snapshot.
func (s *Server) Stats() Stats {
	snap := Stats{
		Tunnels:        int(s.stats.tunnels.Load()),
		In:             s.stats.in.Load(),
		Out:            s.stats.out.Load(),
		Spliced:        s.loop.Spliced(),
		Failovers:      s.stats.failovers.Load(),
		Generation:     s.Generation(),
		ReloadFailures: s.stats.reloadFailures.Load(),
	}
	s.mu.Lock()
	snap.Active, snap.Draining = s.active, s.draining
	s.mu.Unlock()
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	snap.Ended, snap.Upgrades = maps.Clone(s.stats.ended), maps.Clone(s.stats.upgrades)
	return snap
}
