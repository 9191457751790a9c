package checks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of finding a way.
const (
	rightWay   conformance.Outcome = "right-way"
	wrongWay   conformance.Outcome = "wrong-way"
	gaveIn     conformance.Outcome = "gave-up" // though another way was open
	twoAtATime conformance.Outcome = "two-tokens"
)

func init() {
	clientCheck(conformance.Check{
		ID: "DET-01-C", Slug: "classify-client", Level: conformance.Must, Origin: conformance.Policy,
		Title: "Left to itself the client goes directly where the router answers, and upgrades where a load balancer does",
		Why: "A path is direct for one user and terminated for the next. A client that always upgrades pays for it where nothing is in the way, and one that " +
			"takes a load balancer's handshake for the service's sends its first bytes to an HTTP parser.",
		Clauses: clauses(policy("section 7, dial")), Accept: pass("the way fits, and the answer names its class", rightWay),
		Forbid: map[conformance.Outcome]string{wrongWay: "the wrong way, or the wrong name for it", gaveIn: "no connection although there is a way"},
		Run:    clientFinds,
	})
	clientCheck(conformance.Check{
		ID: "UPG-24-C", Slug: "custom-token-client", Level: conformance.Should, Origin: conformance.Policy, Features: []string{wire.WebSocket, wire.ALPN},
		Title: "Where a WebSocket is refused the client tries the custom token, one token a request",
		Why: "Firewalls and gateways that know no WebSocket answer 403, 404, 426 or 502, and some let another token pass. Two tokens in one request are refused by " +
			"the strict ones for the one that they do not know.",
		Clauses: clauses(policy("section 7, dial"), rfc(9110, "7.8")), Accept: pass("a tunnel by the custom token", rightWay),
		Forbid: map[conformance.Outcome]string{wrongWay: "the answer names another upgrade", gaveIn: "no connection although the custom token was open", twoAtATime: "a request asks for two protocols"},
		Run:    clientFallsBack,
	})
}

// chooses is an auto server which refuses some upgrades with a status.
func chooses(status string, refuse ...string) script {
	return script{typ: auto, head: func(req *wire.Request) (string, bool) {
		typ := strings.ToLower(req.Header.Get("Upgrade"))
		if slices.Contains(refuse, typ) || typ == "" {
			return headOf("HTTP/1.1 "+status, "Content-Length: 0"), true
		}
		var lines []string
		if typ == wire.WebSocket {
			lines = honest(req)
		}
		return switching(typ, lines...), false
	}}
}

// finds dials with "auto" and says which way it was.
func finds(ctx context.Context, t *conformance.T, s script, class, typ string) (conformance.Observation, error) {
	p, err := play(ctx, t, s)
	if err != nil {
		return conformance.Observation{}, err
	}
	p.request.Upgrade = auto
	conn, err := p.dialled(ctx)
	if conn != nil {
		_ = conn.Close()
	}
	p.stop()
	asked, report := upgradesOf(p.requests), p.report
	if _, notRun := errors.AsType[*conformance.NotRunError](err); notRun {
		return conformance.Observation{}, err
	}
	detail := fmt.Sprintf("asked for %q, answered %+v", asked, report)
	switch {
	case slices.ContainsFunc(asked, func(v string) bool { return strings.Contains(v, ",") }):
		return conformance.Observation{Outcome: twoAtATime, Detail: detail}, nil
	case err != nil:
		return conformance.Observation{Outcome: gaveIn, Detail: fmt.Sprintf("%s: %v; the server: %v", detail, err, errors.Join(p.notes...))}, nil
	case report.Class != class, report.Upgrade != typ:
		return conformance.Observation{Outcome: wrongWay, Detail: detail}, nil
	}
	return conformance.Observation{Outcome: rightWay, Detail: detail}, nil
}

func clientFinds(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	if o, err := finds(ctx, t, script{typ: direct}, "direct", ""); err != nil || o.Outcome != rightWay {
		o.Detail = "a router: " + o.Detail
		return o, err
	}
	o, err := finds(ctx, t, chooses(""), "terminated", wire.WebSocket)
	o.Detail = "a load balancer: " + o.Detail
	return o, err
}

func clientFallsBack(ctx context.Context, t *conformance.T) (o conformance.Observation, err error) {
	for _, status := range []string{"403 Forbidden", "404 Not Found", "426 Upgrade Required", "502 Bad Gateway"} {
		o, err = finds(ctx, t, chooses(status, wire.WebSocket), "terminated", wire.ALPN)
		o.Detail = status + ": " + o.Detail
		if err != nil || o.Outcome != rightWay {
			return o, err
		}
	}
	return o, nil
}
