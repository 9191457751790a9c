package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"

	"golang.org/x/net/http2"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of checks of a balancer's HTTP/2.
const (
	noConnect   conformance.Outcome = "no-extended-connect"
	hasConnect  conformance.Outcome = "extended-connect"
	asListed    conformance.Outcome = "names-as-listed"
	namesChange conformance.Outcome = "names-changed"
	fieldLost   conformance.Outcome = "field-missing"
)

func init() {
	balancer(conformance.Check{
		ID: "ALB-UPG-12", Slug: "alb-h2-no-connect", Level: conformance.Should,
		Title: "HTTP/2 of the balancer does not offer extended CONNECT",
		Why: "WebSocket over HTTP/2 needs a setting that the server sends first. A simulator that sends it lets a client open its tunnel in a way " +
			"that the real one does not have.",
		Clauses: clauses(fact("ALB-UPG-12", "O", "AWS, Application Load Balancers: listeners", listenersPage), rfc(8441, "3")),
		Accept:  pass("SETTINGS_ENABLE_CONNECT_PROTOCOL is not sent, or is 0", noConnect), Run: overTLS(connectSetting),
		Forbid: map[conformance.Outcome]string{hasConnect: "extended CONNECT is offered"},
	})
	balancer(conformance.Check{
		ID: "ALB-HDR-10", Slug: "alb-h2-names", Level: conformance.Must,
		Title: "Field names of an HTTP/2 request are lower case at an HTTP/1.1 target, but for those on AWS's list",
		Why: "Field names have no case, and there are targets that do not know it. They work with the browser that speaks HTTP/1.1 and fail with the " +
			"one that speaks HTTP/2 through the same balancer.",
		Clauses: clauses(fact("ALB-HDR-10", "D", "AWS, How Elastic Load Balancing works", howPage), rfc(9113, "8.2.1")),
		Accept:  pass("the client's names in lower case, the balancer's and Host in mixed case", asListed), Run: overTLS(namesFromH2),
		Forbid: map[conformance.Outcome]string{namesChange: "a name is spelled otherwise", fieldLost: "a field did not arrive"},
	})
	balancer(conformance.Check{
		ID: "ALB-ERR-08", Slug: "alb-grpc-to-http1", Level: conformance.Must,
		Title: "A gRPC request for targets of HTTP/1.1 is answered with 464",
		Why: "A group of targets has one protocol version, and nothing in the answer but AWS's own number tells that it is the wrong one. The other " +
			"half of this row, HTTP/1.1 to a group for gRPC, needs another configuration than this suite asks for.",
		Clauses: clauses(fact("ALB-ERR-08", "D", "AWS, Application Load Balancers: troubleshooting", troublePage), fact("ALB-ERR-08", "D", "Cloud-Foundations/keymaster issue 185", "https://github.com/Cloud-Foundations/keymaster/issues/185")),
		Control: overH2("GET", ""),
		Accept:  pass("464, and nothing reaches the target", conformance.HTTPStatus(464)), Run: overTLS(grpcToHTTP1),
		Forbid: map[conformance.Outcome]string{passedOn: "the target was sent gRPC in HTTP/1.1"},
	})
}

// frontH2 is an HTTP/2 connection to the listener.
func frontH2(ctx context.Context, t *conformance.T) (*tls.Conn, *wire.H2, error) {
	conn, err := frontTLS(ctx, t, "h2")
	if err != nil {
		return nil, nil, err
	}
	if proto := conn.ConnectionState().NegotiatedProtocol; proto != "h2" {
		return nil, nil, &conformance.UnsupportedError{Reason: fmt.Sprintf("h2 was offered and %q selected: see ALB-TLS-01", proto)}
	}
	within(t, conn)
	h, err := wire.NewH2(conn)
	return conn, h, err
}

// pseudo are the fields that an HTTP/2 request begins with.
func pseudo(t *conformance.T, method string) []string {
	return []string{":method", method, ":scheme", "https", ":authority", t.Path.Upgrade.Host, ":path", t.Path.Upgrade.Path}
}

// overH2 is the positive control: a request over HTTP/2 is carried.
func overH2(method, kind string) func(context.Context, *conformance.T) error {
	return func(ctx context.Context, t *conformance.T) error {
		if !t.Path.Upgrade.TLS {
			return nil // and NOT-RUN
		}
		o, _, err := overH2Decides(ctx, t, method, kind)
		if err == nil && o.Outcome != passedOn {
			err = fmt.Errorf("a plain request over HTTP/2: %s: %s", o.Outcome, o.Detail)
		}
		return err
	}
}

// overH2Decides is decides for a request over HTTP/2, with that content type unless empty.
func overH2Decides(ctx context.Context, t *conformance.T, method, kind string) (conformance.Observation, []*wire.Request, error) {
	conn, h, err := frontH2(ctx, t)
	if err != nil {
		return conformance.Observation{}, nil, err
	}
	defer conn.Close()
	fields := append(pseudo(t, method), "user-agent", "trb", "x-custom", "1", "x-trb-nonce", t.NewNonce())
	var body []byte
	if kind != "" {
		fields, body = append(fields, "content-type", kind, "te", "trailers"), []byte{0, 0, 0, 0, 0}
	}
	stop := standIn(ctx, t)
	stream, err := h.Ask(body, fields...)
	var resp *wire.H2Response
	if err == nil {
		within(t, conn)
		resp, err = h.Response(stream)
	}
	came := stop()
	switch {
	case err != nil:
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, came, nil
	case len(came) > 0 && resp.Status == "200":
		return saw(passedOn, "the target got %s and answered", came[0].Method), came, nil
	}
	return saw(conformance.Outcome("http:"+resp.Status), "%d requests reached the target", len(came)), came, nil
}

func connectSetting(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	conn, h, err := frontH2(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer conn.Close()
	for _, s := range h.Settings {
		if s.ID == http2.SettingEnableConnectProtocol && s.Val != 0 {
			return saw(hasConnect, "%v", h.Settings), nil
		}
	}
	return saw(noConnect, "%v", h.Settings), nil
}

// mixedCase are the names that AWS spells so on the way from HTTP/2 to an HTTP/1.1 target.
var mixedCase = []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "Host", traceID}

func namesFromH2(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	o, came, err := overH2Decides(ctx, t, "GET", "")
	if err != nil || o.Outcome != passedOn {
		return o, err
	}
	for _, want := range append([]string{"user-agent", "x-custom", "x-trb-nonce"}, mixedCase...) {
		got := ""
		for _, line := range came[0].Lines {
			if name, _, _ := strings.Cut(line, ":"); strings.EqualFold(name, want) {
				got = name
			}
		}
		switch {
		case got == want, got == "" && want == traceID: // ALB-HDR-05 is about whether it is there
		case got == "":
			return saw(fieldLost, "no %s among %s", want, strings.Join(came[0].Lines, " | ")), nil
		default:
			return saw(namesChange, "%s in place of %s", got, want), nil
		}
	}
	return saw(asListed, "user-agent and x-* of the client, %s", strings.Join(mixedCase, ", ")), nil
}

func grpcToHTTP1(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	o, _, err := overH2Decides(ctx, t, "POST", "application/grpc")
	return o, err
}
