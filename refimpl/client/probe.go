package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// ProbeALPN is the name our router confirms whatever its routes are.
const ProbeALPN = "tlsroute-probe/1"

// ProbeResult is what a path does to ALPN, and which upgrades cross it.
type ProbeResult struct {
	Address    string          `json:"address"`
	Class      probe.Class     `json:"class"`
	Reason     string          `json:"reason"`
	Negotiated string          `json:"negotiated"`
	Upgrades   []UpgradeResult `json:"upgrades"`
}

// UpgradeResult is one upgrade type. It crosses when a TLS router answers behind the 101: a 101 alone may be anybody's.
type UpgradeResult struct {
	Type    string `json:"type"`
	Crosses bool   `json:"crosses"`
	Status  int    `json:"status"` // of the HTTP answer, 0 for none
	Reason  string `json:"reason"`
}

// Probe finds out what the path does, without a service in mind: it offers [ProbeALPN] unless ALPN is set. It tries every
// upgrade type on a connection of its own, also when the path is direct. ctx bounds all of it, beside Timeout for the first
// handshake and for each upgrade. The error is set when nothing could be said: no connection, or ctx ended.
func (d *Dialer) Probe(ctx context.Context) (ProbeResult, error) {
	result := ProbeResult{Address: d.Address, Class: probe.Unknown, Upgrades: []UpgradeResult{}}
	prober := *d
	prober.Upgrade, prober.Trace = Auto, nil
	if len(prober.ALPN) == 0 {
		prober.ALPN = []string{ProbeALPN}
	}
	s, err := prober.start()
	if err != nil {
		return result, &DialError{Address: d.Address, Err: err}
	}
	if err := s.classify(ctx); err != nil {
		return result, &DialError{Address: d.Address, Info: s.info, Err: err}
	}
	result.Class, result.Reason, result.Negotiated = s.info.Class, s.info.Reason, s.info.Negotiated
	types := d.Types
	if types == nil {
		types = upgrade.Names()
	}
	for _, typ := range types {
		result.Upgrades = append(result.Upgrades, s.try(ctx, typ))
		if ctx.Err() != nil {
			return result, &DialError{Address: d.Address, Info: s.info, Err: context.Cause(ctx)}
		}
	}
	return result, nil
}

// classify fills in the class. Its error means that there is none.
func (s *dialing) classify(ctx context.Context) error {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	raw, err := s.firstTCP(ctx)
	if err != nil {
		return err
	}
	if s.plaintext {
		s.info.Class, s.info.Reason = probe.Terminated, plaintextReason
		return raw.Close()
	}
	conn, err := s.probe(ctx, raw)
	closeQuietly(conn)
	return err
}

// try tells whether one upgrade type crosses the path.
func (s *dialing) try(ctx context.Context, typ string) UpgradeResult {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	r := UpgradeResult{Type: typ}
	conn, err := s.outerConn(ctx, nil)
	if err != nil {
		r.Reason = err.Error()
		return r
	}
	tunnel, err := upgrade.Dial(ctx, conn, upgrade.ClientOptions{Type: typ, Host: s.host, Path: s.Path, Ping: s.Ping, Timeout: s.step})
	if err != nil {
		conn.Close()
		r.Reason = err.Error()
		if status, ok := errors.AsType[*upgrade.StatusError](err); ok {
			r.Status = status.Status
		}
		return r
	}
	r.Status = http.StatusSwitchingProtocols
	inner, err := s.innerTLS(ctx, tunnel)
	var final finalError
	var stranger *tls.CertificateVerificationError
	switch {
	case err == nil:
		name := inner.ConnectionState().NegotiatedProtocol
		inner.Close()
		r.Crosses, r.Reason = true, "the router answered inside, without ALPN"
		if slices.Contains(s.ALPN, name) {
			r.Reason = fmt.Sprintf("the router confirmed ALPN %q inside", name)
		}
	case errors.As(err, &stranger):
		r.Crosses, r.Reason = true, "a TLS server answered inside, with a certificate that does not verify for "+s.inner+" (a probe does not need it)"
	case errors.As(err, &final):
		// An alert or a certificate: a TLS server sits behind the 101, though it is not content.
		r.Crosses, r.Reason = true, "a TLS server answered inside: "+err.Error()
	default:
		r.Reason = err.Error()
	}
	return r
}

func (s *dialing) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return context.WithTimeoutCause(ctx, timeout, &timeoutError{"dial", timeout})
}
