package checks

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of checks of what a balancer does to a request's fields.
const (
	normal       conformance.Outcome = "lower-case-host"
	hostKept     conformance.Outcome = "host-as-sent"
	hostGiven    conformance.Outcome = "host-given"
	hostMissing  conformance.Outcome = "host-missing"
	continued    conformance.Outcome = "continued"
	expectPassed conformance.Outcome = "expect-passed"
	withColon    conformance.Outcome = "colon-appended"
	unfolded     conformance.Outcome = "unfolded"
	foldKept     conformance.Outcome = "folded"
)

const attributesPage = awsDocs + "application/edit-load-balancer-attributes.html"

func init() {
	const attributes, how = "AWS, Application Load Balancers: attributes", "AWS, How Elastic Load Balancing works"
	balancer(conformance.Check{
		ID: "ALB-HDR-06", Slug: "alb-host", Level: conformance.Must,
		Title: "Host reaches the target in lower case and with the listener's port or none",
		Why: "Targets compare Host, byte by byte, with the names they serve. With a balancer that passes it on as it came, a name in capitals or " +
			"with :443 behind it finds no virtual host.",
		Clauses: clauses(fact("ALB-HDR-06", "D", attributes, attributesPage)),
		Accept:  pass("lower case, and no port that is not the listener's", normal), Run: hostField,
		Forbid: map[conformance.Outcome]string{hostKept: "the host is as the client sent it", hostMissing: "there is no Host, or more than one"},
	})
	balancer(conformance.Check{
		ID: "ALB-HDR-08", Slug: "alb-odd-names", Level: conformance.Must,
		Title: "Fields with names beyond letters, digits and hyphen pass",
		Why: "Applications have fields with underscores in their names. nginx drops them and an ALB does not, unless told to: who tests with " +
			"the one finds that his field is gone, or that it is not, behind the other.",
		Clauses: clauses(fact("ALB-HDR-08", "D", attributes, attributesPage)),
		Accept:  pass("the fields arrive", fieldKept), Run: oddNames,
		Forbid: map[conformance.Outcome]string{fieldGone: "a field was dropped, or its name changed"},
	})
	balancer(conformance.Check{
		ID: "ALB-HDR-09", Slug: "alb-expect", Level: conformance.Must,
		Title: "Expect: 100-continue is answered by the balancer at once and does not reach the target",
		Why: "A client that waits for 100 before its upload gets it whatever the target will say, so that a refusal comes when all has been sent. " +
			"A target that counts on being asked first never is.",
		Clauses: clauses(fact("ALB-HDR-09", "D", how, howPage)),
		Accept:  pass("100 comes before the target has taken the request, which has no Expect", continued), Run: expects,
		Forbid: map[conformance.Outcome]string{conformance.Timeout: "no 100 while the target is silent", expectPassed: "Expect reached the target"},
	})
	balancer(conformance.Check{
		ID: "ALB-HDR-11", Slug: "alb-folded", Level: conformance.Must,
		Title: "A folded line reaches the target with a colon behind it",
		Why: "Line folding is obsolete, and each hop that undoes it in its own way is a place for smuggling. What an ALB makes of it is a field " +
			"whose name begins with a blank: the target had better refuse it.",
		Clauses: clauses(fact("ALB-HDR-11", "D", "AWS, Application Load Balancers: troubleshooting", troublePage)),
		Accept:  pass("the folded line has a colon at its end", withColon), Run: folds,
		Forbid: map[conformance.Outcome]string{unfolded: "the line was joined to the one before", foldKept: "the folded line is as it was sent", fieldGone: "the folded line is gone"},
	})
	balancer(conformance.Check{
		ID: "ALB-HDR-13", Slug: "alb-http10-host", Level: conformance.Must,
		Title: "An HTTP/1.0 request without Host gets the balancer's own name",
		Why: "Probes and very old clients send no Host. A target that serves by name gets the balancer's in its place, which none of its virtual " +
			"hosts has, and not an error for the want of one.",
		Clauses: clauses(fact("ALB-HDR-13", "D", how, howPage)),
		Accept:  pass("one Host, not empty", hostGiven), Run: withoutHost,
		Forbid: map[conformance.Outcome]string{hostMissing: "there is no Host, or an empty one"},
	})
}

// hostField sends the host in capitals with the scheme's own port.
func hostField(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	up := t.Path.Upgrade
	name := up.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	port := "80"
	if up.TLS {
		port = "443"
	}
	sent := strings.ToUpper(name) + ":" + port
	req, err := reaches(ctx, t, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n\r\n", up.Path, sent))
	if err != nil {
		return unlessAlone(err)
	}
	got := req.Header.Values("Host")
	if len(got) != 1 {
		return saw(hostMissing, "sent %q, the target got %q", sent, got), nil
	}
	want := strings.ToLower(name)
	listener, other := strings.CutPrefix(got[0], want+":") // which is not the path's port where something stands before the balancer
	if got[0] == want || other && listener != port {
		return saw(normal, "sent %q, the target got %q", sent, got[0]), nil
	}
	return saw(hostKept, "sent %q, the target got %q", sent, got[0]), nil
}

func oddNames(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	sent := []string{"X_Trb_Underscore: 1", "X.Trb.Dot: 2", "X!Trb: 3"}
	req, err := reaches(ctx, t, get(t, sent...))
	if err != nil {
		return unlessAlone(err)
	}
	all := "\n" + strings.ToLower(strings.Join(req.Lines, "\n")) + "\n"
	for _, line := range sent {
		if !strings.Contains(all, "\n"+strings.ToLower(line)+"\n") {
			return saw(fieldGone, "%q is not among %s", line, strings.Join(req.Lines, " | ")), nil
		}
	}
	return saw(fieldKept, "%s", strings.Join(sent, ", ")), nil
}

// expects looks at the stub only when 100 has come: the balancer cannot have it from there.
func expects(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	up := t.Path.Upgrade
	front, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer func() { _ = front.Close() }()
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n", up.Path, up.Host)
	if err := bounded(t, front, []byte(head)); err != nil {
		return conformance.Observation{}, err
	}
	resp, rest, err := wire.ReadResponse(front)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "waiting for 100 while the target is silent: " + err.Error()}, nil
	}
	if resp.Status != 100 {
		return saw(conformance.HTTPStatus(resp.Status), "in place of 100"), nil
	}
	c, err := carry(ctx, t, rest, "body")
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	if got := c.req.Header.Values("Expect"); len(got) > 0 {
		return saw(expectPassed, "the target got Expect: %q", got), nil
	}
	if resp, _, err = c.answer(t, servedByTarget); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	if resp.Status != 200 {
		return saw(conformance.HTTPStatus(resp.Status), "behind the 100"), nil
	}
	return saw(continued, "100 before the target had taken the connection, then the target's 200"), nil
}

func folds(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	req, err := reaches(ctx, t, get(t, "X-Trb-Folded: one\r\n two-"+t.Nonce, "X-Trb-Behind: 1"))
	if own, ok := errAsAlone(err); ok {
		return saw(conformance.HTTPStatus(own.resp.Status), "%v", own), nil
	}
	if err != nil {
		return conformance.Observation{}, err
	}
	all := strings.Join(req.Lines, " | ")
	for i, line := range req.Lines {
		switch {
		case !strings.Contains(line, "two-"+t.Nonce):
		case strings.HasSuffix(line, ":") && strings.Trim(line, " \t:") == "two-"+t.Nonce:
			return saw(withColon, "%q", line), nil
		case line[0] == ' ' || line[0] == '\t':
			return saw(foldKept, "%q behind %q", line, req.Lines[max(i-1, 0)]), nil
		default:
			return saw(unfolded, "%q", line), nil
		}
	}
	return saw(fieldGone, "%s", all), nil
}

func withoutHost(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	req, err := reaches(ctx, t, fmt.Sprintf("GET %s HTTP/1.0\r\nAccept: */*\r\n\r\n", t.Path.Upgrade.Path))
	if err != nil {
		return unlessAlone(err)
	}
	got := req.Header.Values("Host")
	if len(got) != 1 || got[0] == "" {
		return saw(hostMissing, "the target got %s", strings.Join(req.Lines, " | ")), nil
	}
	return saw(hostGiven, "Host: %s", got[0]), nil
}
