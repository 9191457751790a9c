package checks

import (
	"context"
	"errors"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

func init() {
	variant(conformance.Check{
		ID: "ALB-UPG-11", Slug: "alb-upgrade-to-h2", Level: conformance.Must, Features: []string{door.FeatureVersion},
		Title: "An upgrade for targets of HTTP/2 or gRPC is answered with 464",
		Why: "A group whose protocol version is set for a new service takes the tunnels of the old one away. 464 is AWS's own number, and found in no " +
			"RFC: who meets it has to know that it is the group and not the request.",
		Clauses: clauses(
			fact("ALB-UPG-11", "D", "AWS, Application Load Balancers: troubleshooting", troublePage),
			fact("ALB-UPG-11", "D", "Cloud-Foundations/keymaster issue 185", "https://github.com/Cloud-Foundations/keymaster/issues/185")),
		Accept: pass("464 for both versions, and nothing reaches the target", conformance.HTTPStatus(464)), Run: overTLS(upgradeToHTTP2),
		Forbid: map[conformance.Outcome]string{passedOn: "the request reached the target", conformance.HTTPStatus(502): "502 is for a target that fails"},
	})
	variant(conformance.Check{
		ID: "ALB-ERR-09", Slug: "alb-grpc-error", Level: conformance.Should, Features: []string{door.FeatureVersion},
		Title: "A gRPC client gets the balancer's error as gRPC: grpc-status 14 in the only head there is",
		Why: "Libraries of gRPC try again on 14, unavailable, and give up on what they cannot read. A page in HTML is to them an unknown error of " +
			"the application, and a deployment becomes an outage.",
		Clauses: clauses(fact("ALB-ERR-09", "O", "AWS, Application Load Balancers: troubleshooting", troublePage)),
		Accept:  pass("application/grpc and grpc-status 14, and the stream ends with the head", asObserved), Run: overTLS(grpcUnavailable),
		Forbid: map[conformance.Outcome]string{otherPage: "the answer is another one"},
	})
}

func upgradeToHTTP2(ctx context.Context, t *conformance.T) (o conformance.Observation, err error) {
	for _, version := range []string{"HTTP2", "GRPC"} {
		if err = t.Relaunch(ctx, func(doc *door.Balancer) { doc.ProtocolVersion = version }); err != nil {
			return o, err
		}
		if o, err = decidesAlone(ctx, t, asks(t, wire.WebSocket)); err != nil || o.Outcome != conformance.HTTPStatus(464) {
			o.Detail = version + ": " + o.Detail
			return o, err
		}
	}
	return o, nil
}

// grpcUnavailable calls a group for gRPC whose target refuses the connection.
func grpcUnavailable(ctx context.Context, t *conformance.T) (o conformance.Observation, err error) {
	dead, release, err := netx.Refuse()
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, release()) }()
	err = t.Relaunch(ctx, func(doc *door.Balancer) {
		doc.ProtocolVersion, doc.Targets = "GRPC", []door.BalancerTarget{{Address: dead, TLS: true}}
	})
	if err != nil {
		return o, err
	}
	conn, h, err := frontH2(ctx, t)
	if err != nil {
		return o, err
	}
	defer conn.Close()
	stream, err := h.Ask([]byte{0, 0, 0, 0, 0}, append(pseudo(t, "POST"), "content-type", "application/grpc", "te", "trailers")...)
	if err != nil {
		return o, err
	}
	_ = conn.SetDeadline(time.Now().Add(targetPatience * t.Wait()))
	resp, err := h.Response(stream)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	outcome := asObserved
	if resp.Field("content-type") != "application/grpc" || resp.Field("grpc-status") != "14" || !resp.Ended {
		outcome = otherPage
	}
	return saw(outcome, ":status %s, content-type %q, grpc-status %q, the stream ended with it: %v", resp.Status, resp.Field("content-type"), resp.Field("grpc-status"), resp.Ended), nil
}
