package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of what is no TLS.
const (
	spoke   conformance.Outcome = "server-spoke" // a route for protocols in which the server speaks first
	strange conformance.Outcome = "other-bytes"  // neither HTTP nor TLS
)

func init() {
	conformance.Register(conformance.Check{
		ID: "DET-12", Slug: "plaintext-on-tls", Tags: []string{conformance.Counts}, Level: conformance.Should, Origin: conformance.Policy, Role: conformance.Router,
		Title: "An HTTP request where TLS is expected is answered with an error or closed, not held",
		Why: "Somebody types http in place of https, a health check is set to the wrong protocol, a scanner comes by. An answer or an end tells them at " +
			"once; a router that waits for a ClientHello keeps them, and a slot each, until they give up.",
		Clauses: clauses(rfc(9112, "2.2"), policy("section 5, plaintext HTTP on the port")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(pass("an error of HTTP, an alert, or the end of the connection", refused4xx, serverError, conformance.FIN, conformance.RST, conformance.Alert(10), conformance.Alert(50), conformance.Alert(70)),
			tolerate("served as plain HTTP by the router itself", notSwitched)),
		Forbid: map[conformance.Outcome]string{
			conformance.Timeout: "held in place of answered", conformance.Dialled: "a backend was dialled for a request that is none of its business",
			strange: "answered in no known protocol", switched: "switched though nobody asked for it",
		},
		Control: opens("a"), Run: plaintext, Timeout: 20 * time.Second,
	})
	conformance.Register(conformance.Check{
		ID: "DET-15", Slug: "server-first", Level: conformance.Info, Origin: conformance.Policy, Role: conformance.Router,
		Title: "A client that waits for the server to speak first is given a route for that, or an end",
		Why: "MySQL, SMTP and SSH clients say nothing until they are greeted. What a router does with them, and how long it takes to, decides whether such a " +
			"service can share the port: a detection that lasts ten seconds is ten seconds more for each connection.",
		Clauses: clauses(policy("section 5, limits.client_hello_timeout"), policy("section 5, plaintext")), Transports: directOnly,
		Features: []string{"terminate", "hello-timeout"}, Tags: []string{"timing"}, Timeout: 15 * time.Second,
		Accept: pass("greeted, or closed, within the declared time", spoke, conformance.FIN, conformance.RST),
		Forbid: map[conformance.Outcome]string{conformance.Timeout: "neither greeted nor closed"}, Control: opens("a"), Run: awaitsGreeting,
	})
}

func plaintext(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	before := t.Accepted()
	var seen []conformance.Observation
	for _, raw := range []string{
		"GET / HTTP/1.1\r\nHost: " + t.Name("a") + "\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: " + t.Name("a") + "\r\nContent-Length: 5\r\n\r\nhello",
		"GET / HTTP/1.0\r\n\r\n",
		"CONNECT " + t.Name("a") + ":443 HTTP/1.1\r\nHost: " + t.Name("a") + ":443\r\n\r\n",
	} {
		stream, err := t.Stream(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		o := answeredPlain(t, stream, raw)
		o.Detail = fmt.Sprintf("%.15q: %s", raw, o.Detail)
		seen = append(seen, o)
		_ = stream.Close()
		if o.Outcome == conformance.Timeout {
			break // the others would take a wait each
		}
	}
	return undialled(ctx, t, before, worst(t, seen)), nil
}

// answeredPlain says what an answer to bytes that are no TLS is: one of HTTP, an alert, or an end.
func answeredPlain(t *conformance.T, stream net.Conn, raw string) conformance.Observation {
	if err := bounded(t, stream, []byte(raw)); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	first := make([]byte, 1)
	n, err := stream.Read(first)
	rest := wire.WithPrefix(stream, first[:n])
	switch {
	case n == 0:
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	case first[0] == 'H':
		resp, _, err := wire.ReadResponse(rest)
		return answeredWith(t, resp, err)
	}
	_, err = wire.ReadAnswer(rest)
	if _, alert := errors.AsType[*wire.AlertError](err); alert {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	return conformance.Observation{Outcome: strange, Detail: fmt.Sprintf("the answer begins with %#02x", first[0])}
}

func awaitsGreeting(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	limit := t.Target.HelloTimeout
	if limit <= 0 || limit > maxWaitForSilence {
		return conformance.Observation{}, &conformance.NotRunError{Reason: fmt.Sprintf("the declared ClientHello timeout is %v; only one of up to %v is sat out", limit, maxWaitForSilence)}
	}
	c, err := t.TCP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	start := time.Now()
	t.AtRest()
	_ = c.SetReadDeadline(start.Add(limit + limit/5 + t.Wait())) // an error shows in the read
	buf := make([]byte, 512)
	n, err := c.Read(buf)
	took := time.Since(start).Round(time.Millisecond)
	if n > 0 && buf[0] != 21 {
		return conformance.Observation{Outcome: spoke, Detail: fmt.Sprintf("after %v: %.40q", took, buf[:n])}, nil
	}
	if n > 0 { // an alert, and its end behind it
		return conformance.Observation{Outcome: conformance.FIN, Detail: fmt.Sprintf("an alert after %v", took)}, nil
	}
	return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("after %v, declared %v: %v", took, limit, err)}, nil
}
