package conformance

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// The waits of checks. Each is a floor that grows with the round-trip time of the path.
const (
	waitFloor    = 2 * time.Second        // for what must come: many times what a loaded machine needs on loopback
	waitRTTs     = 40                     // handshakes through a load balancer take some ten round trips
	silenceFloor = 300 * time.Millisecond // for what must not come: above any delayed acknowledgement (200 ms)
	silenceRTTs  = 10
	gapFloor     = 300 * time.Microsecond // between two segments: enough for a reader that waits to be scheduled
	gapRTTs      = 2
	gapCeiling   = 20 * time.Millisecond // DET-02 makes a hundred of them
	settleFor    = 60 * time.Millisecond // without a connection to a witness, before those that come are counted: many times what a dial takes
	pollEvery    = 2 * time.Millisecond  // how often a witness in the same process is asked for a record
)

// T is what a check has to work with: one target over one path. Connections that it opens are traced, bounded by the
// check's deadline, and closed by the engine when the check is over.
type T struct {
	Target    *Target
	Path      *Path
	Transport Transport
	Check     Check
	// Instance is what a check with a Setup is put to; nil for others.
	Instance *Running
	// Nonce is unique to this run of the check; Ask gives each order one that begins with it.
	Nonce string
	// Seed makes random choices of a check repeatable; see Options.Seed.
	Seed int64

	rtt    time.Duration // the slowest seen
	usual  time.Duration // the median
	rec    *wire.Recorder
	keylog lockedBuffer
	logger *slog.Logger
	place  *place // among the checks that run side by side; nil when it is alone

	mu     sync.Mutex // guards what follows
	conns  []net.Conn
	orders int
	over   bool
	count  count
	// sessions are the TLS sessions of which the key log has a secret.
	sessions int
}

// Wait is how long to wait for something that must come.
func (t *T) Wait() time.Duration {
	d := max(waitFloor, waitRTTs*t.rtt)
	t.rec.Timer("wait", d)
	return d
}

// Silence is how long nothing must come for it to count as silence.
func (t *T) Silence() time.Duration {
	d := max(silenceFloor, silenceRTTs*t.rtt)
	t.rec.Timer("silence", d)
	return d
}

// Gap is the pause between two segments that must not arrive as one.
func (t *T) Gap() time.Duration { return min(max(gapFloor, gapRTTs*t.usual), gapCeiling) }

// Name is a name in the fixture's domain: "a" -> "a.conformance.example.test".
func (t *T) Name(label string) string { return t.Target.Fixture.Name(label) }

// Logf puts a line into the timeline.
func (t *T) Logf(format string, args ...any) {
	t.rec.Notef(format, args...)
	t.logger.Debug("check", "check", t.Check.ID, "path", t.Path.Name, "note", fmt.Sprintf(format, args...))
}

// TCP opens a traced TCP connection to the first hop of the path.
func (t *T) TCP(ctx context.Context) (*wire.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Wait())
	defer cancel()
	c, err := wire.Dial(ctx, t.Path.Address, t.rec)
	if err != nil {
		return nil, err
	}
	return c, t.keep(ctx, c)
}

// keep makes the engine close c in the end; a connection that comes after the end is closed at once.
func (t *T) keep(ctx context.Context, c net.Conn) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return errors.Join(fmt.Errorf("the check is over: %w", context.Cause(ctx)), c.Close())
	}
	t.conns = append(t.conns, c)
	return nil
}

func (t *T) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	for _, c := range slices.Backward(t.conns) {
		_ = c.Close() // what is left is of no interest: the check has said what it saw
	}
	t.conns = nil
}

// HTTP opens a connection to the HTTP endpoint of the path, TLS without ALPN done where the endpoint is HTTPS. On a path
// without an upgrade it is TLS to the router under its own name.
func (t *T) HTTP(ctx context.Context) (*wire.Conn, error) {
	c, err := t.TCP(ctx)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{ServerName: t.Target.Fixture.Own, RootCAs: t.Target.InnerRoots, MinVersion: tls.VersionTLS12, KeyLogWriter: &t.keylog}
	if up := t.Path.Upgrade; up != nil {
		if !up.TLS {
			return c, nil
		}
		cfg.ServerName, cfg.RootCAs = up.ServerName, up.Roots
	}
	if cert := t.Target.Fixture.ClientA; cert != nil && t.Target.Role == LoadBalancer {
		Present(cfg, cert) // to one that asks
	}
	conn, err := t.handshake(ctx, c, cfg)
	if err != nil {
		return nil, fmt.Errorf("TLS with the endpoint: %w", err)
	}
	return wire.NewConn(conn, t.rec, "http"), nil
}

// Tunnel makes an upgraded tunnel of that type on this path.
func (t *T) Tunnel(ctx context.Context, typ string) (net.Conn, error) {
	if t.Path.Upgrade == nil {
		return nil, fmt.Errorf("path %s has no upgrade endpoint", t.Path.Name)
	}
	c, err := t.HTTP(ctx)
	if err != nil {
		return nil, err
	}
	restore := t.deadline(ctx, c)
	defer restore()
	tunnel, _, err := wire.Upgrade{Type: typ, Host: t.Path.Upgrade.Host, Path: t.Path.Upgrade.Path}.Do(c)
	return tunnel, err
}

// Stream is a byte stream on which a ClientHello for the router may be written: TCP when the path is direct, else a tunnel.
func (t *T) Stream(ctx context.Context) (net.Conn, error) {
	if t.Transport == Direct || t.Path.Upgrade == nil {
		return t.TCP(ctx)
	}
	typ := wire.WebSocket
	if types := t.Path.Upgrade.Types; len(types) > 0 && !slices.Contains(types, typ) {
		typ = types[0]
	}
	return t.Tunnel(ctx, typ)
}

// TLS does a handshake on the stream. InnerRoots and the key log are filled in where cfg has none; nothing else is.
func (t *T) TLS(ctx context.Context, stream net.Conn, cfg *tls.Config) (*tls.Conn, error) {
	cfg = cfg.Clone()
	if cfg.RootCAs == nil {
		cfg.RootCAs = t.Target.InnerRoots
	}
	if cfg.KeyLogWriter == nil {
		cfg.KeyLogWriter = &t.keylog
	}
	return t.handshake(ctx, stream, cfg)
}

func (t *T) handshake(ctx context.Context, stream net.Conn, cfg *tls.Config) (*tls.Conn, error) {
	restore := t.deadline(ctx, stream)
	defer restore()
	conn := tls.Client(wire.NewEndWatch(stream), cfg)
	err := conn.Handshake() // not HandshakeContext: it would close the stream, and hide a timeout
	t.shook(conn, cfg, err)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// shook notes what came of a handshake, and that there must be a secret of it where the key log is ours.
func (t *T) shook(conn *tls.Conn, cfg *tls.Config, err error) {
	if err != nil {
		t.rec.Notef("TLS handshake: %v", err)
		return
	}
	s := conn.ConnectionState()
	t.rec.Notef("TLS handshake done: %s, ALPN %q, name %q", tls.VersionName(s.Version), s.NegotiatedProtocol, s.ServerName)
	again := s.DidResume && s.Version < tls.VersionTLS13 // crypto/tls logs the secret of a session of TLS 1.2 once
	if cfg.KeyLogWriter == io.Writer(&t.keylog) && !again {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.sessions++
	}
}

// deadline bounds what happens on c until the function it returns is called: by Wait and by ctx, whichever is sooner.
func (t *T) deadline(ctx context.Context, c net.Conn) (restore func()) {
	at := time.Now().Add(t.Wait())
	if d, ok := ctx.Deadline(); ok && d.Before(at) {
		at = d
	}
	_ = c.SetDeadline(at) // a closed connection says so on the next call
	return func() { _ = c.SetDeadline(time.Time{}) }
}

// lockedBuffer is the key log: handshakes may run in several goroutines of one check.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}
