package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
)

// probe makes the handshake on raw that is probe and, on a direct path, data session. conn is nil when it failed and ctx still
// leaves time for another way.
func (s *dialing) probe(ctx context.Context, raw net.Conn) (*tls.Conn, error) {
	began := time.Now()
	conn, verdict, err := s.hello(ctx, raw)
	took := time.Since(began)
	s.info.Class, s.info.Reason, s.info.Negotiated = verdict.Class, verdict.Reason, verdict.Negotiated
	step := Step{Try: Direct, Err: err, Took: took}
	if verdict.Class != probe.Direct && err == nil {
		step.Err = errors.New(verdict.Reason)
	}
	s.note(step)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		s.refused = err
		return nil, nil
	}
	if verdict.Class == probe.Direct {
		s.observe(func(t *Trace) func(time.Duration) { return t.InnerTLS }, took)
	} else {
		s.observe(func(t *Trace) func(time.Duration) { return t.OuterTLS }, took)
	}
	return conn, nil
}

// hello runs the probe's handshake on raw, which it closes when the handshake fails.
func (s *dialing) hello(ctx context.Context, raw net.Conn) (*tls.Conn, probe.Verdict, error) {
	id := &identifier{dialing: s, preferInner: true}
	recorder := probe.Record(raw)
	conn := tls.Client(recorder, &tls.Config{
		ServerName:           s.inner,
		NextProtos:           s.ALPN,
		InsecureSkipVerify:   true, // verified by id, against either of two sets of roots
		VerifyConnection:     id.verify,
		GetClientCertificate: id.clientCertificate,
		KeyLogWriter:         bothLogs(s.InnerKeyLog, s.OuterKeyLog),
		CurvePreferences:     curvesForAnybody(s.Curves),
		ClientSessionCache:   sessionsOf(s.Sessions, "first "),
	})
	err := s.handshake(ctx, conn)
	seen := recorder.Seen()
	recorder.Stop()
	seen.Identity, seen.Trusting, seen.Asked = id.identity, s.Insecure, id.asked
	state := conn.ConnectionState()
	if id.identity == probe.Router && s.inner == s.outer && len(s.ALPN) > 0 && state.NegotiatedProtocol == "" {
		seen.Identity = probe.Frontend // of one name for both, the certificate alone does not tell which it is
	}
	verdict := probe.Classify(&state, err, s.ALPN, seen)
	if err != nil {
		raw.Close()
		return nil, verdict, fmt.Errorf("tls: %w", err)
	}
	return conn, verdict, nil
}

// curvesForAnybody adds X25519 to a hybrid group that stands alone.
func curvesForAnybody(curves []tls.CurveID) []tls.CurveID {
	if len(curves) == 1 && curves[0] == tls.X25519MLKEM768 {
		return []tls.CurveID{curves[0], tls.X25519}
	}
	return curves
}

// sessionsOf is a part of a cache: two servers that answer for one name must not get each other's tickets.
func sessionsOf(cache tls.ClientSessionCache, part string) tls.ClientSessionCache {
	if cache == nil {
		return nil
	}
	return sessionsPart{cache, part}
}

type sessionsPart struct {
	all  tls.ClientSessionCache
	part string
}

func (p sessionsPart) Get(key string) (*tls.ClientSessionState, bool) { return p.all.Get(p.part + key) }
func (p sessionsPart) Put(key string, s *tls.ClientSessionState)      { p.all.Put(p.part+key, s) }

// handshake bounds a handshake by a step's time. HandshakeContext closes the connection when ctx ends, and leaves no deadline behind.
func (s *dialing) handshake(ctx context.Context, conn *tls.Conn) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.step, &timeoutError{"tls handshake", s.step})
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, ctx.Err()) {
			return cause
		}
		return err
	}
	return nil
}
