package checks

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of a second ClientHello.
const (
	tornApart conformance.Outcome = "handshake-broken"
	rerouted  conformance.Outcome = "rerouted"
	wentOn    conformance.Outcome = "continued"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-20", Slug: "hrr-pass", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "On a passed-through route a HelloRetryRequest and the second ClientHello cross unchanged, on the same connection",
		Why: "A backend that wants another key share answers with a HelloRetryRequest. A router that takes the second hello for a new client, or " +
			"waits for something else, works until client and backend differ in the groups that they like.",
		Clauses: clauses(rfc(9846, "4.2.4"), rfc(9846, "9.3")), Transports: everywhere, Features: []string{"passthrough"},
		Accept: pass("the handshake, whose keys cover every byte of both hellos, completes with the witness", conformance.Routed),
		Forbid: map[conformance.Outcome]string{
			tornApart: "both sides did not see the same handshake", conformance.Timeout: "the second hello, or its answer, did not arrive",
			conformance.Dialled: "more than one connection was made to a backend",
		},
		Control: opens("pass"), Run: retryPasses, Tags: []string{conformance.Exclusive}, // it counts a connection that it has made
	})
	conformance.Register(conformance.Check{
		ID: "TLS-21", Slug: "hrr-sni-change", Level: conformance.Should, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A second ClientHello with another name is refused, and does not change the route",
		Why: "The route was chosen by the first hello. A second one with another name is made by nobody but an attacker, who wants one policy " +
			"applied and another service reached.",
		Clauses: clauses(rfc(9846, "4.2.2"), rfc(9846, "6.2")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(pass("illegal_parameter", conformance.Alert(47)),
			tolerate("refused by another alert", conformance.Alert(10), conformance.Alert(40), conformance.Alert(50), conformance.Alert(51)),
			tolerate("ended without saying why", conformance.FIN, conformance.RST),
			tolerate("went on by the first hello alone", wentOn)),
		Forbid: map[conformance.Outcome]string{
			rerouted: "the second name was routed", tornApart: "went on, and the two sides did not agree on what was said",
			conformance.Timeout: "held in place of refused",
		},
		Control: func(ctx context.Context, t *conformance.T) error {
			r, err := startRetry(ctx, t, t.Name("a"), "trb-both")
			if err != nil {
				return err
			}
			s, err := r.finish(t, func(list []wire.Extension) []wire.Extension { return list })
			if err != nil {
				return fmt.Errorf("the same second ClientHello with the first name: %w", err)
			}
			if o := ask(ctx, t, s, witnessOf(t, "a")); o.Outcome != conformance.Routed {
				return fmt.Errorf("the same second ClientHello with the first name: %s: %s", o.Outcome, o.Detail)
			}
			return nil
		},
		Run: retryRenamed,
	})
}

// retrying is a handshake that stands between the HelloRetryRequest and the second ClientHello.
type retrying struct {
	stream net.Conn
	first  []byte
	key    *ecdh.PrivateKey
	retry  wire.Retry
}

func startRetry(ctx context.Context, t *conformance.T, sni, alpn string) (*retrying, error) {
	r := &retrying{}
	var err error
	if r.first, r.key, err = wire.HelloWithoutShare(wire.HelloOptions{SNI: sni, ALPN: []string{alpn}}); err != nil {
		return nil, err
	}
	if r.stream, err = t.Stream(ctx); err != nil {
		return nil, err
	}
	if err := bounded(t, r.stream, wire.Records(r.first)[0]); err != nil {
		return nil, err
	}
	r.retry, err = wire.ReadRetry(r.stream)
	return r, err
}

// finish sends the second ClientHello, changed, and completes the handshake.
func (r *retrying) finish(t *conformance.T, change func([]wire.Extension) []wire.Extension) (*wire.Session, error) {
	second, err := r.retry.Again(r.first, r.key)
	if err != nil {
		return nil, err
	}
	if second, err = wire.Edit(second, change); err != nil {
		return nil, err
	}
	// By now the version is agreed upon, and stands in the record too (RFC 9846 section 5.1).
	if err := bounded(t, r.stream, wire.Record(22, 0x0303, second)); err != nil {
		return nil, err
	}
	return r.retry.Connect(r.stream, r.first, second, r.key)
}

// broken says of an error behind the HelloRetryRequest what it is: one that is no answer means that the two sides hold different
// transcripts, or that what answers is no continuation.
func broken(t *conformance.T, err error) conformance.Observation {
	o := conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	if strings.HasPrefix(string(o.Outcome), "error:") {
		o.Outcome = tornApart
	}
	return o
}

func retryPasses(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	before := t.Accepted()
	r, err := startRetry(ctx, t, t.Name("pass"), "trb-pass")
	if _, harness := errors.AsType[*wire.MalformedError](err); harness {
		return broken(t, err), nil
	}
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "the first ClientHello: " + err.Error()}, nil
	}
	s, err := r.finish(t, func(list []wire.Extension) []wire.Extension { return list })
	if err != nil {
		o := broken(t, err)
		o.Detail = "the second ClientHello: " + o.Detail
		return o, nil
	}
	o := ask(ctx, t, s, witnessOf(t, "pass"))
	if n := t.Accepted() - before; o.Outcome == conformance.Routed && n != 1 {
		return conformance.Observation{Outcome: conformance.Dialled, Detail: fmt.Sprintf("%d connections to witnesses for one client", n)}, nil
	}
	return o, nil
}

// retryRenamed changes name a to name b between the hellos, for a protocol that both routes take.
func retryRenamed(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	r, err := startRetry(ctx, t, t.Name("a"), "trb-both")
	if err != nil {
		return conformance.Observation{}, err // the control has seen this work
	}
	s, err := r.finish(t, func(list []wire.Extension) []wire.Extension {
		return wire.Set(list, wire.Extension{Type: wire.ExtServerName, Body: wire.SNIBody(t.Name("b"))})
	})
	if err != nil {
		return broken(t, err), nil
	}
	o := ask(ctx, t, s, witnessOf(t, "a"))
	if o.Outcome == conformance.Routed {
		return conformance.Observation{Outcome: wentOn, Detail: "the handshake completed, and the first name's backend answered"}, nil
	}
	if o.Outcome == conformance.Misrouted {
		o.Outcome = rerouted
	}
	return o, nil
}
