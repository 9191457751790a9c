package checks

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of encrypted hellos.
const (
	ignoredECH   conformance.Outcome = "ignored"
	confirmedECH conformance.Outcome = "confirmed-ech"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-17", Slug: "ech-grease", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "An encrypted_client_hello that cannot be decrypted is ignored, and the outer name decides",
		Why: "Browsers send this extension to every server, filled with random bytes, so that the real one does not stand out. A router that " +
			"refuses it refuses browsers; one that waits for keys which it does not have never answers.",
		Clauses: clauses(rfc(9849, "7.1")), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass(byWitness, conformance.Routed),
		Forbid: map[conformance.Outcome]string{
			conformance.Misrouted: "the extension changed the route", conformance.Corrupted: "the backend did not get the hello that was sent",
			conformance.Timeout: "held in place of routed",
		},
		Control: crafted(wire.HelloOptions{}), Run: echGrease,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-18", Slug: "ech-inner-direct", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A ClientHello that says it is the inner one of an encrypted hello is refused when it comes from the network",
		Why: "The inner hello exists only between a client-facing server and its backends. A server on the network that takes one for real " +
			"confirms encryption to a client whose name everybody could read.",
		Clauses: clauses(rfc(9849, "7"), rfc(9846, "4.2.2")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(pass("illegal_parameter", conformance.Alert(47)),
			tolerate("RFC 9846 section 4.2.2: a server that does not know the extension ignores it", ignoredECH)),
		Forbid: map[conformance.Outcome]string{
			confirmedECH: "the ServerHello confirms an encrypted hello that came in the clear", leftOpen: "an alert, but no end of the connection",
			conformance.Timeout: "held in place of refused",
		},
		Control: crafted(wire.HelloOptions{}), Run: echInner,
	})
}

func echGrease(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	routes := []string{"a", "b"}
	if has(t, "passthrough") {
		routes = append(routes, "pass")
	}
	for _, route := range routes {
		cfg, err := t.Config(route, "trb-"+route)
		if err != nil {
			return conformance.Observation{}, err
		}
		s, err := session(ctx, t, wire.HelloOptions{SNI: cfg.ServerName, ALPN: cfg.NextProtos, Last: []wire.Extension{wire.GreaseECH()}})
		if err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("route %s: %v", route, err)}, nil
		}
		o, rec := t.Served(ctx, s, witnessOf(t, route))
		if route == "pass" && o.Outcome == conformance.Routed && (rec.TLS == nil || rec.TLS.SNI != cfg.ServerName) {
			o = conformance.Observation{Outcome: conformance.Corrupted, Detail: fmt.Sprintf("the witness's TLS record: %+v", rec.TLS)}
		}
		if o.Outcome != conformance.Routed {
			o.Detail = fmt.Sprintf("route %s: %s", route, o.Detail)
			return o, nil
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: fmt.Sprintf("routes %v", routes)}, nil
}

func echInner(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	msg, _, err := wire.HelloTLS13(wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}, Last: []wire.Extension{{Type: wire.ExtECH, Body: []byte{wire.ECHInner}}}})
	if err != nil {
		return conformance.Observation{}, err
	}
	rec, err := answer(ctx, t, wire.Records(msg)[0])
	switch {
	case errors.Is(err, errLeftOpen):
		return conformance.Observation{Outcome: leftOpen, Detail: err.Error()}, nil
	case err != nil:
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	case wire.ECHConfirmed(msg, rec.Fragment):
		return conformance.Observation{Outcome: confirmedECH, Detail: "the last eight bytes of the ServerHello's random are the confirmation"}, nil
	}
	return conformance.Observation{Outcome: ignoredECH, Detail: "a ServerHello without the confirmation"}, nil
}
