package checks

import (
	"context"
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// limitLow is the outcome "what is within the limits was refused".
const limitLow conformance.Outcome = "limit-too-low"

func init() {
	const trouble = "AWS, Application Load Balancers: troubleshooting"
	balancer(conformance.Check{
		ID: "ALB-LIM-01", Slug: "alb-long-line", Level: conformance.Must,
		Title: "A request line of more than 16 K is answered with 414 or 400",
		Why: "Applications that put their state into the query meet this limit one day, with one user. The documents have both numbers; what matters " +
			"is that there is an answer, so that the user's browser does not try again.",
		Clauses: clauses(fact("ALB-LIM-01", "D", trouble, troublePage)),
		Control: passes(func(t *conformance.T) string { return longLine(t, 8_000) }),
		Accept:  pass("414 or 400, and nothing reaches the target", conformance.HTTPStatus(414), conformance.HTTPStatus(400)),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return decidesAlone(ctx, t, longLine(t, 17_000))
		},
		Forbid: map[conformance.Outcome]string{
			passedOn: "the target was sent it, whole or not", conformance.FIN: "no answer", conformance.RST: "no answer", conformance.HTTPStatus(431): "AWS has no such status for this",
		},
	})
	balancer(conformance.Check{
		ID: "ALB-LIM-02", Slug: "alb-large-header", Level: conformance.Must,
		Title: "One field of more than 16 K, or fields of more than 64 K, are answered with 400",
		Why: "Cookies and tokens grow until the balancer refuses what the target would have taken. A simulator with larger limits lets a login pass " +
			"that fails for the users with the most groups.",
		Clauses: clauses(fact("ALB-LIM-02", "D", trouble, troublePage)),
		Control: passes(func(t *conformance.T) string { return get(t, fieldsOf(1, 8_000)...) }),
		Accept:  pass("400 to each, and nothing reaches the target; three fields of 12,000 bytes pass", conformance.HTTPStatus(400)), Run: largeHeaders,
		Forbid: map[conformance.Outcome]string{limitLow: "less is taken than the real one takes", passedOn: "the target was sent it, whole or not", conformance.FIN: "no answer", conformance.RST: "no answer", conformance.HTTPStatus(431): "AWS has no such status for this"},
	})
	balancer(conformance.Check{
		ID: "ALB-LIM-03", Slug: "alb-large-answer", Level: conformance.Must,
		Title: "An answer whose fields come to more than 32 K is 502 to the client",
		Why: "A target that sets many cookies works when asked directly and is a bad gateway behind the balancer. The cause is in no log of the " +
			"target, which has answered.",
		Clauses: clauses(fact("ALB-LIM-03", "D", trouble, troublePage)),
		Control: func(ctx context.Context, t *conformance.T) error { return answeredBy(ctx, t, fieldsOf(1, 8_000), 200) },
		Accept:  pass("502", conformance.HTTPStatus(502)),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			status, err := answeredWithFields(ctx, t, fieldsOf(3, 11_000))
			if err != nil {
				return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
			}
			return saw(conformance.HTTPStatus(status), "to three fields of 11,000 bytes"), nil
		},
		Forbid: map[conformance.Outcome]string{conformance.HTTPStatus(200): "the target's answer was passed on, whole or not"},
	})
}

func longLine(t *conformance.T, size int) string {
	up := t.Path.Upgrade
	return fmt.Sprintf("GET %s?%s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n\r\n", up.Path, strings.Repeat("q", size), up.Host)
}

// fieldsOf is n fields with values of that size.
func fieldsOf(n, size int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("X-Trb-Large-%d: %s", i, strings.Repeat("v", size))
	}
	return list
}

func largeHeaders(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	within, err := decidesAlone(ctx, t, get(t, fieldsOf(3, 12_000)...))
	if err != nil {
		return within, err
	}
	if within.Outcome != passedOn {
		return saw(limitLow, "three fields of 12,000 bytes: %s: %s", within.Outcome, within.Detail), nil
	}
	var seen []conformance.Observation
	for _, c := range []struct {
		name  string
		lines []string
	}{{"one field of 16,500 bytes", fieldsOf(1, 16_500)}, {"five fields of 15,000 bytes", fieldsOf(5, 15_000)}} {
		o, err := decidesAlone(ctx, t, get(t, c.lines...))
		if err != nil {
			return o, err
		}
		o.Detail = c.name + ": " + o.Detail
		seen = append(seen, o)
	}
	o := worst(t, seen)
	if o.Outcome == seen[0].Outcome && o.Outcome == seen[1].Outcome {
		o.Detail = seen[0].Detail + "; " + seen[1].Detail
	}
	return o, nil
}

// answeredWithFields has the target answer with these fields and says what status the client got.
func answeredWithFields(ctx context.Context, t *conformance.T, lines []string) (int, error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return 0, err
	}
	c, err := carry(ctx, t, front, get(t))
	if err != nil {
		_ = front.Close()
		return 0, err
	}
	defer c.close()
	// Who refuses the beginning of an answer may not take the rest: what the client gets tells.
	_ = bounded(t, c.back, []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n"))
	within(t, front)
	resp, _, err := wire.ReadResponse(front)
	if err != nil {
		return 0, err
	}
	return resp.Status, nil
}

func answeredBy(ctx context.Context, t *conformance.T, lines []string, want int) error {
	status, err := answeredWithFields(ctx, t, lines)
	if err == nil && status != want {
		err = fmt.Errorf("the client got %d", status)
	}
	return err
}
