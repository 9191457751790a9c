package capture

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Bounds of a session over all its connections.
const (
	maxConns = 1 << 16
	maxHeld  = 96 << 20
	// perConn is what is kept of a client's bytes once its ClientHello is known, for its certificate.
	perConn = 48 << 10
	// perServer is what is kept of the server's bytes: a ServerHello, after a retry if need be.
	perServer = 8 << 10
	// drain bounds how long Stop waits for what the kernel has queued already.
	drain = 50 * time.Millisecond
)

// ErrNotPermitted says that this process may not read packets.
var ErrNotPermitted = errors.New("reading packets off the interface is not permitted: it needs root or the capability CAP_NET_RAW")

// Hop is one hop of one path, known by the server's side of it.
type Hop struct {
	Path, Name string
	// Server is where the hop leads. An unspecified address means any.
	Server netip.AddrPort
	// From tells apart hops that lead to the same address, such as client->router and alb->router: the first hop that leads
	// there and whose From is nil or true has the connection. It is asked in Stop, so that it may know of every connection.
	From func(client netip.AddrPort) bool
}

// Observation is what one connection's ClientHello carried.
type Observation struct {
	// Path and Hop are empty when From of every hop that leads there said no.
	Path, Hop string
	// SNI is nil when the extension was absent, ALPN empty and not nil.
	SNI  *string
	ALPN []string
	// ClientCert is whether a client certificate came. It means something only if ClientCertKnown; Unknown says why if not.
	ClientCert, ClientCertKnown bool
	Unknown                     string
	// SHA256 is the hash of the ClientHello handshake message, Random its random, both in hex.
	SHA256, Random string
	ClientPort     uint16
	At             time.Time
}

// Wire is the observation as the result stores it.
func (o Observation) Wire() result.Wire {
	return result.Wire{Path: o.Path, Hop: o.Hop, SNI: o.SNI, ALPN: o.ALPN, ClientCert: o.ClientCert, Source: "capture", SHA256: o.SHA256}
}

// source is where packets come from: one Ethernet frame a Read.
type source interface {
	Read(frame []byte) (int, error)
	SetReadDeadline(t time.Time) error
	Close() error
}

// Session is a capture that runs.
type Session struct {
	hops []Hop
	src  source
	done chan struct{} // closed when the reader has ended
	stop func() bool   // takes back the watch over ctx

	mu       sync.Mutex     // guards all below; the reader holds it for one packet
	conns    map[flow]*conn // the latest of each pair of ends
	order    []*conn
	keyLogs  []*KeyLog
	held     int
	lost     int
	readErr  error
	finished bool
}

// flow names a connection by its two ends.
type flow struct{ client, server netip.AddrPort }

type conn struct {
	flow           flow
	at             time.Time
	syn            uint32 // sequence number of its SYN: the same ends with another one are another connection
	client, server stream
	helloEnd       int // length of the ClientHello's records once it is whole
}

// Loopback is the interface that a lab captures on.
const Loopback = "lo"

// Start captures the hops on the loopback interface until Stop or the end of ctx. It hears connections whose SYN comes
// after it has returned. keys, which may be nil, shows it the client certificates of TLS 1.3 connections whose secrets it
// has by the time of Stop. The error is [ErrNotPermitted] when this process may not.
func Start(ctx context.Context, hops []Hop, keys *KeyLog) (*Session, error) {
	return StartOn(ctx, Loopback, hops, keys)
}

// StartOn is [Start] on another interface.
func StartOn(ctx context.Context, iface string, hops []Hop, keys *KeyLog) (*Session, error) {
	s, err := start(ctx, iface, hops, openSocket)
	if err == nil && keys != nil {
		s.AddKeyLog(keys)
	}
	return s, err
}

func start(ctx context.Context, iface string, hops []Hop, open func(iface string, ports []uint16) (source, error)) (*Session, error) {
	src, err := openHops(iface, hops, open)
	if err != nil {
		return nil, err
	}
	s := &Session{hops: hops, src: src, done: make(chan struct{}), conns: map[flow]*conn{}}
	s.stop = context.AfterFunc(ctx, func() { _ = src.Close() })
	go s.read()
	return s, nil
}

// AddKeyLog adds another key log: clients that do not know of each other may each have their own.
func (s *Session) AddKeyLog(k *KeyLog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyLogs = append(s.keyLogs, k)
}

// Lost counts connections of which something was let go to stay within bounds, and packets the kernel dropped.
func (s *Session) Lost() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Stop takes what is still queued, ends the capture and returns what was seen, in the order of the connections. It may be
// called once; the error says that the capture broke off, and what was seen until then is returned all the same.
func (s *Session) Stop() ([]Observation, error) {
	s.mu.Lock()
	again := s.finished
	s.finished = true
	s.mu.Unlock()
	if again {
		return nil, errors.New("capture: stopped twice")
	}
	// Packets on loopback are queued by the time their sender's write returns, so this reads them all; the deadline only
	// ends the wait for more.
	if err := s.src.SetReadDeadline(time.Now().Add(drain)); err != nil && !errors.Is(err, os.ErrClosed) {
		_ = s.src.Close() // then closing must end the reader
	}
	<-s.done
	cancelled := !s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.src.(interface{ Dropped() int }); ok {
		s.lost += c.Dropped()
	}
	_ = s.src.Close()
	var out []Observation
	for _, c := range s.order {
		if o, ok := s.observe(c); ok {
			out = append(out, o)
		}
	}
	switch {
	case cancelled:
		return out, fmt.Errorf("capture: %w", context.Canceled)
	case s.readErr != nil:
		return out, fmt.Errorf("capture: reading packets: %w", s.readErr)
	}
	return out, nil
}

// read decodes frames until the source ends. It is the only goroutine of a session; Stop waits for it.
func (s *Session) read() {
	defer close(s.done)
	d := newDecoder()
	frame := make([]byte, maxFrame)
	for {
		n, err := s.src.Read(frame)
		if err != nil {
			if !ends(err) {
				s.mu.Lock()
				s.readErr = err
				s.mu.Unlock()
			}
			return
		}
		if d.decode(frame[:n]) {
			s.segment(d.src, d.dst, &d.tcp)
		}
	}
}

// segment files one TCP segment.
func (s *Session) segment(src, dst netip.AddrPort, tcp *layers.TCP) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := (flow{src, dst}); s.leads(dst) {
		c := s.conns[f]
		if tcp.SYN && !tcp.ACK && (c == nil || c.syn != tcp.Seq) {
			if len(s.order) >= maxConns {
				s.lost++
				return
			}
			c = &conn{flow: f, at: time.Now(), syn: tcp.Seq}
			c.server.limit = perServer
			s.conns[f] = c
			s.order = append(s.order, c)
		}
		if c == nil {
			return // it began before the capture did
		}
		if tcp.SYN {
			c.client.syn(tcp.Seq)
		}
		s.held += c.client.add(tcp.Seq, tcp.Payload)
		if c.helloEnd == 0 {
			if _, n, err := hello(c.client.data); err == nil {
				c.helloEnd, c.client.limit = n, n+perConn
			}
		}
		s.bound(c)
		return
	}
	if c := s.conns[flow{dst, src}]; c != nil {
		if tcp.SYN {
			c.server.syn(tcp.Seq)
		}
		s.held += c.server.add(tcp.Seq, tcp.Payload)
		s.bound(c)
	}
}

// bound keeps the bytes of all connections under maxHeld: this one goes without.
func (s *Session) bound(c *conn) {
	if s.held > maxHeld {
		s.held -= c.client.drop() + c.server.drop()
		s.lost++
	}
}

func (s *Session) leads(server netip.AddrPort) bool {
	for _, h := range s.hops {
		if h.leads(server) {
			return true
		}
	}
	return false
}

func (h Hop) leads(server netip.AddrPort) bool {
	return h.Server.Port() == server.Port() && (h.Server.Addr().IsUnspecified() || h.Server.Addr().Unmap() == server.Addr())
}

// observe makes an observation of a connection; ok is false when no whole ClientHello was seen on it.
func (s *Session) observe(c *conn) (o Observation, ok bool) {
	h, n, err := hello(c.client.data)
	if err != nil {
		return o, false
	}
	for _, hop := range s.hops {
		if hop.leads(c.flow.server) && (hop.From == nil || hop.From(c.flow.client)) {
			o.Path, o.Hop = hop.Path, hop.Name
			break
		}
	}
	if h.HasSNI {
		o.SNI = &h.SNI
	}
	o.ALPN = append([]string{}, h.ALPN...)
	sum := sha256.Sum256(h.Message)
	o.SHA256, o.Random = hex.EncodeToString(sum[:]), hex.EncodeToString(h.Random)
	o.ClientPort, o.At = c.flow.client.Port(), c.at
	var random [32]byte
	copy(random[:], h.Random)
	chosen, err := serverHello(c.server.data)
	if err == nil {
		var secret []byte
		for _, k := range s.keyLogs {
			if secret = k.clientHandshake(random); secret != nil {
				break
			}
		}
		o.ClientCert, err = clientCert(c.client.data[n:], chosen, secret)
	}
	switch {
	case err == nil:
		o.ClientCertKnown = true
	case errors.Is(err, errMore):
		o.Unknown = "the handshake was not seen to its end"
	default:
		o.Unknown = err.Error()
	}
	return o, true
}
