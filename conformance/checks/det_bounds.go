package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// maxWaitForSilence is the longest declared timeout that DET-13 sits out.
const maxWaitForSilence = 3 * time.Second

func init() {
	conformance.Register(conformance.Check{
		ID: "DET-05", Slug: "split-fail-closed", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "A split ClientHello never leads around client authentication",
		Why: "When a router cannot read the name in a fragmented ClientHello and falls back to its default TLS policy, a route that " +
			"demands a client certificate is open to anybody who cuts the hello in two (CVE-2026-32305).",
		Clauses:    clauses(cve("CVE-2026-32305"), policy("section 5, the table of decisions")),
		Transports: everywhere, Features: []string{"terminate", "mtls"},
		Accept: slices.Concat(
			pass("refused for want of a certificate", conformance.Alert(116), conformance.Alert(40)),
			tolerate("refused, and so failed closed", conformance.Alert(42), conformance.Alert(50), conformance.Alert(109), conformance.Alert(112),
				conformance.Alert(120), conformance.FIN, conformance.RST)),
		Forbid: map[conformance.Outcome]string{
			served:              "a route that demands a certificate was served without one",
			conformance.Dialled: "a backend was dialled for a client that had not proved who it is",
			conformance.Timeout: "held in place of refused",
		},
		Control: opens("mtls"), Run: splitFailClosed, Timeout: 30 * time.Second,
	})
	conformance.Register(conformance.Check{
		ID: "DET-07", Slug: "ch-16k", Level: conformance.Should, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A ClientHello of up to 16 KiB routes; a larger one is routed or refused, never held",
		Why: "Large session tickets, padding and ECH make hellos of many kilobytes. A router with a 4 KiB peek buffer drops them, and one " +
			"that waits for a buffer to fill hangs.",
		Clauses: clauses(rfc(9846, "5.1")), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass(byWitness, conformance.Routed),
		Forbid: map[conformance.Outcome]string{
			conformance.Timeout: "a large hello must be routed or refused, not held", conformance.Misrouted: "a part of the hello was taken for the whole",
		},
		Timeout: 20 * time.Second, Control: opens("a"), Run: large,
	})
	conformance.Register(conformance.Check{
		ID: "DET-10", Slug: "record-overflow", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A record longer than 2^14 bytes ends the connection with record_overflow",
		Why: "The bound on a record is what keeps the memory of a connection bounded before anything is known about the client. Where it " +
			"is not enforced a stranger chooses how much the router buffers.",
		Clauses: clauses(rfc(9846, "5.1")), Transports: everywhere, Features: []string{"terminate"},
		Accept:  pass("fatal record_overflow(22), and the end of the connection", conformance.Alert(22)),
		Forbid:  map[conformance.Outcome]string{conformance.Dialled: "a backend was dialled for an illegal record", accepted: "the handshake went on", leftOpen: "an alert, but no end of the connection"},
		Control: crafted(wire.HelloOptions{PadTo: wire.MaxFragment}), Run: recordOverflow,
	})
	conformance.Register(conformance.Check{
		ID: "DET-11", Slug: "frag-illegal", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "Empty handshake fragments and interleaved record types are fatal, and no backend is dialled",
		Why: "Two parsers that treat an illegal sequence differently see two different ClientHellos: the router authorizes one and the " +
			"backend gets the other.",
		Clauses: clauses(rfc(9846, "5"), rfc(9846, "5.1")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(
			pass("fatal alert", conformance.Alert(10), conformance.Alert(50), conformance.Alert(47)),
			tolerate("ended without saying why", conformance.FIN, conformance.RST),
			tolerate("what is between is refused, and an empty fragment passed over: section 5.1 forbids to send one and does not tell a receiver what to do", emptyPassed)),
		Forbid: map[conformance.Outcome]string{
			accepted:            "the handshake went on",
			conformance.Dialled: "a backend was dialled for an illegal sequence of records",
			conformance.Timeout: "held in place of refused", leftOpen: "an alert, but no end of the connection",
		},
		Control: crafted(wire.HelloOptions{}, firstPart, wire.MaxFragment), Run: illegalFragments,
	})
	conformance.Register(conformance.Check{
		ID: "DET-13", Slug: "silent-client", Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "A client that says nothing, or half a ClientHello, is closed at the declared time",
		Why: "Connections that never speak are the cheapest attack on a router. Without a bound they fill its table; with a bound that is " +
			"too short slow clients are cut off.",
		Clauses: clauses(policy("section 5, limits.client_hello_timeout")), Transports: directOnly,
		Features: []string{"terminate", "hello-timeout"}, Tags: []string{"timing"},
		Accept: pass("closed within a fifth of the declared time", inTime), Forbid: map[conformance.Outcome]string{early: "cut off before the declared time", conformance.Timeout: "still open well after the declared time"},
		Timeout: 15 * time.Second, Control: opens("a"), Run: silent,
	})
}

// certless opens a route without the certificate it demands.
func certless(t *conformance.T, route string) (*tls.Config, error) {
	cfg, err := t.Config(route)
	if err != nil {
		return nil, err
	}
	cfg.GetClientCertificate = nil
	return cfg, nil
}

func splitFailClosed(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	shapes := []func([]byte) [][]byte{
		wire.Cut(5), wire.Cut(60), wire.Fragment(true, 64), wire.Fragment(false, 2, wire.MaxFragment), wire.Fragment(true, 1000, wire.MaxFragment),
	}
	before := t.Accepted()
	var seen []conformance.Observation
	for i, plan := range shapes {
		cfg, err := certless(t, "mtls")
		if err != nil {
			return conformance.Observation{}, err
		}
		stream, err := t.Stream(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		o := reachOver(ctx, t, wire.NewSplitConn(stream, t.Gap(), plan), cfg, "")
		o.Detail = fmt.Sprintf("shape %d: %s", i+1, o.Detail)
		if o.Outcome == served {
			return o, nil
		}
		seen = append(seen, o)
	}
	if detail, ok := t.NotDialled(ctx, before); !ok {
		return conformance.Observation{Outcome: conformance.Dialled, Detail: detail}, nil
	}
	return worst(t, seen), nil
}

func large(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	for _, size := range []int{4096, 4097, 8192, 16383, 16384} {
		s, err := session(ctx, t, wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}, PadTo: size})
		if err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("hello of %d bytes: %v", size, err)}, nil
		}
		if o := ask(ctx, t, s, witnessOf(t, "a")); o.Outcome != conformance.Routed {
			o.Detail = fmt.Sprintf("hello of %d bytes: %s", size, o.Detail)
			return o, nil
		}
	}
	const over = 65000 // all extensions together cannot be longer than 65535
	s, err := session(ctx, t, wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}, PadTo: over})
	how := "routed"
	if err != nil {
		if out := t.Outcome(err); !isRefusal(out) {
			return conformance.Observation{Outcome: out, Detail: fmt.Sprintf("hello of %d bytes: %v", over, err)}, nil
		}
		how = "refused: " + err.Error()
	} else if o := ask(ctx, t, s, witnessOf(t, "a")); o.Outcome != conformance.Routed {
		o.Detail = fmt.Sprintf("hello of %d bytes: %s", over, o.Detail)
		return o, nil
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: fmt.Sprintf("4 KiB to 16 KiB routed; %d bytes %s", over, how)}, nil
}

func recordOverflow(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	msg := wire.NewHello(wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}, PadTo: wire.MaxFragment + 1})
	return refused(ctx, t, map[string][]byte{"record of 2^14+1 bytes": wire.Record(22, 0x0301, msg)})
}

// firstPart is where the hello of DET-11 is cut in two records.
const firstPart = 100

func illegalFragments(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	msg := wire.NewHello(wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}})
	part := func(between []byte) []byte {
		return slices.Concat(wire.Record(22, 0x0301, msg[:firstPart]), between, wire.Record(22, 0x0301, msg[firstPart:]))
	}
	// A record that has no place there MUST end the connection (RFC 9846 sections 5 and 5.1): that binds who receives it.
	o, err := refused(ctx, t, map[string][]byte{
		"application data between the fragments":   part(wire.Record(23, 0x0301, []byte("x"))),
		"change_cipher_spec between the fragments": part(wire.Record(20, 0x0303, []byte{1})),
		"a record of no known type between":        part(wire.Record(99, 0x0301, []byte("x"))),
	})
	if _, forbidden := t.Check.Forbid[o.Outcome]; err != nil || forbidden {
		return o, err
	}
	return unlessAccepted(o, emptyPassed)(refused(ctx, t, map[string][]byte{
		"an empty handshake fragment between":  part(wire.Record(22, 0x0301, nil)),
		"an empty handshake fragment in front": slices.Concat(wire.Record(22, 0x0301, nil), wire.Record(22, 0x0301, msg)),
	}))
}

// emptyPassed is the outcome "an empty handshake record was passed over".
const emptyPassed conformance.Outcome = "empty-passed"

// unlessAccepted goes on from what was seen of inputs that a receiver has to refuse to what was seen of inputs that only the sender must
// not send: for those a handshake that went on is the milder outcome.
func unlessAccepted(before conformance.Observation, milder conformance.Outcome) func(conformance.Observation, error) (conformance.Observation, error) {
	return func(o conformance.Observation, err error) (conformance.Observation, error) {
		if o.Outcome == accepted {
			o.Outcome = milder
		}
		o.Detail = before.Detail + "; " + o.Detail
		return o, err
	}
}

// refused sends each input on a connection of its own; none may be answered by a ServerHello or reach a backend. It reports the
// worst answer; they are sent in the order of names, so that the outcome does not change from run to run.
func refused(ctx context.Context, t *conformance.T, inputs map[string][]byte) (conformance.Observation, error) {
	names := make([]string, 0, len(inputs))
	for name := range inputs {
		names = append(names, name)
	}
	slices.Sort(names)
	before := t.Accepted()
	var seen []conformance.Observation
	var how []string
	for _, name := range names {
		rec, err := answer(ctx, t, inputs[name])
		if err == nil {
			return conformance.Observation{Outcome: accepted, Detail: fmt.Sprintf("%s: answered with a record of type %d: % x…", name, rec.Type, rec.Fragment[:min(8, len(rec.Fragment))])}, nil
		}
		out := t.Outcome(err)
		if errors.Is(err, errLeftOpen) {
			out = leftOpen
		}
		seen = append(seen, conformance.Observation{Outcome: out, Detail: name + ": " + err.Error()})
		how = append(how, fmt.Sprintf("%s: %s", name, out))
	}
	if detail, ok := t.NotDialled(ctx, before); !ok {
		return conformance.Observation{Outcome: conformance.Dialled, Detail: detail + "; " + strings.Join(how, ", ")}, nil
	}
	o := worst(t, seen)
	o.Detail = strings.Join(how, ", ")
	return o, nil
}

func silent(ctx context.Context, t *conformance.T) (result conformance.Observation, err error) {
	limit := t.Target.HelloTimeout
	if limit <= 0 || limit > maxWaitForSilence {
		return conformance.Observation{}, &conformance.NotRunError{Reason: fmt.Sprintf("the declared ClientHello timeout is %v; only one of up to %v is sat out", limit, maxWaitForSilence)}
	}
	msg := wire.Records(wire.NewHello(wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}}))[0]
	inputs := map[string][]byte{"no bytes": nil, "half a ClientHello": msg[:len(msg)/2]}
	// The router's clock starts between the two looks at ours, before the connecting and behind the last byte.
	type closing struct {
		name string
		span
		out   conformance.Outcome
		fault error
	}
	t.AtRest()
	done := make(chan closing, len(inputs))
	for name, raw := range inputs {
		go func() {
			before := time.Now()
			c, err := t.TCP(ctx)
			if err == nil && len(raw) > 0 {
				_, err = c.Write(raw)
			}
			if err != nil {
				done <- closing{name: name, fault: err}
				return
			}
			start := time.Now()
			_ = c.SetReadDeadline(start.Add(limit + limit/5 + t.Wait())) // an error shows in Read
			_, err = wire.ReadAnswer(c)
			done <- closing{name: name, span: since(before, start), out: t.Outcome(err)}
		}()
	}
	result.Outcome = inTime
	var how []string
	defer func() {
		slices.Sort(how)
		result.Detail = fmt.Sprintf("declared %v; %s", limit, strings.Join(how, ", "))
	}()
	for range inputs {
		c := <-done
		how = append(how, fmt.Sprintf("%s: %s after %v", c.name, c.out, c.least.Round(time.Millisecond)))
		if c.fault != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", c.name, c.fault))
			continue
		}
		when, slow := c.against(limit-limit/5, limit+limit/5+t.Silence())
		switch {
		case c.out == conformance.Timeout || when > 0:
			result.Outcome = conformance.Timeout
		case slow != nil:
			err = errors.Join(err, fmt.Errorf("%s: %w", c.name, slow))
		case when < 0 && result.Outcome == inTime:
			result.Outcome = early
		}
	}
	return result, err
}
