package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Outcomes of a second handshake inside the first.
const renegotiated conformance.Outcome = "renegotiated"

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-31", Slug: "renegotiation", Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "A TLS 1.2 session that is routed takes no second handshake under another name",
		Why: "The route was chosen, and the client authenticated, by the first handshake. A router that lets a second one in changes the name " +
			"or the certificate under a connection that its backend takes for somebody else's.",
		Clauses: clauses(policy("section 5, the table of decisions"), rfc(9846, "4.2.2")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(pass("no_renegotiation, or a fatal unexpected_message", conformance.Alert(100), conformance.Alert(10)),
			pass("passed over: the session goes on with the same backend", conformance.Routed),
			tolerate("refused by another alert", conformance.Alert(40), conformance.Alert(80), conformance.Alert(0)),
			tolerate("ended without saying why", conformance.FIN, conformance.RST, conformance.Truncated)),
		Forbid: map[conformance.Outcome]string{
			renegotiated: "the second handshake was begun", conformance.Misrouted: "another backend answers in the same session",
			conformance.Timeout: "neither refused nor passed over: the session stands still",
		},
		Control: func(ctx context.Context, t *conformance.T) error {
			s, err := oldSession(ctx, t)
			if err != nil {
				return err
			}
			if o, _ := t.Served(ctx, s, witnessOf(t, "a")); o.Outcome != conformance.Routed {
				return fmt.Errorf("a TLS 1.2 session: %s: %s", o.Outcome, o.Detail)
			}
			return s.Close()
		},
		Run: renegotiation,
	})
}

// oldSession is a TLS 1.2 session at route a.
func oldSession(ctx context.Context, t *conformance.T) (*wire.Session12, error) {
	stream, err := t.Stream(ctx)
	if err != nil {
		return nil, err
	}
	within(t, stream)
	s, err := wire.Connect12(stream, t.Name("a"), "trb-both")
	if alert, ok := errors.AsType[*wire.AlertError](err); ok && alert.Code == 70 {
		return nil, &conformance.NotRunError{Reason: "TLS 1.2 is off: 1.3 has no renegotiation"}
	}
	if err != nil {
		return nil, fmt.Errorf("a TLS 1.2 session: %w", err)
	}
	return s, nil
}

// renegotiation asks for name b in a session of name a. One that begins a handshake answers with a handshake record, whose type is in
// the clear in TLS 1.2; where nothing comes, the session has to go on as if nothing had been said.
func renegotiation(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	s, err := oldSession(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer s.Close()
	rec, err := t.Ask(s, witness.Order{})
	if err != nil {
		return conformance.Observation{}, err
	}
	within(t, s)
	if err := s.Renegotiate(t.Name("b"), "trb-both"); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	_ = s.SetReadDeadline(time.Now().Add(t.Silence())) // a closed connection says so on the next call
	next, err := s.Next()
	switch {
	case next.Type == 22: // whether or not it can be opened
		return conformance.Observation{Outcome: renegotiated, Detail: fmt.Sprintf("answered with a handshake record of %d bytes", len(next.Fragment))}, nil
	case err == nil:
		return conformance.Observation{Outcome: conformance.Misrouted, Detail: fmt.Sprintf("a record of type %d came that nobody had asked for", next.Type)}, nil
	case t.Outcome(err) != conformance.Timeout:
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	within(t, s)
	word, got := []byte(t.Nonce), make([]byte, len(t.Nonce))
	if _, err = s.Write(word); err == nil {
		_, err = io.ReadFull(s, got)
	}
	switch {
	case err != nil:
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	case string(got) != string(word):
		return conformance.Observation{Outcome: conformance.Misrouted, Detail: fmt.Sprintf("%q came back, not the echo of %q", got, word)}, nil
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: "witness " + rec.Witness + " still echoes"}, nil
}
