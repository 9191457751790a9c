package checks

import (
	"context"
	"fmt"
	"net"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of checks of a balancer's own answers.
const (
	asObserved   conformance.Outcome = "as-observed"
	otherPage    conformance.Outcome = "other-page"
	asDocumented conformance.Outcome = "as-documented"
)

func init() {
	const trouble = "AWS, Application Load Balancers: troubleshooting"
	bad := map[conformance.Outcome]string{conformance.FIN: "the client is left without an answer", conformance.RST: "the client is left without an answer"}
	balancer(conformance.Check{
		ID: "ALB-ERR-01", Slug: "alb-page", Level: conformance.Should,
		Title: "The balancer's own 502 is awselb/2.0's page, byte for byte",
		Why: "Operators tell by the page who has failed, the balancer or what is behind it. A simulator with another page teaches them to look in the " +
			"wrong place, and monitoring that matches the page does not see it.",
		Clauses: clauses(fact("ALB-ERR-01", "O", trouble, troublePage)),
		Accept:  pass("status, Server, Content-Type and body are those that were observed", asObserved), Run: ownPage,
		Forbid: map[conformance.Outcome]string{otherPage: "the page is another one", conformance.FIN: bad[conformance.FIN], conformance.RST: bad[conformance.RST]},
	})
	balancer(conformance.Check{
		ID: "ALB-ERR-05", Slug: "alb-target-closes", Level: conformance.Must,
		Title: "A target that closes before its answer has begun, or within its head, is 502 to the client",
		Why: "A target with a shorter keep-alive than the balancer's, or one that crashes, closes with a request outstanding. The client has to be " +
			"told, for it cannot know whether the request was acted on.",
		Clauses: clauses(fact("ALB-ERR-05", "D", trouble, troublePage)),
		Accept:  pass("502 each time", conformance.HTTPStatus(502)), Run: targetCloses, Forbid: bad,
	})
	balancer(conformance.Check{
		ID: "ALB-ERR-06", Slug: "alb-refused-forms", Level: conformance.Must,
		Title: "A Transfer-Encoding other than chunked is answered with 501, and TRACE with 405",
		Why: "A coding that the balancer does not know makes the end of the body a matter of opinion, which is how requests are smuggled. TRACE " +
			"echoes what the hops have added, addresses and credentials among it.",
		Clauses: clauses(fact("ALB-ERR-06", "D", trouble, troublePage), rfc(9112, "6.1")),
		Accept:  pass("501 to the one and 405 to the other, and nothing reaches the target", asDocumented), Run: refusedForms,
		Forbid: map[conformance.Outcome]string{passedOn: "the request reached the target"},
	})
}

// afterClose sends a request, has the target do something to its connection in place of an answer, and says what the client gets.
func afterClose(ctx context.Context, t *conformance.T, end func(back *wire.Conn) error) (*wire.Response, net.Conn, error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return nil, nil, &harnessError{err}
	}
	c, err := carry(ctx, t, front, get(t))
	if err != nil {
		_ = front.Close()
		return nil, nil, &harnessError{err}
	}
	if err := end(c.back); err != nil {
		c.close()
		return nil, nil, &harnessError{fmt.Errorf("as the target: %w", err)}
	}
	within(t, front)
	return wire.ReadResponse(front)
}

func ownPage(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	resp, rest, err := afterClose(ctx, t, (*wire.Conn).Close)
	if err != nil {
		return handshakeSeen(t, err)
	}
	defer rest.Close()
	const title = "502 Bad Gateway"
	const want = "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>" + title + "</h1></center>\r\n</body>\r\n</html>\r\n"
	if resp.Status != 502 {
		return saw(conformance.HTTPStatus(resp.Status), "%s", resp.Reason), nil
	}
	body, err := resp.Body(rest, 4096)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "the page: " + err.Error()}, nil
	}
	server, kind := resp.Header.Get("Server"), resp.Header.Get("Content-Type")
	switch {
	case string(body) != want:
		return saw(otherPage, "%d bytes, the first that differs is %d: %.200q", len(body), firstDifference(body, []byte(want)), body), nil
	case server != "awselb/2.0", kind != "text/html":
		return saw(otherPage, "Server %q, Content-Type %q", server, kind), nil
	}
	return saw(asObserved, "Server %s, %s, %d bytes", server, kind, len(body)), nil
}

func targetCloses(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var seen []conformance.Observation
	for _, c := range []struct {
		name string
		end  func(*wire.Conn) error
	}{
		{"closed at once", (*wire.Conn).Close},
		{"reset", (*wire.Conn).Reset},
		{"closed within the head", func(back *wire.Conn) error {
			if err := bounded(t, back, []byte("HTTP/1.1 200 OK\r\nContent-Le")); err != nil {
				return err
			}
			return back.Close()
		}},
	} {
		resp, rest, err := afterClose(ctx, t, c.end)
		if _, harness := errAsHarness(err); harness {
			return conformance.Observation{}, fmt.Errorf("%s: %w", c.name, err)
		}
		if err != nil {
			seen = append(seen, saw(t.Outcome(err), "%s: %v", c.name, err))
			continue
		}
		_ = rest.Close()
		seen = append(seen, saw(conformance.HTTPStatus(resp.Status), "%s: %d %s", c.name, resp.Status, resp.Reason))
	}
	return worst(t, seen), nil
}

func refusedForms(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	up := t.Path.Upgrade
	for _, c := range []struct {
		line, field string
		want        int
	}{{"POST", "Transfer-Encoding: gzip", 501}, {"TRACE", "Accept: */*", 405}} {
		o, err := decidesAlone(ctx, t, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n", c.line, up.Path, up.Host, c.field))
		if err != nil {
			return o, err
		}
		if o.Outcome != conformance.HTTPStatus(c.want) {
			return saw(o.Outcome, "%s with %s: %s", c.line, c.field, o.Detail), nil
		}
	}
	return saw(asDocumented, "501 and 405"), nil
}
