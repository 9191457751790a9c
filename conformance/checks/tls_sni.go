package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

func init() {
	wrong := map[conformance.Outcome]string{conformance.Misrouted: "another service answered under this name"}
	conformance.Register(conformance.Check{
		ID: "TLS-01", Slug: "sni-exact", Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "An exact name leads to its own backend and to no other",
		Why: "This is what the router is for: two services that speak the same protocol on one port are told apart by name alone. A mix-up " +
			"hands one service's clients to another.",
		Clauses: clauses(rfc(6066, "3"), policy("section 5, the table of decisions")), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass(byWitness, conformance.Routed), Forbid: wrong, Control: opens("a"), Run: sniExact,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-02", Slug: "sni-case", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "Names are compared without regard to the case of letters, in routing and in client authentication alike",
		Why: "DNS names have no case. A router that compares bytes misses the route, or worse: finds the route in one place and misses the " +
			"client authentication in another (GHSA-9cr8-q42q-g8m7).",
		Clauses: clauses(rfc(6066, "3")), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass(byWitness, conformance.Routed),
		Forbid: map[conformance.Outcome]string{
			served: "the spelling of the name turned client authentication off", conformance.Misrouted: "the spelling of the name changed the route",
			conformance.Alert(112): "the route was not found under another spelling", conformance.Timeout: "held in place of routed or refused",
		},
		Control: opens("a"), Run: sniCase,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-03", Slug: "wildcard", Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "A wildcard matches whole labels, at least one, and nothing else",
		Why: "Whether *.example.com covers a.b.example.com differs between routers, and both ways are in use. What never may happen is that " +
			"it covers example.com itself or notexample.com: that is another owner's name.",
		Clauses: clauses(policy("section 5, the table of decisions")), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass("either reading, kept consistently", suffix, oneLabel),
		Forbid: map[conformance.Outcome]string{
			overmatch: "a name outside of the wildcard was served", conformance.Misrouted: "another service answered",
			mixedUp: "two labels were taken for one reading and three for the other", conformance.Timeout: "held in place of routed or refused",
		},
		Control: opens("wild"), Run: wildcard,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-04", Slug: "specificity", Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "The more specific name wins: exact, then the longer wildcard, then the shorter",
		Why: "Operators put an exception beside a rule and expect it to count whatever the order of the file. When the general wildcard " +
			"wins, the exception's stricter policy is silently off.",
		Clauses: clauses(policy("section 5, the table of decisions")), Transports: everywhere, Features: []string{"terminate"}, Depends: []string{"TLS-01"},
		Accept: pass(byWitness, conformance.Routed), Forbid: map[conformance.Outcome]string{conformance.Misrouted: "the less specific route was taken"},
		Control: opens("wild"), Run: specificity,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-05", Slug: "sni-unknown", Tags: []string{conformance.Counts}, Level: conformance.Should, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A name nobody knows is refused with unrecognized_name, or answered without a backend",
		Why: "A wrong name is an everyday typo. With the right alert the client's log says what is wrong; with a default backend the client " +
			"ends up at some other service, and with silence it hangs.",
		Clauses: clauses(rfc(6066, "3"), rfc(9846, "6.2")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(pass("RFC 6066 section 3: fatal unrecognized_name(112)", conformance.Alert(112)),
			tolerate("RFC 6066 section 3: the server may continue", answered),
			tolerate("ended without saying why", conformance.FIN, conformance.RST),
			tolerate("RFC 7301 section 3.2: the name takes no such protocol", conformance.Alert(120))),
		Forbid: map[conformance.Outcome]string{
			served: "a backend answered under a name that it does not own", conformance.Dialled: "a backend was dialled for a name nobody knows",
			conformance.Timeout: "held in place of refused",
		},
		Control: opens("a"), Run: sniUnknown,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-06", Slug: "sni-absent", Tags: []string{conformance.Counts}, Level: conformance.Should, Origin: conformance.RFC, Role: conformance.Router,
		Title: "Without a name nothing is routed by name: a clear alert, or the documented default",
		Why: "Load balancers connect without a name, and so do old clients. A router that picks some named route for them gives away a service " +
			"that was meant for those who ask for it.",
		Clauses: clauses(rfc(9846, "9.2"), policy("section 5, the table of decisions")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(pass("RFC 9846 section 9.2: missing_extension(109)", conformance.Alert(109)),
			pass("RFC 7301 section 3.2: the default takes no such protocol", conformance.Alert(120)),
			tolerate("refused as an unknown name", conformance.Alert(112)),
			tolerate("refused", conformance.Alert(40)),
			tolerate("ended without saying why", conformance.FIN, conformance.RST),
			tolerate("the documented default answers, no backend is reached", answered)),
		Forbid: map[conformance.Outcome]string{
			served: "a named route was served without its name", conformance.Dialled: "a backend was dialled for a client that named none",
			conformance.Timeout: "held in place of refused",
		},
		Control: opens("a"), Run: sniAbsent,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-07", Slug: "sni-malformed", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A server_name extension that does not parse is fatal, and no backend is dialled",
		Why: "Where router and backend disagree about what a malformed name means, the router's decision can be steered around. So it has to " +
			"be refused, not guessed at.",
		Clauses: clauses(rfc(6066, "3"), rfc(9846, "6.2")), Transports: everywhere, Features: []string{"terminate"}, Timeout: 20 * time.Second,
		Accept: slices.Concat(pass("decode_error or illegal_parameter", conformance.Alert(50), conformance.Alert(47)),
			tolerate("RFC 6066 section 3: a name that is none is one nobody knows", conformance.Alert(112)),
			tolerate("RFC 9846 section 6.2: the connection must end, and an alert should be sent", conformance.FIN, conformance.RST)),
		Forbid:  map[conformance.Outcome]string{accepted: "the handshake went on", conformance.Dialled: "a backend was dialled", conformance.Timeout: "held in place of refused", leftOpen: "an alert, but no end of the connection"},
		Control: crafted(wire.HelloOptions{}), Run: sniMalformed,
	})
}

func sniExact(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	for _, route := range []string{"a", "b", "a", "b"} {
		for _, alpn := range []string{"trb-both", "trb-" + route} {
			cfg, err := t.Config(route, alpn)
			if err != nil {
				return conformance.Observation{}, err
			}
			if o := reach(ctx, t, cfg, witnessOf(t, route)); o.Outcome != conformance.Routed {
				o.Detail = fmt.Sprintf("%s with %s: %s", cfg.ServerName, alpn, o.Detail)
				return o, nil
			}
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: "two names, each to its own witness, with the same ALPN"}, nil
}

func sniCase(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	routes := []string{"a", "b", "wild"}
	if has(t, "passthrough") {
		routes = append(routes, "pass")
	}
	if has(t, "mtls") {
		routes = append(routes, "mtls")
	}
	for _, route := range routes {
		cfg, err := t.Config(route)
		if err != nil {
			return conformance.Observation{}, err
		}
		for _, name := range []string{strings.ToUpper(cfg.ServerName), mixed(cfg.ServerName)} {
			cfg.ServerName = name
			if o := reach(ctx, t, cfg, witnessOf(t, route)); o.Outcome != conformance.Routed {
				o.Detail = name + ": " + o.Detail
				return o, nil
			}
			if route != "mtls" {
				continue
			}
			bare := cfg.Clone()
			bare.GetClientCertificate = nil
			if o := reach(ctx, t, bare, ""); !isRefusal(o.Outcome) {
				o.Detail = name + " without a certificate: " + o.Detail
				return o, nil
			}
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: fmt.Sprintf("routes %v", routes)}, nil
}

func mixed(name string) string {
	out := []byte(name)
	for i := 0; i < len(out); i += 2 {
		out[i] = strings.ToUpper(name[i : i+1])[0]
	}
	return string(out)
}

func wildcard(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	a := t.Target.Fixture.WitnessA
	if o := reach(ctx, t, unknown(t.Name("other.wild"), "trb-wild"), a); o.Outcome != conformance.Routed {
		o.Detail = "one label: " + o.Detail
		return o, nil
	}
	for _, label := range []string{"wild", "xwild"} {
		if o := reach(ctx, t, unknown(t.Name(label), "trb-wild"), ""); !isRefusal(o.Outcome) {
			if o.Outcome == served {
				o.Outcome = overmatch
			}
			o.Detail = t.Name(label) + ": " + o.Detail
			return o, nil
		}
	}
	var kinds []conformance.Outcome
	for _, label := range []string{"y.x.wild", "z.y.x.wild"} {
		o := reach(ctx, t, unknown(t.Name(label), "trb-wild"), a)
		switch {
		case o.Outcome == conformance.Routed:
			kinds = append(kinds, suffix)
		case isRefusal(o.Outcome):
			kinds = append(kinds, oneLabel)
		default:
			o.Detail = t.Name(label) + ": " + o.Detail
			return o, nil
		}
	}
	if kinds[0] != kinds[1] {
		return conformance.Observation{Outcome: mixedUp, Detail: "two labels and three labels are treated differently"}, nil
	}
	return conformance.Observation{Outcome: kinds[0], Detail: "the wildcard reads as " + string(kinds[0])}, nil
}

func specificity(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	for _, c := range []struct{ label, route string }{
		{"x.wild", "wild"}, {"x.deep.wild", "deep"}, {"other.deep.wild", "deep"}, {"deep.wild", "wild"}, {"exact.wild", "exact"},
	} {
		if o := reach(ctx, t, unknown(t.Name(c.label), "trb-wild"), witnessOf(t, c.route)); o.Outcome != conformance.Routed {
			o.Detail = fmt.Sprintf("%s: %s", t.Name(c.label), o.Detail)
			return o, nil
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: "exact.wild and *.deep.wild before *.wild, which stands before both in the table"}, nil
}

// attempt is what came of one connection that must reach no backend.
type attempt struct {
	sni  string
	alpn []string
}

// nowhere opens connections that must reach no backend: whether the handshake is refused or goes on, nobody may be dialled. It
// reports the worst.
func nowhere(ctx context.Context, t *conformance.T, list ...attempt) conformance.Observation {
	before := t.Accepted()
	var seen []conformance.Observation
	for _, a := range list {
		o := handshake(ctx, t, a.sni, a.alpn...)
		o.Detail = fmt.Sprintf("name %q, ALPN %q: %s", a.sni, a.alpn, o.Detail)
		if o.Outcome == served {
			return o
		}
		seen = append(seen, o)
	}
	if detail, ok := t.NotDialled(ctx, before); !ok {
		return conformance.Observation{Outcome: conformance.Dialled, Detail: detail}
	}
	return worst(t, seen)
}

func handshake(ctx context.Context, t *conformance.T, sni string, alpn ...string) conformance.Observation {
	stream, err := t.Stream(ctx)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	defer stream.Close()
	o := conformance.Observation{Outcome: answered, Detail: "the handshake completed"}
	conn, err := t.TLS(ctx, stream, unknown(sni, alpn...))
	if err != nil {
		o = conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	} else if asked := ask(ctx, t, conn, ""); asked.Outcome == served || asked.Outcome == conformance.Timeout {
		return asked
	}
	return o // whoever answers behind the handshake, it is no witness
}

func sniUnknown(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	name := t.Name("nobody-has-this-name")
	return nowhere(ctx, t, attempt{name, []string{"trb-a"}}, attempt{name, nil}), nil
}

func sniAbsent(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	return nowhere(ctx, t, attempt{"", []string{"trb-a"}}), nil
}

func sniMalformed(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	good := t.Name("a")
	entry := wire.SNIBody(good)
	inputs := map[string][]byte{
		"empty extension":      {},
		"empty list":           {0, 0},
		"empty name":           wire.SNIBody(""),
		"two host_names":       wire.SNIBody(good, t.Name("b")),
		"trailing bytes":       append(slices.Clone(entry), 0, 0),
		"NUL in the name":      wire.SNIBody(good + "\x00.example.test"),
		"list too long":        slices.Concat([]byte{entry[0], entry[1] + 1}, entry[2:]),
		"name longer than all": slices.Concat(entry[:3], []byte{0xff, 0xff}, entry[5:]),
	}
	raw := map[string][]byte{}
	for name, body := range inputs {
		msg := wire.NewHello(wire.HelloOptions{SNI: good, ALPN: []string{"trb-a"}, Override: []wire.Extension{{Type: wire.ExtServerName, Body: body}}})
		raw[name] = wire.Records(msg)[0]
	}
	twice := wire.NewHello(wire.HelloOptions{SNI: good, ALPN: []string{"trb-a"}, Last: []wire.Extension{{Type: wire.ExtServerName, Body: wire.SNIBody(t.Name("b"))}}})
	raw["two extensions"] = wire.Records(twice)[0]
	return refused(ctx, t, raw)
}
