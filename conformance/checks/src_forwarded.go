package checks

import (
	"context"
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// forwardedBy is the fixture with hops whose X-Forwarded-For counts, and route a telling its backend of the source.
func forwardedBy(trusted ...string) *conformance.Setup {
	return &conformance.Setup{Name: "forwarded_for " + strings.Join(trusted, " "), Change: func(_ conformance.Fixture, doc *door.Router) {
		doc.ForwardedFor.Trusted = trusted
		for i := range doc.Routes {
			if doc.Routes[i].Name == "a" {
				doc.Routes[i].Backend.SendProxy = "v2"
			}
		}
	}}
}

// client is whom the hops of these checks speak for (RFC 5737).
const forwardedClient = "203.0.113.7"

func init() {
	features := []string{"terminate", "upgrade", "forwarded-for", "proxy-out"}
	lies := map[conformance.Outcome]string{
		unheard: "another address than the client's is told", headerless: "the backend was not told", endpoints: "the hop's own address is told",
	}
	register := func(c conformance.Check) {
		c.Role, c.Transports, c.Features, c.Tags = conformance.Router, upgraded, features, rawHTTP
		c.Control = opens("a")
		conformance.Register(c)
	}
	register(conformance.Check{
		ID: "SRC-10", Slug: "xff", Level: conformance.Must, Origin: conformance.Policy,
		Title: "Of X-Forwarded-For the rightmost address counts that is no trusted hop's",
		Why: "Every hop appends what it saw, so the left of the list is the client's own word. Who takes the leftmost lets anybody choose the " +
			"address that logs, limits and pg_hba.conf see.",
		Clauses: clauses(rfc(7239, "8.1")), Setup: forwardedBy(loopback, "10.0.0.0/8"),
		Accept: pass("the address that the last untrusted hop had", believed), Forbid: lies,
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return forwarded(ctx, t, believed, [][]string{
				{forwardedClient},
				{"198.51.100.1, " + forwardedClient},
				{forwardedClient + ", 10.1.2.3"},
				{"198.51.100.1, " + forwardedClient + ",10.1.2.3, 10.4.5.6"},
				{"198.51.100.1", forwardedClient},
				{"unknown, " + forwardedClient + ", 10.1.2.3"},
				{"127.0.0.1, " + forwardedClient},
			}), nil
		},
	})
	register(conformance.Check{
		ID: "SRC-10-U", Slug: "xff-untrusted", Level: conformance.Must, Origin: conformance.Policy,
		Title:   "X-Forwarded-For of somebody who is no trusted hop is not believed",
		Why:     "Anybody can write the field. Without the list of hops it is the client's own word about itself.",
		Clauses: clauses(rfc(7239, "8.1")), Setup: forwardedBy("192.0.2.0/24"),
		Accept: pass("the address of the connection", endpoints),
		Forbid: map[conformance.Outcome]string{believed: "a stranger's word was believed", unheard: "another address than the connection's is told"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return forwarded(ctx, t, endpoints, [][]string{{forwardedClient}, {"192.0.2.1, " + forwardedClient}, {forwardedClient + ", 192.0.2.1"}}), nil
		},
	})
	register(conformance.Check{
		ID: "SRC-11", Slug: "mapped-v4", Level: conformance.Should, Origin: conformance.Policy,
		Title: "An IPv4-mapped IPv6 address is that IPv4 address, in the list of trusted hops too",
		Why: "A listener for both families sees IPv4 peers as ::ffff:a.b.c.d, and so may the hop in front. Who compares the text finds that no " +
			"hop is trusted any more, and every client has the load balancer's address.",
		Clauses: clauses(rfc(4291, "2.5.5.2")), Setup: forwardedBy(loopback, "10.0.0.0/8"),
		Accept: pass("the address that the last untrusted hop had", believed), Forbid: lies,
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return forwarded(ctx, t, believed, [][]string{{forwardedClient + ", ::ffff:10.1.2.3"}, {"::ffff:" + forwardedClient + ", 10.1.2.3"}}), nil
		},
	})
}

// forwarded asks for tunnels with these field lines, one list a request, and compares what the witness was told at their end.
func forwarded(ctx context.Context, t *conformance.T, want conformance.Outcome, chains [][]string) conformance.Observation {
	var seen []conformance.Observation
	for _, chain := range chains {
		o := forwardedOnce(ctx, t, chain)
		o.Detail = fmt.Sprintf("X-Forwarded-For %q: %s", chain, o.Detail)
		seen = append(seen, o)
		if o.Outcome != want {
			break
		}
	}
	return worst(t, seen)
}

func forwardedOnce(ctx context.Context, t *conformance.T, chain []string) conformance.Observation {
	c, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	defer closeQuietly(c)
	typ := wire.WebSocket
	lines := append([]string{"Connection: Upgrade", "Upgrade: websocket"}, webSocketFields...)
	if !has(t, typ) {
		typ, lines = "alpn", []string{"Connection: Upgrade", "Upgrade: alpn"}
	}
	for _, hop := range chain {
		lines = append(lines, "X-Forwarded-For: "+hop)
	}
	tunnel, _, err := wire.Upgrade{Type: typ, Host: t.Path.Upgrade.Host, Path: t.Path.Upgrade.Path, Replace: lines}.Do(c)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	o, rec, local := introducedTo(ctx, t, tunnel, "a")
	if o.Outcome != conformance.Routed {
		return o
	}
	o.Detail = fmt.Sprintf("the witness was told %q", rec.Proxy)
	own, _, _ := strings.Cut(local.String(), ":")
	switch {
	case rec.Proxy == "":
		o.Outcome = headerless
	case strings.Contains(rec.Proxy, " "+forwardedClient+" ") || strings.Contains(rec.Proxy, " ::ffff:"+forwardedClient+" "):
		o.Outcome = believed
	case strings.HasPrefix(rec.Proxy, "PROXY TCP4 "+own+" "):
		o.Outcome = endpoints
	default:
		o.Outcome = unheard
	}
	return o
}
