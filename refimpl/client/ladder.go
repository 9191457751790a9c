package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// A finalError marks a failure that another upgrade type would meet again.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// ladder tries the upgrade types one after the other, one token a request: a request with two is refused by strict firewalls
// (tls-routing.md, section 4, case 7). conn, which may be nil, can carry the first attempt; probed says that it is the probe's.
func (s *dialing) ladder(ctx context.Context, types []string, conn net.Conn, probed bool) (*Conn, error) {
	last := errors.New("no upgrade type to try")
	for _, typ := range types {
		c, rest, err := s.rung(ctx, typ, conn, probed)
		if err == nil {
			return c, nil
		}
		conn, probed, last = rest, false, err
		var final finalError
		if errors.As(err, &final) || ctx.Err() != nil {
			if final.error != nil {
				last = final.error
			}
			break
		}
	}
	if conn != nil {
		conn.Close()
	}
	return nil, last
}

// rung is one attempt. When it fails, rest is the connection if that can carry the next one.
func (s *dialing) rung(ctx context.Context, typ string, conn net.Conn, probed bool) (c *Conn, rest net.Conn, err error) {
	if conn == nil {
		if conn, err = s.outerConn(ctx, nil); err != nil {
			return nil, nil, finalError{err}
		}
	}
	began := time.Now()
	tunnel, err := upgrade.Dial(ctx, conn, upgrade.ClientOptions{Type: typ, Host: s.host, Path: s.Path, Ping: s.Ping, Timeout: s.step})
	took := time.Since(began)
	if err != nil {
		step := Step{Try: typ, Err: err, Took: took}
		var status *upgrade.StatusError
		if !errors.As(err, &status) {
			conn.Close()
			s.note(step)
			return nil, nil, err
		}
		step.Status = status.Status
		s.note(step)
		if !status.Reusable {
			conn.Close()
			conn = nil
		}
		if probed && status.Status == http.StatusMisdirectedRequest && s.inner != s.outer {
			// The probe's SNI is the service's, the Host is the load balancer's: a front end that insists on one name for both
			// says 421.
			if conn != nil {
				conn.Close()
			}
			return s.rung(ctx, typ, nil, false)
		}
		if !nextMayDo(status.Status) {
			err = finalError{err}
		}
		return nil, conn, err
	}
	s.observe(func(t *Trace) func(time.Duration) { return t.Upgrade }, took)

	inner, err := s.innerTLS(ctx, tunnel)
	if err == nil {
		if err = s.confirmed(inner); err != nil {
			inner.Close()
		}
	}
	step := Step{Try: typ, Status: http.StatusSwitchingProtocols, Err: err, Took: time.Since(began)}
	s.note(step)
	if err != nil {
		return nil, nil, err
	}
	s.info.Upgrade, s.info.Negotiated = typ, inner.ConnectionState().NegotiatedProtocol
	return &Conn{Conn: inner, info: s.info}, nil, nil
}

// An ALPNError is a router that completed the inner handshake without confirming any of the names offered. A router confirms what it
// routes by, so nobody knows which service this is.
type ALPNError struct {
	Offered []string
	Got     string // "" for none
}

func (e *ALPNError) Error() string {
	return fmt.Sprintf("the router did not confirm the ALPN: offered %q, got %q", e.Offered, e.Got)
}

// confirmed checks the ALPN of the inner session. No other upgrade type would change it.
func (s *dialing) confirmed(inner *tls.Conn) error {
	got := inner.ConnectionState().NegotiatedProtocol
	if len(s.ALPN) == 0 || slices.Contains(s.ALPN, got) {
		return nil
	}
	return finalError{fmt.Errorf("inner tls: %w", &ALPNError{Offered: slices.Clone(s.ALPN), Got: got})}
}

// nextMayDo tells statuses that are about the token (400, 403, 404, 426, 501, 502 of proxies in use) from those that are about
// the endpoint.
func nextMayDo(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusTooManyRequests,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	}
	return true
}

// outerConn connects to the upgrade endpoint: TLS with the outer name and no ALPN, so that a front end that prefers h2 stays
// with HTTP/1.1. raw is the TCP connection to use, nil for a new one.
func (s *dialing) outerConn(ctx context.Context, raw net.Conn) (net.Conn, error) {
	began := time.Now()
	conn, err := s.outerTLS(ctx, raw)
	if err != nil {
		s.note(Step{Try: "tls", Err: err, Took: time.Since(began)})
		return nil, err
	}
	return conn, nil
}

// An outerError is a handshake with the front end that failed, and what the probe's judgement makes of it.
type outerError struct {
	verdict probe.Verdict
	err     error
}

func (e *outerError) Error() string {
	return fmt.Sprintf("outer tls: %v (%s: %s)", e.err, e.verdict.Class, e.verdict.Reason)
}
func (e *outerError) Unwrap() error { return e.err }

func (s *dialing) outerTLS(ctx context.Context, raw net.Conn) (net.Conn, error) {
	if raw == nil {
		var err error
		if raw, err = s.tcp(ctx); err != nil {
			return nil, err
		}
	}
	if s.plaintext {
		return raw, nil
	}
	began := time.Now()
	id := &identifier{dialing: s}
	recorder := probe.Record(raw)
	conn := tls.Client(recorder, &tls.Config{
		ServerName:         s.outer,
		InsecureSkipVerify: true, // verified by id
		VerifyConnection:   id.verify,
		Certificates:       s.OuterCertificates,
		KeyLogWriter:       s.OuterKeyLog,
	})
	err := s.handshake(ctx, conn)
	seen := recorder.Seen()
	recorder.Stop()
	if err != nil {
		raw.Close()
		seen.Identity, seen.Trusting = id.identity, s.Insecure
		return nil, &outerError{probe.Classify(nil, err, nil, seen), err}
	}
	s.observe(func(t *Trace) func(time.Duration) { return t.OuterTLS }, time.Since(began))
	return conn, nil
}

// innerTLS runs the router's handshake in the tunnel, which it closes when that fails. A failure that came from the router
// itself is final.
func (s *dialing) innerTLS(ctx context.Context, tunnel net.Conn) (*tls.Conn, error) {
	if s.WrapTunnel != nil {
		tunnel = s.WrapTunnel(tunnel)
	}
	began := time.Now()
	recorder := probe.Record(tunnel)
	conn := tls.Client(recorder, &tls.Config{
		ServerName:         s.inner,
		NextProtos:         s.ALPN,
		RootCAs:            s.InnerRoots,
		InsecureSkipVerify: s.Insecure,
		Certificates:       s.Certificates,
		KeyLogWriter:       s.InnerKeyLog,
		CurvePreferences:   s.Curves,
		ClientSessionCache: sessionsOf(s.Sessions, "inner "),
	})
	err := s.handshake(ctx, conn)
	seen := recorder.Seen()
	recorder.Stop()
	if err == nil {
		s.observe(func(t *Trace) func(time.Duration) { return t.InnerTLS }, time.Since(began))
		return conn, nil
	}
	tunnel.Close()
	var unverified *tls.CertificateVerificationError
	wrapped := fmt.Errorf("inner tls: %w", err)
	if errors.Is(err, io.EOF) && !seen.ServerHello { // crypto/tls says no more than EOF
		wrapped = fmt.Errorf("inner tls: the connection was closed after the ClientHello, without an answer: %w", err)
	}
	if seen.Alert >= 0 || errors.As(err, &unverified) {
		return nil, finalError{wrapped}
	}
	return nil, wrapped
}
