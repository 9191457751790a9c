package checks

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of checks of what a balancer does with malformed requests.
const (
	byTier       conformance.Outcome = "by-tier"
	severePassed conformance.Outcome = "severe-passed"
	mildRefused  conformance.Outcome = "acceptable-refused"
	bothEnded    conformance.Outcome = "both-connections-closed"
	frontKept    conformance.Outcome = "client-connection-kept"
	backKept     conformance.Outcome = "target-connection-kept"
)

func init() {
	const attributes = "AWS, Application Load Balancers: desync mitigation mode"
	const guardian = "https://github.com/aws/http-desync-guardian/blob/master/docs/README.md"
	balancer(conformance.Check{
		ID: "ALB-DES-01", Slug: "alb-desync-tiers", Level: conformance.Must,
		Title: "In the default mode requests that are severely malformed get 400, and acceptable ones pass",
		Why: "Two readers that see the end of a request at different places are how one client puts words into another's mouth. What the balancer " +
			"lets pass is the target's to refuse; what it refuses never shows at the target.",
		Clauses: clauses(fact("ALB-DES-01", "D", attributes, attributesPage), fact("ALB-DES-01", "D", "aws/http-desync-guardian", guardian)),
		Accept:  pass("each request as its tier has it in mode defensive", byTier), Run: tiers,
		Forbid: map[conformance.Outcome]string{severePassed: "a severely malformed request reached the target", mildRefused: "an acceptable request was refused, as in mode strictest"},
	})
	balancer(conformance.Check{
		ID: "ALB-DES-02", Slug: "alb-desync-ambiguous", Level: conformance.Must,
		Title: "In the default mode an ambiguous request is carried, and both connections are closed behind it",
		Why: "Bytes that only one of two readers takes for a body would be the beginning of the next request. Nothing can begin behind it when " +
			"neither connection is used again.",
		Clauses: clauses(fact("ALB-DES-02", "D", attributes, attributesPage), fact("ALB-DES-02", "D", "aws/http-desync-guardian", guardian)),
		Accept:  pass("the target's answer comes back, and both connections end", bothEnded), Run: ambiguousEnds,
		Forbid: map[conformance.Outcome]string{
			frontKept: "the client's connection can be used again", backKept: "the target's connection can be used again", alone: "the request was refused, as in mode strictest",
		},
	})
	variant(conformance.Check{
		ID: "ALB-DES-03", Slug: "alb-desync-strictest", Level: conformance.Should, Features: []string{door.FeatureAttributes},
		Title: "In mode strictest an upgrade request with Content-Length: 0 gets 400",
		Why: "Libraries put Content-Length: 0 on requests without a body, an upgrade's among them. It works until an operator sets the strictest mode, " +
			"and then no tunnel is made: a client must not send the field.",
		Clauses: clauses(fact("ALB-DES-03", "S", "aws/http-desync-guardian", guardian)),
		Accept:  pass("400 with the field, and without it the request is carried", conformance.HTTPStatus(400)),
		Run:     altered(attribute("routing.http.desync_mitigation_mode", "strictest"), emptyUpgrade),
		Forbid:  map[conformance.Outcome]string{passedOn: "the request reached the target, as in the default mode", alone: "the same request without the field was refused too"},
	})
}

// emptyUpgrade sends the same upgrade request without the field and with it.
func emptyUpgrade(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	raw := asks(t, wire.ALPN)
	o, err := decidesAlone(ctx, t, raw)
	if err != nil || o.Outcome != passedOn {
		return saw(alone, "without the field: %s", o.Detail), err
	}
	return decidesAlone(ctx, t, strings.TrimSuffix(raw, "\r\n")+"Content-Length: 0\r\n\r\n")
}

func tiers(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	head := func(line, fields string) string {
		return fmt.Sprintf("%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", line, t.Path.Upgrade.Host, fields)
	}
	getLine, post := "GET "+t.Path.Upgrade.Path, "POST "+t.Path.Upgrade.Path
	for _, c := range []struct {
		name, raw string
		passes    bool
	}{
		{"compliant: POST with a length", head(post, "Content-Length: 2\r\n") + "ok", true},
		{"acceptable: GET with Content-Length: 0", head(getLine, "Content-Length: 0\r\n"), true},
		{"acceptable: a byte above ASCII in a value", head(getLine, "X-Trb: caf\xc3\xa9\r\n"), true},
		{"severe: two lengths that differ", head(post, "Content-Length: 2\r\nContent-Length: 3\r\n") + "ok!", false},
		{"severe: a length that is no number", head(post, "Content-Length: 2x\r\n") + "ok", false},
		{"severe: chunked twice", head(post, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", false},
		{"severe: a zero byte in a value", head(getLine, "X-Trb: a\x00b\r\n"), false},
	} {
		o, err := decidesAlone(ctx, t, c.raw)
		switch {
		case err != nil:
			return o, err
		case c.passes && o.Outcome == passedOn, !c.passes && o.Outcome == conformance.HTTPStatus(400):
		case c.passes && o.Outcome == conformance.HTTPStatus(400):
			return saw(mildRefused, "%s: %s", c.name, o.Detail), nil
		case o.Outcome == passedOn:
			return saw(severePassed, "%s: %s", c.name, o.Detail), nil
		default:
			return saw(o.Outcome, "%s: %s", c.name, o.Detail), nil
		}
	}
	return saw(byTier, "three requests carried, four refused with 400"), nil
}

// ambiguousEnds sends the same length twice. Neither the client nor the target wants its connection closed.
func ambiguousEnds(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	up := t.Path.Upgrade
	c, err := carry(ctx, t, front, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", up.Path, up.Host))
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	within(t, c.rest)
	body := make([]byte, 2)
	if _, err := io.ReadFull(c.rest, body); err != nil {
		return saw(t.Outcome(err), "the body at the target: %v", err), nil
	}
	resp, rest, err := c.answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	if err == nil {
		_, err = resp.Body(rest, 2)
	}
	if err != nil {
		return saw(t.Outcome(err), "the answer: %v", err), nil
	}
	until := time.Now().Add(beforeIdle(t))
	for _, end := range []struct {
		name string
		conn net.Conn
		kept conformance.Outcome
	}{{"the target", c.rest, backKept}, {"the client", rest, frontKept}} {
		_ = end.conn.SetReadDeadline(until)
		n, err := end.conn.Read(make([]byte, 1))
		if how := t.Outcome(err); n > 0 || how == conformance.Timeout {
			return saw(end.kept, "%s read %d bytes and %v behind the answer", end.name, n, err), nil
		}
	}
	return saw(bothEnded, "the body %q arrived, the answer %d came back, and then the end on both sides", body, resp.Status), nil
}
