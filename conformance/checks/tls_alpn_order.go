package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of the order of ALPN names.
const (
	serverOrder conformance.Outcome = "server-order"
	clientOrder conformance.Outcome = "client-order"
)

// solving is the fixture with a solver for any name: witness A, which ends TLS itself.
var solving = &conformance.Setup{Name: "acme", Change: func(_ conformance.Fixture, doc *door.Router) {
	if pass := routeOf(doc, "pass"); pass != nil {
		doc.Routes = append(doc.Routes, door.Route{Name: "acme", ALPN: []string{"acme-tls/1"}, Mode: conformance.ModePassthrough, Backend: pass.Backend})
	}
}}

// routeOf is a route of a document, nil when it has none of the name.
func routeOf(doc *door.Router, name string) *door.Route {
	for i := range doc.Routes {
		if doc.Routes[i].Name == name {
			return &doc.Routes[i]
		}
	}
	return nil
}

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-09", Slug: "alpn-pref", Level: conformance.Should, Origin: conformance.RFC, Role: conformance.Router,
		Title: "Of several ALPN names that would do, one order decides: the server's, or the client's where names choose the route",
		Why: "A client that offers three names gets the same one every time, or it cannot be tested. Where the choice follows neither order, " +
			"which service a client meets depends on chance.",
		Clauses: clauses(rfc(7301, "3.2"), policy("section 5, the table of decisions")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(pass("RFC 7301 section 3.2: the server's order of preference", serverOrder),
			pass("DESIGN.md section 5: names are what the route is chosen by, and of two routes the client's first wins", clientOrder)),
		Forbid: map[conformance.Outcome]string{
			mixedUp: "neither order explains the choices", unnamed: "nothing was confirmed", otherALPN: "a name was confirmed that was not offered",
		},
		Control: both(opens("a"), opens("web")), Run: alpnOrder,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-12", Slug: "alpn-malformed", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "An ALPN extension that does not parse is fatal, and no backend is dialled",
		Why: "ALPN is half of what the route is chosen by. A router that guesses at a broken list and a backend that guesses differently do not " +
			"mean the same service.",
		Clauses: clauses(rfc(7301, "3.1"), rfc(9846, "6.2")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(pass("decode_error or illegal_parameter", conformance.Alert(50), conformance.Alert(47)),
			tolerate("RFC 9846 section 6.2: the connection must end, and an alert should be sent", conformance.FIN, conformance.RST)),
		Forbid: map[conformance.Outcome]string{
			accepted: "the handshake went on", conformance.Dialled: "a backend was dialled", leftOpen: "an alert, but no end of the connection",
			conformance.Timeout: "held in place of refused", conformance.Alert(120): "taken for a list of names that nobody speaks",
		},
		Control: crafted(wire.HelloOptions{}), Run: alpnMalformed,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-15", Slug: "acme-tls-1", Level: conformance.May, Origin: conformance.RFC, Role: conformance.Router,
		Title: "acme-tls/1 reaches the solver for any name, and the handshake is the solver's",
		Why: "Certificates are renewed by a TLS handshake in which the solver shows a certificate of its own making. A router that answers with " +
			"its own, or by the name's route, lets every certificate behind it run out.",
		Clauses: clauses(rfc(8737, "3")), Transports: everywhere, Features: []string{"acme-tls-1"},
		Setup:  solving,
		Accept: pass("the solver's own handshake, under the name that was asked for", conformance.Routed),
		Forbid: map[conformance.Outcome]string{
			conformance.Misrouted: "the route of the name answered", accepted: "the router's own handshake, not the solver's",
			conformance.Alert(120): "no route takes acme-tls/1", unnamed: "acme-tls/1 was not confirmed",
		},
		Control: opens("a"), Run: acme,
	})
}

func alpnOrder(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	names := []string{"trb-a", "trb-both", "http/1.1"}
	var offers [][]string
	for i := range names {
		for j := range names {
			if i != j {
				offers = append(offers, []string{names[i], names[j], names[3-i-j]})
			}
		}
	}
	byClient, byServer := true, true
	chosen := map[string]bool{}
	var how []string
	for _, offer := range offers {
		s, err := session(ctx, t, wire.HelloOptions{SNI: t.Name("a"), ALPN: offer})
		if err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("%q: %v", offer, err)}, nil
		}
		if s.ALPN == "" {
			return conformance.Observation{Outcome: unnamed, Detail: fmt.Sprintf("offered %q", offer)}, nil
		}
		if !slices.Contains(offer, s.ALPN) {
			return conformance.Observation{Outcome: otherALPN, Detail: fmt.Sprintf("offered %q, got %q", offer, s.ALPN)}, nil
		}
		route := map[bool]string{true: "web", false: "a"}[s.ALPN == "http/1.1"]
		if o := ask(ctx, t, s, witnessOf(t, route)); o.Outcome != conformance.Routed {
			o.Detail = fmt.Sprintf("offered %q, got %q: %s", offer, s.ALPN, o.Detail)
			return o, nil
		}
		byClient = byClient && s.ALPN == offer[0]
		chosen[s.ALPN] = true
		byServer = byServer && len(chosen) == 1
		how = append(how, strings.Join(offer, ",")+" "+s.ALPN)
		_ = s.Close()
	}
	o := conformance.Observation{Outcome: mixedUp, Detail: strings.Join(how, "; ")}
	switch {
	case byServer:
		o.Outcome = serverOrder
	case byClient:
		o.Outcome = clientOrder
	}
	return o, nil
}

func alpnMalformed(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	entry := wire.ALPNBody("trb-a")
	raw := map[string][]byte{}
	for name, body := range map[string][]byte{
		"empty extension":      {},
		"empty list":           {0, 0},
		"empty name":           wire.ALPNBody("trb-a", ""),
		"list too long":        slices.Concat([]byte{entry[0], entry[1] + 1}, entry[2:]),
		"name longer than all": slices.Concat(entry[:2], []byte{entry[2] + 1}, entry[3:]),
		"trailing bytes":       append(slices.Clone(entry), 0),
	} {
		msg := wire.NewHello(wire.HelloOptions{SNI: t.Name("a"), Last: []wire.Extension{{Type: wire.ExtALPN, Body: body}}})
		raw[name] = wire.Records(msg)[0]
	}
	return refused(ctx, t, raw)
}

// acme looks at two names that have routes of their own for other protocols: with acme-tls/1 both lead to the solver.
func acme(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	for _, label := range []string{"a", "b"} {
		stream, err := t.Stream(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		conn, err := t.TLS(ctx, stream, unknown(t.Name(label), "acme-tls/1"))
		if err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: label + ": " + err.Error()}, nil
		}
		o, rec := t.Served(ctx, conn, witnessOf(t, "pass"))
		switch {
		case o.Outcome != conformance.Routed:
		case rec.TLS == nil:
			o = conformance.Observation{Outcome: accepted, Detail: "the solver saw no TLS"}
		case rec.TLS.SNI != t.Name(label) || rec.TLS.Negotiated != "acme-tls/1":
			o = conformance.Observation{Outcome: unnamed, Detail: fmt.Sprintf("the solver saw name %q and confirmed %q", rec.TLS.SNI, rec.TLS.Negotiated)}
		}
		if o.Outcome != conformance.Routed {
			o.Detail = label + ": " + o.Detail
			return o, nil
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: "two names, both handshakes by the solver"}, nil
}
