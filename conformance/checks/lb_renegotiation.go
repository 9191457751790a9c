package checks

import (
	"context"
	"errors"
	"fmt"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// refusedAgain is the outcome "another handshake within the session was refused".
const refusedAgain conformance.Outcome = "renegotiation-refused"

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
	name := t.Path.Upgrade.ServerName
	within(t, c)
	session, err := wire.Connect12(c, name, "http/1.1")
	if alert, ok := errors.AsType[*wire.AlertError](err); ok && (alert.Code == 70 || alert.Code == 40) {
		return conformance.Observation{}, &conformance.NotRunError{Reason: fmt.Sprintf("the listener has no TLS 1.2 with ECDHE and AES-128-GCM (%v), and TLS 1.3 has no renegotiation", err)}
	}
	if err != nil {
		return conformance.Observation{}, fmt.Errorf("a TLS 1.2 session: %w", err)
	}
	if err := session.Renegotiate(name, "http/1.1"); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	rec, err := session.Next()
	_, alert := errors.AsType[*wire.AlertError](err)
	switch how := t.Outcome(err); {
	case rec.Type == 22: // whether or not it can be opened
		return saw(renegotiated, "the answer to the second ClientHello is a handshake record"), nil
	case alert, how == conformance.FIN, how == conformance.RST, how == conformance.Truncated:
		return saw(refusedAgain, "in answer to the second ClientHello: %v", err), nil
	case err == nil:
		return saw(conformance.Corrupted, "a record of type %d in answer to the second ClientHello", rec.Type), nil
	default:
		return saw(how, "%v", err), nil
	}
}
