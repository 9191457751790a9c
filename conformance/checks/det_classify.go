package checks

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "DET-01", Slug: "classify", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "TLS and HTTP/1 are told apart on one port",
		Why: "One port carries TLS for many services and plain HTTP for the load balancer with an HTTP target. A router that takes " +
			"every first byte for TLS leaves such a load balancer without its upgrade endpoint and its health checks red.",
		Clauses:    clauses(rfc(9846, "5.1"), rfc(9112, "3")),
		Transports: directOnly, Features: []string{"terminate", "upgrade"},
		Accept: pass("each opener reaches what understands it", conformance.Routed),
		Forbid: map[conformance.Outcome]string{
			conformance.Timeout: "an opener that is not understood must be answered or closed, not held",
			conformance.FIN:     "plain HTTP was closed without an answer",
			conformance.RST:     "plain HTTP was closed without an answer",
			conformance.Dialled: "a backend was dialled for a request that is none of its business",
		},
		Control: opens("a"),
		Run:     classify,
	})
}

func classify(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	for _, route := range []string{"a", "b"} {
		cfg, err := t.Config(route)
		if err != nil {
			return conformance.Observation{}, err
		}
		if o := reach(ctx, t, cfg, witnessOf(t, route)); o.Outcome != conformance.Routed {
			o.Detail = "TLS for route " + route + ": " + o.Detail
			return o, nil
		}
	}
	before := t.Accepted()
	c, err := t.TCP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	const request = "GET /no/such/path HTTP/1.1\r\nHost: conformance.invalid\r\n\r\n"
	if err := bounded(t, c, []byte(request)); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "plain HTTP: " + err.Error()}, nil
	}
	resp, _, err := wire.ReadResponse(c)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "plain HTTP: " + err.Error()}, nil
	}
	if detail, ok := t.NotDialled(ctx, before); !ok {
		return conformance.Observation{Outcome: conformance.Dialled, Detail: "plain HTTP: " + detail}, nil
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: fmt.Sprintf("TLS by name; plain HTTP answered with %d", resp.Status)}, nil
}

// bounded sets the deadline of what must come from now on, and writes.
func bounded(t *conformance.T, c net.Conn, raw []byte) error {
	if err := c.SetDeadline(time.Now().Add(t.Wait())); err != nil {
		return err
	}
	_, err := c.Write(raw)
	return err
}
