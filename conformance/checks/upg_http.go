package checks

import (
	"context"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of requests for an upgrade.
const (
	switched     conformance.Outcome = "switched"      // 101
	notSwitched  conformance.Outcome = "not-switched"  // an answer that is none of the errors below: the request was served as plain HTTP
	refused4xx   conformance.Outcome = "refused"       // 400 to 499
	serverError  conformance.Outcome = "server-error"  // 500 and above
	noUpgrade    conformance.Outcome = "no-upgrade"    // the 101 lacks Upgrade
	noConnection conformance.Outcome = "no-connection" // the 101 lacks Connection: upgrade
	otherToken   conformance.Outcome = "other-token"   // the 101 is for another protocol
)

var (
	upgraded = []conformance.Transport{conformance.Upgraded}
	rawHTTP  = []string{conformance.RawHTTP}

	// declined are the ways not to switch. A connection that is closed without an answer is tolerated: it is safe, and hard to debug.
	declined = slices.Concat(
		pass("answered as an HTTP request without the upgrade, or refused", refused4xx, notSwitched),
		tolerate("closed, or answered with 500 and above, but not switched", serverError, conformance.FIN, conformance.RST))
)

func init() {
	wrong := func(reason string) map[conformance.Outcome]string {
		return map[conformance.Outcome]string{switched: reason}
	}
	upgrade := func(c conformance.Check) {
		c.Role, c.Transports, c.Tags = conformance.Router, upgraded, rawHTTP
		c.Features = append([]string{"upgrade"}, c.Features...)
		c.Control = opens("a")
		if c.Forbid[conformance.Timeout] == "" {
			c.Forbid[conformance.Timeout] = "neither switched nor refused: the client hangs"
		}
		conformance.Register(c)
	}
	upgrade(conformance.Check{
		ID: "UPG-01", Slug: "101-fields", Level: conformance.Must, Origin: conformance.RFC,
		Title: "The 101 names the protocol in Upgrade and has Connection: upgrade",
		Why: "Clients and proxies on the way back look for both fields before they treat the connection as a tunnel. With one of them " +
			"missing some wait for a final response that never comes, and others drop what follows.",
		Clauses: clauses(rfc(9110, "7.8")), Accept: pass("101 with both fields", switched), Run: switchFields,
		Forbid: map[conformance.Outcome]string{
			refused4xx: "a good request was refused", notSwitched: "a good request was served as plain HTTP",
			noUpgrade:    "a 101 must say in Upgrade what the protocol is from now on",
			noConnection: "who sends Upgrade must nominate it in Connection",
			otherToken:   "the protocol is not the one that was asked for",
		},
	})
	upgrade(conformance.Check{
		ID: "UPG-02", Slug: "only-offered", Level: conformance.Must, Origin: conformance.RFC,
		Title: "No switch to a protocol that the client did not offer",
		Why: "A server that answers 101 to whatever it is asked leaves the client with a connection in a protocol neither of them speaks. " +
			"The next bytes are read as something they are not.",
		Clauses: clauses(rfc(9110, "7.8")), Accept: declined, Forbid: wrong("switched to a protocol that nobody offered"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return offers(ctx, t,
				offer{"an unknown token", request(t, "Connection: Upgrade", "Upgrade: trb-unheard-of")},
				offer{"an unknown token with a version", request(t, "Connection: Upgrade", "Upgrade: trb-unheard-of/1")},
				offer{"a token that begins like one of ours", request(t, "Connection: Upgrade", "Upgrade: alpn-trb")},
				offer{"no Upgrade at all", request(t, "Connection: Upgrade")})
		},
	})
	upgrade(conformance.Check{
		ID: "UPG-03", Slug: "token-case-list", Level: conformance.Should, Origin: conformance.RFC, Features: []string{"websocket"},
		Title: "Upgrade is a list of tokens in any case of letters, over any number of lines",
		Why: "Libraries write WebSocket, websocket and WEBSOCKET, and proxies join or split field lines. A comparison of whole strings " +
			"works with the client it was tried with and no other.",
		Clauses: clauses(rfc(9110, "7.8"), rfc(9110, "5.3")), Accept: pass("101", switched),
		Forbid: map[conformance.Outcome]string{refused4xx: "a good offer was not recognized", notSwitched: "a good offer was not recognized"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			var list []offer
			for _, lines := range [][]string{
				{"Upgrade: WebSocket"},
				{"Upgrade: WEBSOCKET"},
				{"upgrade: websocket"},
				{"Upgrade:websocket"},
				{"Upgrade: trb-foo, websocket"},
				{"Upgrade: websocket, trb-foo"},
				{"Upgrade: trb-foo/1,websocket"},
				{"Upgrade: trb-foo", "Upgrade: websocket"},
				{"Upgrade: websocket", "Upgrade: trb-foo"},
			} {
				list = append(list, offer{strings.Join(lines, " | "), request(t, append([]string{"Connection: Upgrade"}, append(lines, webSocketFields...)...)...)})
			}
			return offers(ctx, t, list...)
		},
	})
	upgrade(conformance.Check{
		ID: "UPG-04", Slug: "connection-list", Level: conformance.Must, Origin: conformance.RFC, Features: []string{"websocket"},
		Title: "Connection is a list of options in any case of letters, over any number of lines",
		Why: "Browsers send Connection: keep-alive, Upgrade. A router that looks for the one word refuses every browser, and works with every " +
			"command line tool.",
		Clauses: clauses(rfc(9110, "7.6.1"), rfc(9110, "5.3")), Accept: pass("101", switched),
		Forbid: map[conformance.Outcome]string{refused4xx: "the option was not found in the list", notSwitched: "the option was not found in the list"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			var list []offer
			for _, lines := range [][]string{
				{"Connection: upgrade"},
				{"Connection: UPGRADE"},
				{"connection: Upgrade"},
				{"Connection: keep-alive, Upgrade"},
				{"Connection: Upgrade,keep-alive"},
				{"Connection: keep-alive", "Connection: Upgrade"},
				{"Connection: keep-alive ,\tUpgrade"},
			} {
				list = append(list, offer{strings.Join(lines, " | "), request(t, append(lines, append([]string{"Upgrade: websocket"}, webSocketFields...)...)...)})
			}
			return offers(ctx, t, list...)
		},
	})
	upgrade(conformance.Check{
		ID: "UPG-05", Slug: "no-connection-option", Level: conformance.Must, Origin: conformance.Policy,
		Title: "websocket, h2c and TLS without the Connection option are not honoured",
		Why: "Upgrade is a field of one hop. Without Connection: upgrade it may have been carried along by a proxy that knows nothing of " +
			"it, and a switch would make that proxy read tunnel bytes as HTTP: a way to smuggle requests past it.",
		Clauses: clauses(rfc(9110, "7.6.1"), rfc(9110, "7.8"), policy("section 5, plaintext HTTP on the port")),
		Accept:  declined, Forbid: wrong("switched though the client did not nominate Upgrade"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			socket := append([]string{"Upgrade: websocket"}, webSocketFields...)
			return offers(ctx, t,
				offer{"websocket without Connection", request(t, socket...)},
				offer{"websocket with Connection: keep-alive", request(t, append([]string{"Connection: keep-alive"}, socket...)...)},
				offer{"h2c without Connection", request(t, h2cFields...)},
				offer{"TLS/1.2 without Connection", request(t, "Upgrade: TLS/1.2")})
		},
	})
	upgrade(conformance.Check{
		ID: "UPG-06", Slug: "http10", Level: conformance.Must, Origin: conformance.RFC,
		Title: "Upgrade in an HTTP/1.0 request is ignored",
		Why: "An HTTP/1.0 hop forwards fields that it does not know, Connection among them. A switch behind it opens a tunnel that the hop " +
			"does not know of.",
		Clauses: clauses(rfc(9110, "7.8")), Accept: declined, Forbid: wrong("switched on a request of HTTP/1.0"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			var list []offer
			for _, typ := range t.Path.Upgrade.Types {
				raw := wire.Upgrade{Type: typ, Host: t.Path.Upgrade.Host, Path: t.Path.Upgrade.Path}.Request()
				list = append(list, offer{typ + " in HTTP/1.0", strings.Replace(string(raw), " HTTP/1.1\r\n", " HTTP/1.0\r\n", 1)})
			}
			return offers(ctx, t, list...)
		},
	})
	upgrade(conformance.Check{
		ID: "UPG-09", Slug: "host", Level: conformance.Must, Origin: conformance.RFC,
		Title: "A request without Host, or with two, is answered with 400",
		Why: "Two Host fields are two opinions about where a request belongs: the proxy in front checks one, the router uses the other, and the " +
			"access rule of a host does not hold for requests to it.",
		Clauses: clauses(rfc(9112, "3.2")), Accept: pass("refused with the status that the RFC names", conformance.HTTPStatus(400)),
		Forbid: map[conformance.Outcome]string{switched: "switched on a request that must be refused"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			up := t.Path.Upgrade
			line := "GET " + up.Path + " HTTP/1.1\r\n"
			rest := strings.Join(append([]string{"Connection: Upgrade", "Upgrade: websocket"}, webSocketFields...), "\r\n") + "\r\n\r\n"
			return status(ctx, t,
				offer{"no Host", line + rest},
				offer{"two Hosts", line + "Host: " + up.Host + "\r\nHost: other.example.test\r\n" + rest},
				offer{"the same Host twice", line + "Host: " + up.Host + "\r\nHost: " + up.Host + "\r\n" + rest})
		},
	})
	upgrade(conformance.Check{
		ID: "UPG-10", Slug: "space-colon", Level: conformance.Must, Origin: conformance.RFC,
		Title: "White space between a field name and its colon is answered with 400",
		Why: "Parsers disagree about such a line: one drops it, one takes it for the field without the space. The disagreement is a door for " +
			"requests that were never checked.",
		Clauses: clauses(rfc(9112, "5.1")), Accept: pass("refused with the status that the RFC names", conformance.HTTPStatus(400)),
		Forbid: map[conformance.Outcome]string{switched: "switched on a request that must be refused"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			socket := append([]string{"Connection: Upgrade", "Upgrade: websocket"}, webSocketFields...)
			return status(ctx, t,
				offer{"Upgrade with a space", request(t, append([]string{"Connection: Upgrade", "Upgrade : websocket"}, webSocketFields...)...)},
				offer{"another field with a tab", request(t, append([]string{"X-Trb\t: 1"}, socket...)...)},
				offer{"Content-Length with a space", request(t, append([]string{"Content-Length : 0"}, socket...)...)})
		},
	})
	upgrade(conformance.Check{
		ID: "UPG-20", Slug: "token-allowlist", Level: conformance.Should, Origin: conformance.Policy,
		Title: "h2c and TLS are never switched to",
		Why: "An upgrade to h2c or TLS opens a second HTTP connection inside the first, past everything that was checked on it. Routers that " +
			"honour any token are how access rules of proxies have been walked around.",
		Clauses: clauses(policy("section 5, upgrade.types"), rfc(9110, "7.8")), Accept: declined, Forbid: wrong("switched to a protocol that is not configured"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return offers(ctx, t,
				offer{"h2c", request(t, append([]string{"Connection: Upgrade, HTTP2-Settings"}, h2cFields...)...)},
				offer{"TLS/1.2", request(t, "Connection: Upgrade", "Upgrade: TLS/1.2")},
				offer{"TLS/1.0", request(t, "Connection: Upgrade", "Upgrade: TLS/1.0, HTTP/1.1")},
				offer{"SPDY/3.1", request(t, "Connection: Upgrade", "Upgrade: SPDY/3.1")})
		},
	})
	upgrade(conformance.Check{
		ID: "UPG-24", Slug: "custom-token-alone", Level: conformance.Must, Origin: conformance.Vendor, Features: []string{"alpn"},
		Title: "The custom token is honoured without a Connection field, and answered with both",
		Why: "An AWS ALB passes Upgrade: alpn to its target and takes Connection away. A router that insists on the field works in every test " +
			"without a load balancer and in none with one.",
		Clauses: clauses(policy("section 5, plaintext HTTP on the port: a load balancer strips Connection (shared/facts/alb.md section 1)"), rfc(9110, "7.8")),
		Accept:  pass("101", switched), Run: tokenAlone,
		Forbid: map[conformance.Outcome]string{
			refused4xx:   "the custom token is refused behind a load balancer that strips Connection",
			notSwitched:  "the custom token is ignored behind a load balancer that strips Connection",
			noConnection: "the answer must nominate Upgrade whatever the request did",
		},
	})
}
