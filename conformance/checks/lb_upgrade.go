package checks

import (
	"context"
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of checks of upgrades through a balancer.
const (
	fieldKept conformance.Outcome = "kept"
	fieldGone conformance.Outcome = "field-dropped"
	reusable  conformance.Outcome = "reusable"
	notKept   conformance.Outcome = "connection-closed"
)

// custom is a token that nobody has registered.
const custom = "trb-custom"

func init() {
	refusedHere := map[conformance.Outcome]string{dropped: "the upgrade did not arrive", alone: "the upgrade was refused by the balancer"}
	balancer(conformance.Check{
		ID: "ALB-UPG-03", Slug: "alb-upgrade-without-connection", Level: conformance.Should,
		Title: "An upgrade request without Connection is passed on, and a tunnel is made of the 101",
		Why: "Deployed clients sent Upgrade alone for years and worked behind an ALB. A simulator that insists on Connection hides that a router " +
			"has to take requests without it.",
		Clauses: clauses(fact("ALB-UPG-03", "O", "gravitational/teleport pull request 25346", "https://github.com/gravitational/teleport/pull/25346")),
		Accept:  pass("bytes cross the tunnel both ways", conformance.Intact),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return carriesBytes(ctx, t, get(t, "Upgrade: "+wire.ALPN), wire.ALPN, []byte(t.NewNonce()))
		},
		Forbid: refusedHere,
	})
	balancer(conformance.Check{
		ID: "ALB-UPG-04", Slug: "alb-101-fields", Level: conformance.Info,
		Title: "A 101 for any token reaches the client with Connection and with that token in Upgrade",
		Why: "HTTP libraries of clients take a 101 without Connection for a broken answer. A balancer that treats the answer as it treats the request " +
			"cuts those clients off.",
		Clauses: clauses(fact("ALB-UPG-04", "I", "lstoll/grpce pull request 19", "https://github.com/lstoll/grpce/pull/19"), rfc(9110, "7.8")),
		Accept:  pass("both fields, with the token as the target sent it", bothFields), Run: answerFields,
		Forbid: map[conformance.Outcome]string{
			noConnection: "the 101 came without Connection", otherToken: "the 101 names another token, or none", dropped: "the upgrade did not arrive", alone: "the upgrade was refused by the balancer",
		},
	})
	balancer(conformance.Check{
		ID: "ALB-UPG-05", Slug: "alb-nominated-field", Level: conformance.Should,
		Title: "A field that Connection names reaches the target although Connection does not",
		Why: "The target gets half of an upgrade: Upgrade and what belongs to it, but not the field that ties them together. A server that sees " +
			"HTTP2-Settings and Upgrade: h2c without Connection answers 400, as Jetty does.",
		Clauses: clauses(fact("ALB-UPG-05", "O", "xtdb/xtdb pull request 2949", "https://github.com/xtdb/xtdb/pull/2949")),
		Accept:  pass("the field arrives", fieldKept), Run: nominatedField,
		Forbid: map[conformance.Outcome]string{fieldGone: "the field was dropped with Connection: stricter than the real one", dropped: "the upgrade did not arrive", alone: "the upgrade was refused by the balancer"},
	})
	balancer(conformance.Check{
		ID: "ALB-UPG-08", Slug: "alb-upgrade-refused", Level: conformance.Info,
		Title: "A refused upgrade is an ordinary answer, and the connection serves another request",
		Why: "A client that tries one token after another does so on one connection. If the balancer closes it behind a refusal each attempt costs " +
			"another handshake; if it does not say so, the next attempt is lost.",
		Clauses: clauses(fact("ALB-UPG-08", "I", "RFC 9110", "https://www.rfc-editor.org/rfc/rfc9110#section-7.8")),
		Accept:  pass("426 comes back, and the next request is carried", reusable), Run: upgradeRefused,
		Forbid: map[conformance.Outcome]string{
			notKept: "the connection is closed behind the answer", conformance.FIN: "the connection ended though the answer did not say so", conformance.RST: "the connection was reset",
			alone: "the upgrade was refused by the balancer",
		},
	})
	balancer(conformance.Check{
		ID: "ALB-UPG-09", Slug: "alb-tunnel-no-rules", Level: conformance.Must,
		Title: "Bytes in a tunnel that look like a request are not taken for one",
		Why: "Rules, and firewalls, look at the upgrade request and not behind it. A balancer that goes on looking answers in the middle of a tunnel, " +
			"and what is HTTP inside of it is exactly what people tunnel.",
		Clauses: clauses(fact("ALB-UPG-09", "D", "AWS, How Elastic Load Balancing works", howPage)),
		Accept:  pass("the bytes arrive as they are, both ways", conformance.Intact),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			raw := fmt.Sprintf("GET /deny HTTP/1.1\r\nHost: %s\r\nX-Trb: %s\r\n\r\n", t.Path.Upgrade.Host, t.NewNonce())
			return carriesBytes(ctx, t, asks(t, wire.ALPN), wire.ALPN, []byte(raw))
		},
		Forbid: map[conformance.Outcome]string{
			conformance.Corrupted: "something else came in place of the bytes", conformance.Truncated: "the tunnel ended at the request in it", conformance.FIN: "the tunnel ended at the request in it",
			dropped: "the upgrade did not arrive", alone: "the upgrade was refused by the balancer",
		},
	})
	balancer(conformance.Check{
		ID: "ALB-UPG-13", Slug: "alb-post-upgrade", Level: conformance.Should,
		Title: "An upgrade by POST keeps Upgrade and loses Connection",
		Why: "kubectl exec asks for SPDY with POST. Behind an ALB the API server answers that an upgrade is required, because it looks at Connection: " +
			"whoever searches for that error needs a simulator that makes it.",
		Clauses: clauses(
			fact("ALB-UPG-13", "O", "kubernetes-sigs/aws-load-balancer-controller issue 3023", "https://github.com/kubernetes-sigs/aws-load-balancer-controller/issues/3023"),
			fact("ALB-UPG-13", "O", "rancher/rancher issue 7470", "https://github.com/rancher/rancher/issues/7470")),
		Accept: pass("Upgrade arrives alone, and the 101 comes back", stripped), Run: byPost,
		Forbid: map[conformance.Outcome]string{bothFields: "Connection was kept: kinder than the real one", dropped: "the upgrade did not arrive", alone: "the upgrade was refused by the balancer"},
	})
}

const howPage = awsDocs + "userguide/how-elastic-load-balancing-works.html"

// carriesBytes makes a tunnel with that request and sends data both ways.
func carriesBytes(ctx context.Context, t *conformance.T, raw, token string, data []byte) (conformance.Observation, error) {
	c, err := switches(ctx, t, raw, token)
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	return exchangeBytes(t, c.client, c.target, data), nil
}

func answerFields(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	c, err := through101(ctx, t, custom)
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	got := strings.Join(c.resp.Lines, " | ")
	switch {
	case c.resp.Header.Get("Upgrade") != custom:
		return saw(otherToken, "%s", got), nil
	case !wire.HasToken(c.resp.Header, "Connection", "upgrade"):
		return saw(noConnection, "%s", got), nil
	}
	return saw(bothFields, "%s", got), nil
}

func nominatedField(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	c, err := switches(ctx, t, get(t, "Connection: Upgrade, X-Trb-Settings", "Upgrade: "+wire.ALPN, "X-Trb-Settings: 1"), wire.ALPN)
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	if got := c.req.Header.Values("X-Trb-Settings"); len(got) != 1 || got[0] != "1" {
		return saw(fieldGone, "the target got %s", strings.Join(c.req.Lines, " | ")), nil
	}
	return saw(fieldKept, "the target got %s", strings.Join(c.req.Lines, " | ")), nil
}

func upgradeRefused(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	c, err := carry(ctx, t, front, asks(t, custom))
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	resp, rest, err := c.answer(t, "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 2\r\nConnection: close, Upgrade\r\n\r\nno")
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	body, err := resp.Body(rest, 16)
	switch {
	case err != nil:
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	case resp.Status != 426 || string(body) != "no":
		return saw(conformance.HTTPStatus(resp.Status), "%q", body), nil
	case wire.HasToken(resp.Header, "Connection", "close"):
		return saw(notKept, "426 with Connection: close"), nil
	}
	_ = c.back.Close()
	o, _, _ := decides(ctx, t, front, get(t))
	if o.Outcome == passedOn {
		return saw(reusable, "426, and then another request on the same connection"), nil
	}
	return o, nil
}

func byPost(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	up := t.Path.Upgrade
	raw := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n", up.Path, up.Host)
	c, err := switches(ctx, t, raw, "SPDY/3.1")
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	o := saw(stripped, "%s %s", c.req.Method, strings.Join(c.req.Lines, " | "))
	if wire.HasToken(c.req.Header, "Connection", "upgrade") {
		o.Outcome = bothFields
	}
	return o, nil
}
