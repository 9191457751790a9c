// Package upgrade performs the HTTP connection upgrade that carries a TLS stream through a layer-7 load balancer, at both ends:
// [Accept] answers a request and returns the tunnel, [Dial] makes one attempt with one token on a connection and returns the
// tunnel.
//
// An upgrade type is a token and what the bytes look like behind the 101. Each is one file that registers itself:
//
//	websocket   RFC 6455 binary frames, subprotocol alpn or alpn-ping       websocket.go, wsframe.go, wscontrol.go
//	alpn-ping   uint32 big-endian length, then that many bytes; 0 = ping     alpnping.go
//	alpn        the bytes themselves                                          alpn.go
//
// Message boundaries mean nothing: a tunnel is a stream, a net.Conn with CloseWrite and Unwrap() net.Conn. One Write is one
// frame (cut only when it is longer than 256 KiB) and leaves as one Write of the connection below, so that one frame is one TLS
// record or segment where it fits. The types that can be pinged are pinged by the server; a tunnel never carries anything else
// before its owner writes. A WebSocket peer that answers none may be given up; bytes in either direction are life (keepalive.go).
//
// Deadlines may pass and be reset: a Read interrupted in the middle of a frame goes on where it stopped. A Write cut by its
// deadline inside a frame cannot be repaired, as with crypto/tls; every later Write fails.
//
// Half-close: alpn and alpn-ping pass CloseWrite to the connection below. A WebSocket has no half-close of its own: CloseWrite
// sends a Close frame and goes on reading until the peer's. What is portable is the close_notify of the TLS session inside,
// which is data here.
//
// Sources: RFC 9110 section 7.8 and 15.5.22, RFC 6455, shared/facts/tls-routing.md sections 1.6, 1.7 and 2, shared/facts/alb.md
// section 1.
package upgrade

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Path is the upgrade endpoint as deployed.
const Path = "/webapi/connectionupgrade"

// compatField is an end-to-end copy of the Upgrade token, for hops that drop the value of Upgrade (tls-routing.md, section 4,
// case 4).
const compatField = "X-Teleport-Upgrade"

const (
	defaultTimeout  = 10 * time.Second // one exchange: request body and 101, or request and answer
	defaultMaxFrame = 1 << 20          // what a peer may announce in one frame; it is streamed, not held
	maxWriteFrame   = 256 << 10        // what we put in one frame: bounds the copy that joins header and payload
	maxBody         = 64 << 10         // a body of a request to switch, or of an answer that refuses, is read up to here
	maxHeader       = 64 << 10         // the answer's header
)

// A Type is one upgrade token. Types are registered by this package's files; outside it they are known by name.
type Type interface {
	// Name is the token as written in Upgrade, in lower case.
	Name() string
	// NeedsConnection says that a request without "Connection: upgrade" is no request for this type. An ALB strips that field
	// in front of custom tokens and keeps it in front of websocket (alb.md, section 1, facts 2 to 5 and 8).
	NeedsConnection() bool
	// Answer checks a request that offers the type. It returns the fields of the 101 beside Connection and Upgrade, or what to
	// refuse with.
	Answer(req *http.Request) (http.Header, *RefusedError)
	// Offer returns the request's fields beside Connection and Upgrade, and a function that checks the 101.
	Offer(opt ClientOptions) (fields http.Header, check func(answer http.Header) error)
	// Server and Client make the tunnel; first holds the bytes that came behind the request or the 101.
	Server(conn net.Conn, first []byte, opt ServerOptions) net.Conn
	Client(conn net.Conn, first []byte, opt ClientOptions) net.Conn
}

var (
	registryMu sync.Mutex // guards registry
	registry   []registered
)

type registered struct {
	rank int
	t    Type
}

// register adds a type. The server prefers the lowest rank among what it was offered.
func register(rank int, t Type) {
	registryMu.Lock()
	defer registryMu.Unlock()
	for _, r := range registry {
		if r.t.Name() == t.Name() {
			panic("upgrade: type " + t.Name() + " registered twice")
		}
	}
	registry = append(registry, registered{rank, t})
	slices.SortStableFunc(registry, func(a, b registered) int { return a.rank - b.rank })
}

// Names lists the registered types in the order the server prefers them.
func Names() []string {
	registryMu.Lock()
	defer registryMu.Unlock()
	names := make([]string, len(registry))
	for i, r := range registry {
		names[i] = r.t.Name()
	}
	return names
}

func lookup(name string) Type {
	registryMu.Lock()
	defer registryMu.Unlock()
	for _, r := range registry {
		if r.t.Name() == name {
			return r.t
		}
	}
	return nil
}

// ServerOptions say what Accept may agree to. The zero value enables every registered type and pings nobody.
type ServerOptions struct {
	// Types are the enabled types; nil enables all.
	Types []string
	// PingInterval is the longest time between keep-alive pings on the types that have them: each interval is drawn from 0.8 to 1.0 of
	// it. 0 sends none.
	PingInterval time.Duration
	// PongTimeout is how long a WebSocket peer may leave a ping unanswered while no byte moves in either direction and the owner is
	// reading; reads of the tunnel then end with [ErrNoPong]. 0 waits for ever. The other types have no pongs.
	PongTimeout time.Duration
	// RequireConnection asks for "Connection: upgrade" in front of every token (RFC 9110 section 7.8), custom ones included. Without it
	// these are taken from a request that lost the field to a load balancer.
	RequireConnection bool
	// MaxFrame bounds what a peer may announce in one frame, in bytes; 0 means 1 MiB.
	MaxFrame int
	// Timeout bounds the exchange, from the call to the written answer, beside ctx; 0 means 10 s.
	Timeout time.Duration
}

// ClientOptions describe one attempt.
type ClientOptions struct {
	// Type is the one token offered.
	Type string
	// Host is the Host field; "" means the connection's remote address.
	Host string
	// Path is the endpoint; "" means [Path].
	Path string
	// Ping asks the server for keep-alive pings where the type leaves a choice (websocket).
	Ping bool
	// UserAgent is sent when not empty.
	UserAgent string
	// MaxFrame bounds what the server may announce in one frame, in bytes; 0 means 1 MiB.
	MaxFrame int
	// Timeout bounds the attempt beside ctx; 0 means 10 s.
	Timeout time.Duration
}

// A RefusedError is a request that Accept answered with a status other than 101.
type RefusedError struct {
	Status int
	Reason string
	fields http.Header
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("upgrade refused with %d: %s", e.Status, e.Reason)
}

// A StatusError is an attempt that was answered, but not with the 101 asked for.
type StatusError struct {
	Status int
	Type   string // the token offered
	Body   string // the beginning of the answer's body
	Reason string // what was wrong with a 101; empty for another status
	// Reusable says that the answer was read whole and left the connection open for another request.
	Reusable bool
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("upgrade %s: status %d", e.Type, e.Status)
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Body != "" {
		s += fmt.Sprintf(" (%.80q)", e.Body)
	}
	return s
}

// bound puts the earlier of ctx's deadline and now+limit on conn and passes a cancellation on as a deadline in the past. The
// function it returns undoes both; it waits for a cancellation under way, so that no deadline is set behind its back, and
// returns why ctx ended, if it did.
func bound(ctx context.Context, conn net.Conn, limit time.Duration) (release func() error) {
	deadline := time.Now().Add(limit)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	conn.SetDeadline(deadline)
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		conn.SetDeadline(time.Unix(1, 0))
	})
	return func() error {
		if !stop() {
			<-done
		}
		conn.SetDeadline(time.Time{})
		return ctx.Err()
	}
}

// because puts why ctx ended in front of what that looked like here, a deadline that passed; err may be nil.
func because(ctx context.Context, err error) error {
	if err == nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), err)
}
