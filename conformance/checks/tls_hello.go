package checks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

const (
	shuffles   = 12
	extUnknown = 0x7a7b // none of the reserved values that TLS-16 sends
)

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-22", Slug: "ext-order-dup", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "Extensions may come in any order, and none may come twice",
		Why: "Browsers shuffle their extensions on every connection: a router that expects the name in front fails at random. And where one of " +
			"two names counts here and the other there, routing can be steered around.",
		Clauses: clauses(rfc(9846, "4.3"), rfc(9846, "6.2"), rfc(9846, "9.3")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(pass("illegal_parameter or decode_error for each repeated one, and every order is routed", conformance.Alert(47), conformance.Alert(50)),
			tolerate("refused by another alert, and every order is routed", conformance.Alert(10), conformance.Alert(40)),
			tolerate("an extension that the receiver does not know, which section 9.3 has it ignore, was ignored twice", unknownTwice)),
		Forbid: map[conformance.Outcome]string{
			accepted: "the handshake went on with an extension that came twice", conformance.Dialled: "a backend was dialled for a hello with a repeated extension",
			conformance.Misrouted: "the order of extensions changed the route", mixedUp: "a hello was refused for the order of its extensions",
			conformance.Timeout: "held in place of routed or refused", leftOpen: "an alert, but no end of the connection",
		},
		Control: crafted(wire.HelloOptions{}), Run: extensionOrder,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-29", Slug: "old-versions", Tags: []string{conformance.Counts}, Level: conformance.Should, Origin: conformance.RFC, Role: conformance.Router,
		Title: "TLS 1.1 and everything before it is refused with protocol_version",
		Why: "Versions before 1.2 rest on broken hashes and are not to be used any more. The right alert tells an old client's owner what to " +
			"update; any other sends them looking at certificates.",
		Clauses: clauses(rfc(8996, "4"), rfc(8996, "5"), rfc(9846, "6.2")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(pass("protocol_version", conformance.Alert(70)),
			tolerate("refused for the suites of that version", conformance.Alert(40), conformance.Alert(71)),
			tolerate("ended without saying why", conformance.FIN, conformance.RST)),
		Forbid: map[conformance.Outcome]string{
			accepted: "the handshake went on", conformance.Dialled: "a backend was dialled", leftOpen: "an alert, but no end of the connection",
			conformance.Timeout: "held in place of refused",
		},
		Control: crafted(wire.HelloOptions{}), Run: oldVersions,
	})
}

// unknownTwice is the outcome "an extension of no known type came twice and was ignored".
const unknownTwice conformance.Outcome = "unknown-ignored"

func extensionOrder(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	random := rand.New(rand.NewPCG(uint64(t.Seed), 22)) //nolint:gosec // repeatable on purpose
	for i := range shuffles {
		shuffle := func(list []wire.Extension) []wire.Extension {
			random.Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
			return list
		}
		if i == 0 { // the name behind all others, as no common client has it
			shuffle = func(list []wire.Extension) []wire.Extension { slices.Reverse(list); return list }
		}
		if o, err := reordered(ctx, t, shuffle); err != nil || o.Outcome != conformance.Routed {
			o.Detail = fmt.Sprintf("order %d of seed %d: %s", i, t.Seed, o.Detail)
			return o, err
		}
	}
	known, unknown := map[string][]byte{}, map[string][]byte{}
	for name, typ := range map[string]uint16{
		"ALPN": wire.ExtALPN, "supported_groups": wire.ExtSupportedGroups, "supported_versions": wire.ExtSupportedVersions,
		"key_share": wire.ExtKeyShare, "an unknown one": extUnknown,
	} {
		msg := wire.NewHello(wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}, Last: []wire.Extension{{Type: extUnknown, Body: []byte{1}}}})
		msg, err := wire.Edit(msg, func(list []wire.Extension) []wire.Extension {
			at := slices.IndexFunc(list, func(e wire.Extension) bool { return e.Type == typ })
			return append(list, list[at])
		})
		if err != nil {
			return conformance.Observation{}, err
		}
		into := known
		if typ == extUnknown {
			into = unknown
		}
		into[name] = wire.Records(msg)[0]
	}
	o, err := refused(ctx, t, known)
	if _, forbidden := t.Check.Forbid[o.Outcome]; err != nil || forbidden {
		return o, err
	}
	return unlessAccepted(o, unknownTwice)(refused(ctx, t, unknown))
}

func reordered(ctx context.Context, t *conformance.T, order func([]wire.Extension) []wire.Extension) (conformance.Observation, error) {
	msg, key, err := wire.HelloTLS13(wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}})
	if err != nil {
		return conformance.Observation{}, err
	}
	if msg, err = wire.Edit(msg, order); err != nil {
		return conformance.Observation{}, err
	}
	stream, err := t.Stream(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer stream.Close()
	if err := bounded(t, stream, wire.Records(msg)[0]); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	s, err := wire.Connect(stream, msg, key)
	if err != nil {
		out := t.Outcome(err)
		if isRefusal(out) {
			out = mixedUp
		}
		return conformance.Observation{Outcome: out, Detail: err.Error()}, nil
	}
	return ask(ctx, t, s, witnessOf(t, "a")), nil
}

func oldVersions(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	list := map[string]uint16{"TLS 1.1": 0x0302, "TLS 1.0": 0x0301, "SSL 3.0": 0x0300}
	raw := map[string][]byte{}
	for name, version := range list {
		raw[name] = wire.Records(wire.OldHello(version, t.Name("a"), "trb-a"))[0]
	}
	listed, err := wire.Edit(wire.OldHello(0x0303, t.Name("a"), "trb-a"), func(exts []wire.Extension) []wire.Extension {
		return append(exts, wire.Extension{Type: wire.ExtSupportedVersions, Body: []byte{4, 3, 2, 3, 1}})
	})
	if err != nil {
		return conformance.Observation{}, err
	}
	raw["TLS 1.1 and 1.0 in supported_versions"] = wire.Records(listed)[0]
	return refused(ctx, t, raw)
}
