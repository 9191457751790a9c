package checks

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of asking for another handshake within a session.
const (
	refusedAgain conformance.Outcome = "renegotiation-refused"
	renegotiated conformance.Outcome = "renegotiated"
)

func init() {
	balancer(conformance.Check{
		ID: "ALB-TLS-16", Slug: "alb-renegotiation", Level: conformance.Must,
		Title: "A renegotiation that the client asks for is refused",
		Why: "A client that may renegotiate makes the balancer do the dearest part of a handshake as often as it likes, on one connection. Old " +
			"clients that count on it, to show a certificate for one path only, do not work behind an ALB.",
		Clauses: clauses(fact("ALB-TLS-16", "D", "AWS, Application Load Balancers: HTTPS listeners", httpsPage)),
		Accept:  pass("an alert, or the end of the connection", refusedAgain), Run: overTLS(renegotiates),
		Forbid: map[conformance.Outcome]string{renegotiated: "the balancer began another handshake", conformance.Timeout: "neither refused nor done"},
	})
}

func renegotiates(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	c, err := t.TCP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	up := t.Path.Upgrade
	within(t, c)
	session, err := wire.NewRenegotiator(c, &tls.Config{ServerName: up.ServerName, RootCAs: up.Roots, MinVersion: tls.VersionTLS12})
	if how := t.Outcome(err); how == conformance.Alert(70) || how == conformance.Alert(40) {
		return conformance.Observation{}, &conformance.UnsupportedError{Reason: fmt.Sprintf("the listener has no TLS 1.2 with ECDHE and AES-128-GCM (%v), and TLS 1.3 has no renegotiation", err)}
	}
	if err != nil {
		return conformance.Observation{}, err
	}
	typ, err := session.Renegotiate(up.ServerName)
	switch how := t.Outcome(err); {
	case err == nil && typ == 22:
		return saw(renegotiated, "the answer to the second ClientHello is a handshake record"), nil
	case err == nil && typ == 21:
		return saw(refusedAgain, "an alert in answer to the second ClientHello"), nil
	case err == nil:
		return saw(conformance.Outcome(fmt.Sprintf("error: a record of type %d", typ)), "in answer to the second ClientHello"), nil
	case how == conformance.FIN, how == conformance.RST, how == conformance.Truncated:
		return saw(refusedAgain, "the connection ended: %v", err), nil
	default:
		return saw(how, "%v", err), nil
	}
}
