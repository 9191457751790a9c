package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// Outcomes of a policy that becomes stricter.
const rechecked conformance.Outcome = "policy-applied"

func init() {
	conformance.Register(conformance.Check{
		ID: "MTL-04", Slug: "ticket-after-policy", Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "A ticket from before the policy became stricter does not get past the one that is in force",
		Why: "An authority is withdrawn because it was broken into. The operator reloads and thinks that it is over; where tickets outlive the " +
			"policy under which they were given, whoever has one stays in for days (golang/go issue 77217, randombit/botan issue 5818).",
		Clauses: clauses(policy("section 5, client_auth"), rfc(9846, "4.7.1")), Transports: everywhere, Features: []string{"terminate", "mtls", "reload"},
		Setup:  &conformance.Setup{Name: "stricter policy", Alone: true, Change: func(conformance.Fixture, *door.Router) {}},
		Accept: pass("with its old ticket and without the certificate that is asked for now, the client is refused", rechecked),
		Forbid: map[conformance.Outcome]string{
			served: "a ticket of the old policy opened the route under the new one", conformance.Timeout: "held in place of refused",
		},
		Control: both(both(opens("a"), opens("mtls")), opens("mtls2")), Run: stricter, Depends: []string{"MTL-01"},
	})
}

// stricter collects tickets, then asks for a certificate at route a, which had asked for none, and for one of CA B at route mtls, which
// had asked for one of CA A.
func stricter(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	type held struct {
		route, alpn string
		version     uint16
		*wallet
	}
	var tickets []held
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, r := range []struct{ route, alpn string }{{"a", "trb-a"}, {"mtls", "trb-mtls"}} {
			w, ok, err := ticket(ctx, t, r.route, version, r.alpn)
			if err != nil {
				return conformance.Observation{}, err
			}
			if ok {
				tickets = append(tickets, held{r.route, r.alpn, version, w})
			}
		}
	}
	if len(tickets) == 0 {
		return conformance.Observation{}, &conformance.NotRunError{Reason: "the target gives no tickets"}
	}
	doc := t.Instance.Document
	doc.Routes = slices.Clone(doc.Routes)
	a, first, second := routeOf(&doc, "a"), routeOf(&doc, "mtls"), routeOf(&doc, "mtls2")
	if a == nil || first == nil || second == nil {
		return conformance.Observation{}, &conformance.NotRunError{Reason: "the instance was set up without the routes of the fixture"}
	}
	a.ClientAuth, first.ClientAuth = first.ClientAuth, second.ClientAuth
	if err := t.Instance.Reload(ctx, doc); err != nil {
		return conformance.Observation{}, fmt.Errorf("reloading: %w", err)
	}
	if err := opens("mtls2")(ctx, t); err != nil {
		return conformance.Observation{}, fmt.Errorf("behind the reload: %w", err)
	}
	for _, h := range tickets {
		o, resumed, err := h.use(ctx, t, h.route, h.version, h.alpn)
		if err != nil {
			return conformance.Observation{}, err
		}
		if o.Outcome == conformance.Routed {
			o.Outcome = served
		}
		if !isRefusal(o.Outcome) {
			o.Detail = fmt.Sprintf("ticket of route %s, %s, resumed %v: %s", h.route, tls.VersionName(h.version), resumed, o.Detail)
			return o, nil
		}
	}
	cfg, err := t.Config("a", "trb-a")
	if err != nil {
		return conformance.Observation{}, err
	}
	conformance.Present(cfg, t.Target.Fixture.ClientA)
	if o := reach(ctx, t, cfg, witnessOf(t, "a")); o.Outcome != conformance.Routed {
		return conformance.Observation{}, fmt.Errorf("the new policy lets nobody in: %s: %s", o.Outcome, o.Detail)
	}
	return conformance.Observation{Outcome: rechecked, Detail: fmt.Sprintf("%d tickets of the old policy, each refused without the certificate that the new one asks for", len(tickets))}, nil
}
