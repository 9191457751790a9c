package checks

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-10", Slug: "alpn-none", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "ALPN that no route of the name takes is refused with no_application_protocol",
		Why: "Clients detect a load balancer in the way by exactly this alert, or by its absence. A router that goes on with some other " +
			"protocol makes the client speak to a service that does not understand it.",
		Clauses: clauses(rfc(7301, "3.2")), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass("fatal no_application_protocol(120), and no backend dialled", conformance.Alert(120)),
		Forbid: map[conformance.Outcome]string{
			served: "a backend was given a protocol it did not offer to speak", answered: "the handshake completed without a common protocol",
			conformance.Dialled: "a backend was dialled for a protocol it does not speak",
			conformance.Timeout: "held in place of refused",
		},
		Control: opens("a"), Run: alpnNone,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-11", Slug: "alpn-absent", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A client that offers no ALPN gets none in the answer",
		Why: "An extension in the answer that was not in the question is fatal to every client. Old database drivers and health checks offer " +
			"no ALPN; they must be routed by name as if they spoke HTTP/1.1, or be refused.",
		Clauses: clauses(rfc(7301, "3.1"), rfc(9846, "4.3")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(pass("counts as http/1.1, and nothing is confirmed", conformance.Routed),
			tolerate("refused by policy", conformance.Alert(120), conformance.Alert(112), conformance.Alert(40))),
		Forbid:  map[conformance.Outcome]string{unasked: "ALPN was answered that nobody had offered", conformance.Misrouted: "a client without ALPN was given to a route that asks for one"},
		Control: crafted(wire.HelloOptions{}), Run: alpnAbsent,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-13", Slug: "alpn-honest", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "The ALPN that decided the route is the one that is confirmed",
		Why: "The client speaks what was confirmed. When the router routes by one name and confirms another, or none, the client concludes " +
			"that a load balancer is in the way, or speaks the wrong protocol to the right service.",
		Clauses: clauses(rfc(7301, "3.2")), Transports: everywhere, Features: []string{"terminate"},
		Accept:  pass(byWitness, conformance.Routed),
		Forbid:  map[conformance.Outcome]string{unnamed: "the answer carries no ALPN", otherALPN: "the answer carries another ALPN than that of the route"},
		Control: opens("a"), Run: alpnHonest, // which does not look at what is confirmed
	})
	conformance.Register(conformance.Check{
		ID: "TLS-14", Slug: "sni-x-alpn", Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "Name and ALPN both have to match; the first ALPN in the client's order that has a route decides",
		Why: "Routes of one name differ by ALPN, and routes of one ALPN by name. Where either alone is enough, a client of one service is let " +
			"in at another.",
		Clauses: clauses(policy("section 5, the table of decisions")), Transports: everywhere, Features: []string{"terminate"}, Depends: []string{"TLS-01"},
		Accept:  pass(byWitness, conformance.Routed),
		Forbid:  map[conformance.Outcome]string{served: "one matcher alone was enough", conformance.Misrouted: "the wrong one of two routes was taken", conformance.Timeout: "held in place of routed or refused"},
		Control: both(opens("a"), opens("b")), Run: sniTimesALPN,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-16", Slug: "grease", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "Unknown suites, groups, versions, extensions and ALPN names are ignored and never selected",
		Why: "Browsers put reserved values everywhere so that intolerance is found early. A router that trips over a value it does not know " +
			"breaks with the next extension of TLS.",
		Clauses: clauses(rfc(9846, "9.3")), Transports: everywhere, Features: []string{"terminate"},
		Accept:  pass(byWitness, conformance.Routed),
		Forbid:  map[conformance.Outcome]string{selected: "a reserved value was chosen", conformance.Alert(120): "an unknown ALPN name hid a known one"},
		Control: crafted(wire.HelloOptions{}), Run: grease,
	})
}

func alpnNone(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	name := t.Name("a")
	return nowhere(ctx, t,
		attempt{name, []string{"trb-nobody-speaks-this"}}, attempt{name, []string{"trb-b"}}, attempt{name, []string{"trb-nobody-speaks-this", "trb-b"}}), nil
}

// alpnAbsent asks in TLS 1.2 too, where the answer stands in the ServerHello for everybody to see.
func alpnAbsent(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	old := wire.NewHello(wire.HelloOptions{SNI: t.Name("a"), Override: []wire.Extension{
		{Type: wire.ExtSupportedVersions},
		{Type: wire.ExtKeyShare},
		{Type: 11, Body: []byte{1, 0}},
		{Type: 23, Body: []byte{}},
		{Type: 0xff01, Body: []byte{0}},
	}})
	rec, err := answer(ctx, t, wire.Records(old)[0])
	switch types, parseErr := wire.ServerHelloExtensions(rec.Fragment); {
	case err != nil && isRefusal(t.Outcome(err)):
		t.Logf("TLS 1.2: %v", err) // 1.2 may be off: 1.3 decides
	case err != nil || parseErr != nil:
		err = cmp.Or(err, parseErr)
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "TLS 1.2: " + err.Error()}, nil
	case slices.Contains(types, wire.ExtALPN):
		return conformance.Observation{Outcome: unasked, Detail: fmt.Sprintf("ServerHello of TLS 1.2 carries extensions %v", types)}, nil
	}
	s, err := session(ctx, t, wire.HelloOptions{SNI: t.Name("a")})
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	if slices.Contains(s.EncryptedExtensions, wire.ExtALPN) {
		return conformance.Observation{Outcome: unasked, Detail: fmt.Sprintf("EncryptedExtensions confirm %q", s.ALPN)}, nil
	}
	o := ask(ctx, t, s, witnessOf(t, "web"))
	return o, nil
}

func alpnHonest(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	for _, c := range []struct {
		route, want string
		offer       []string
	}{
		{"a", "trb-a", []string{"trb-a"}},
		{"a", "trb-both", []string{"trb-both"}}, // which of two of one route is the server's to choose: RFC 7301, section 3.2
		{"a", "trb-a", []string{"trb-nobody-speaks-this", "trb-a"}},
		{"b", "trb-b", []string{"trb-a", "trb-b"}},
		{"web", "http/1.1", []string{"http/1.1"}},
		{"any", "trb-any", []string{"trb-any"}},
		{"wild", "trb-wild", []string{"trb-wild"}},
	} {
		cfg, err := t.Config(c.route, c.offer...)
		if err != nil {
			return conformance.Observation{}, err
		}
		stream, err := t.Stream(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		conn, err := t.TLS(ctx, stream, cfg)
		if err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("route %s: %v", c.route, err)}, nil
		}
		if o := confirmed(conn, c.want); o.Outcome != conformance.Routed {
			o.Detail = fmt.Sprintf("route %s, offered %q: %s", c.route, c.offer, o.Detail)
			return o, nil
		}
		if o := ask(ctx, t, conn, witnessOf(t, c.route)); o.Outcome != conformance.Routed {
			o.Detail = fmt.Sprintf("route %s, offered %q: %s", c.route, c.offer, o.Detail)
			return o, nil
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: "seven offers, each confirmed by the name it was routed by"}, nil
}

func confirmed(conn *tls.Conn, want string) conformance.Observation {
	switch got := conn.ConnectionState().NegotiatedProtocol; got {
	case want:
		return conformance.Observation{Outcome: conformance.Routed}
	case "":
		return conformance.Observation{Outcome: unnamed, Detail: "nothing confirmed, not " + want}
	default:
		return conformance.Observation{Outcome: otherALPN, Detail: fmt.Sprintf("%s confirmed, not %s", got, want)}
	}
}

func sniTimesALPN(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	for _, c := range []struct {
		name  string
		offer []string
		route string // "" must be refused
	}{
		{"a", []string{"trb-a"}, "a"},
		{"a", []string{"http/1.1"}, "web"},
		{"a", []string{"trb-any"}, "any"},
		{"b", []string{"trb-b"}, "b"},
		{"b", []string{"trb-both"}, "b"},
		{"a", []string{"trb-b", "trb-a"}, "a"},
		{"a", []string{"http/1.1", "trb-a"}, "web"},
		{"a", []string{"trb-a", "http/1.1"}, "a"},
		{"b", []string{"trb-a", "trb-both"}, "b"},
		{"b", []string{"trb-a"}, ""},
		{"b", []string{"http/1.1"}, ""},
		{"a", []string{"trb-mtls"}, ""},
		{"a", []string{"trb-wild"}, ""},
	} {
		name := witnessOf(t, c.route)
		o := reach(ctx, t, unknown(t.Name(c.name), c.offer...), name)
		good := o.Outcome == conformance.Routed
		if c.route == "" {
			good = isRefusal(o.Outcome) // TLS-10 says which
		}
		if !good {
			o.Detail = fmt.Sprintf("%s with %q: %s", c.name, c.offer, o.Detail)
			return o, nil
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: "13 rows of the table"}, nil
}

// reserved says whether the server has answered an extension that it cannot know.
func reserved(types []uint16, values ...uint16) bool {
	return slices.ContainsFunc(types, func(typ uint16) bool { return slices.Contains(values, typ) })
}

func grease(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	for i, v := range wire.GREASE() {
		other := wire.GREASE()[(i+5)%16]
		name := string([]byte{byte(v >> 8), byte(v)})
		s, err := session(ctx, t, wire.HelloOptions{
			SNI: t.Name("a"), ALPN: []string{name, "trb-a"}, Suites: []uint16{v}, Groups: []uint16{v}, Versions: []uint16{v},
			KeyShares: []wire.Extension{{Type: v, Body: []byte{0}}},
			First:     []wire.Extension{{Type: v, Body: []byte{}}}, Last: []wire.Extension{{Type: other, Body: []byte{0}}},
		})
		if err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("value %#04x: %v", v, err)}, nil
		}
		if s.ALPN != "trb-a" || reserved(s.EncryptedExtensions, v, other) || reserved(s.ServerHello, v, other) {
			return conformance.Observation{Outcome: selected, Detail: fmt.Sprintf("value %#04x: ALPN %q, extensions %v %v", v, s.ALPN, s.ServerHello, s.EncryptedExtensions)}, nil
		}
		if o := ask(ctx, t, s, witnessOf(t, "a")); o.Outcome != conformance.Routed {
			o.Detail = fmt.Sprintf("value %#04x: %s", v, o.Detail)
			return o, nil
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: "16 values in suites, groups, key shares, versions, extensions and ALPN"}, nil
}
