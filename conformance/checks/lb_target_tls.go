package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of checks of the TLS side towards a target.
const (
	bare      conformance.Outcome = "nothing-shown" // no SNI, no ALPN, no client certificate
	shown     conformance.Outcome = "shown"
	plainHTTP conformance.Outcome = "no-tls"
)

// targetPatience is how many waits an answer may take while the balancer tries its target again.
const targetPatience = 4

const groupsPage = awsDocs + "application/load-balancer-target-groups.html"

func init() {
	balancer(conformance.Check{
		ID: "ALB-ERR-10", Slug: "alb-target-certificate", Level: conformance.Must,
		Title: "An HTTPS target's certificate is not looked at: self-signed, expired and for another name will do",
		Why: "A router behind the balancer need not have a certificate that anybody vouches for, and cannot be told from an impostor by it. Who " +
			"tests with a proxy that verifies finds errors that the field does not have, and misses the risk that it has.",
		Clauses: clauses(fact("ALB-ERR-10", "D", "AWS, Application Load Balancers: target groups", groupsPage)),
		Accept:  pass("the request is carried", passedOn), Run: overTargetTLS(expiredTarget),
		Forbid: map[conformance.Outcome]string{conformance.HTTPStatus(502): "the balancer refused the certificate"},
	})
	balancer(conformance.Check{
		ID: "ALB-ERR-11", Slug: "alb-target-hello", Level: conformance.Should,
		Title: "The ClientHello to an HTTPS target has no SNI, no ALPN, and no client certificate follows",
		Why: "All that a router routes by is gone on this hop, and all that it authenticates by. Whoever tests with a proxy that passes SNI on " +
			"tests a path that does not exist in the field.",
		Clauses: clauses(fact("ALB-ERR-11", "O", "apache/apisix-helm-chart pull request 546", "https://github.com/apache/apisix-helm-chart/pull/546"),
			fact("ALB-ERR-11", "O", "gravitational/teleport pull request 14176", "https://github.com/gravitational/teleport/pull/14176")),
		Accept: pass("the ClientHello shows nothing", bare), Run: targetHello,
		Forbid: map[conformance.Outcome]string{shown: "the target was shown what the real one keeps to itself", plainHTTP: "the target was not spoken to in TLS"},
	})
	balancer(conformance.Check{
		ID: "ALB-ERR-12", Slug: "alb-target-handshake", Level: conformance.Must,
		Title: "A handshake that fails at the target is 502 to the client",
		Why: "A target that wants a client certificate gets none from the balancer, which has none to show. The client learns of it as a bad gateway: " +
			"mutual TLS with the target has to go through a tunnel.",
		Clauses: clauses(fact("ALB-ERR-12", "D", "AWS, Application Load Balancers: troubleshooting", troublePage)),
		Accept:  pass("502 each time", conformance.HTTPStatus(502)), Run: overTargetTLS(failedHandshake),
		Forbid: map[conformance.Outcome]string{
			conformance.FIN: "the client is left without an answer", conformance.RST: "the client is left without an answer", passedOn: "the request was carried without the certificate that was asked for",
			conformance.HTTPStatus(503): "503 is for a group without targets", conformance.HTTPStatus(504): "504 is for a target that is silent",
		},
	})
}

// overTargetTLS is a check of the TLS side towards the target: NOT-RUN where the balancer speaks plain HTTP to it.
func overTargetTLS(run func(context.Context, *conformance.T) (conformance.Observation, error)) func(context.Context, *conformance.T) (conformance.Observation, error) {
	return func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
		front, err := t.HTTP(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		c, err := carry(ctx, t, front, get(t))
		if err != nil {
			return unlessAlone(err)
		}
		_, _, _ = c.answer(t, servedByTarget) // the hello has been seen
		c.close()
		if len(c.hello.Raw) == 0 {
			return conformance.Observation{}, &conformance.NotRunError{Reason: "the balancer speaks plain HTTP to its target"}
		}
		return run(ctx, t)
	}
}

// viaTarget sends a request to the balancer and has serve do what the target does with each connection that comes of it, for there may be
// another try; then it reads the client's answer.
func viaTarget(ctx context.Context, t *conformance.T, serve func(c net.Conn) error) (conformance.Observation, error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer func() { _ = front.Close() }()
	if err := bounded(t, front, []byte(get(t))); err != nil {
		return conformance.Observation{}, err
	}
	serving, cancel := context.WithCancel(ctx)
	tried := make(chan []error, 1)
	go func() {
		var said []error
		for serving.Err() == nil {
			back, err := t.AcceptRaw(serving)
			if err != nil {
				continue // nothing came within a wait
			}
			said = append(said, serve(back))
			_ = back.Close()
		}
		tried <- said
	}()
	_ = front.SetDeadline(time.Now().Add(targetPatience * t.Wait()))
	resp, _, err := wire.ReadResponse(front)
	cancel()
	said := <-tried
	switch {
	case len(said) == 0:
		return conformance.Observation{}, fmt.Errorf("the balancer has opened no connection to its target: %w", err)
	case err != nil:
		return saw(t.Outcome(err), "%v; at the target: %v", err, said), nil
	case resp.Status == 200 && slices.Contains(said, nil):
		return saw(passedOn, "the target answered 200"), nil
	}
	return saw(conformance.HTTPStatus(resp.Status), "%s; at the target: %v", resp.Reason, said), nil
}

// asTarget ends TLS with cfg and answers the request on it.
func asTarget(ctx context.Context, t *conformance.T, cfg *tls.Config) func(net.Conn) error {
	return func(c net.Conn) error {
		conn, _, err := t.ServeTLS(ctx, c, cfg)
		if err != nil {
			return err
		}
		within(t, conn)
		if _, _, err := wire.ReadRequest(conn); err != nil {
			return err
		}
		return answerAndEnd(t, conn, servedByTarget)
	}
}

func expiredTarget(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	expired, err := issuedFor(&x509.Certificate{
		Subject: pkix.Name{CommonName: "expired"}, DNSNames: []string{t.Name("another")}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	if err != nil {
		return conformance.Observation{}, err
	}
	return viaTarget(ctx, t, asTarget(ctx, t, &tls.Config{Certificates: []tls.Certificate{*expired}}))
}

// failedHandshake fails in two ways: the target answers the hello with an alert, and it wants a certificate that does not come.
func failedHandshake(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	cert, _, err := serverIdentity(t.Name("target"))
	if err != nil {
		return conformance.Observation{}, err
	}
	var seen []conformance.Observation
	for _, c := range []struct {
		name string
		cfg  *tls.Config
	}{
		{"an alert in answer to the hello", &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return nil, errors.New("the target wants no one")
		}}},
		{"a client certificate is wanted", &tls.Config{Certificates: []tls.Certificate{*cert}, ClientAuth: tls.RequireAnyClientCert}},
	} {
		o, err := viaTarget(ctx, t, asTarget(ctx, t, c.cfg))
		if err != nil {
			return o, fmt.Errorf("%s: %w", c.name, err)
		}
		o.Detail = c.name + ": " + o.Detail
		seen = append(seen, o)
	}
	return worst(t, seen), nil
}

// targetHello looks at three requests: a plain one and one of each kind of upgrade. The client offers a name and a protocol, so
// that there is something to pass on.
func targetHello(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	for _, raw := range []string{get(t), asks(t, wire.WebSocket), asks(t, wire.ALPN)} {
		front, err := frontNamed(ctx, t)
		if err != nil {
			return conformance.Observation{}, err
		}
		c, err := carry(ctx, t, front, raw)
		if err != nil {
			return unlessAlone(err)
		}
		o, ok := nothingShown(c)
		_, _, _ = c.answer(t, servedByTarget) // whatever comes of it: the hello has been seen
		c.close()
		if !ok {
			return o, nil
		}
	}
	return conformance.Observation{Outcome: bare, Detail: "three requests: no server_name, no ALPN extension, no client certificate"}, nil
}

// frontNamed is a connection to the listener, over TLS with a name and a protocol where that is to be had.
func frontNamed(ctx context.Context, t *conformance.T) (net.Conn, error) {
	if !t.Path.Upgrade.TLS {
		return t.HTTP(ctx)
	}
	return frontTLS(ctx, t, "http/1.1")
}

func nothingShown(c *carried) (conformance.Observation, bool) {
	if len(c.hello.Raw) == 0 {
		return conformance.Observation{Outcome: plainHTTP, Detail: "the connection to the target began with HTTP"}, false
	}
	var list []string
	if c.hello.HasSNI {
		list = append(list, fmt.Sprintf("SNI %q", c.hello.SNI))
	}
	if c.hello.ALPN != nil {
		list = append(list, fmt.Sprintf("ALPN %q", c.hello.ALPN))
	}
	if conn, ok := c.back.Unwrap().(*tls.Conn); ok {
		if certs := conn.ConnectionState().PeerCertificates; len(certs) > 0 {
			list = append(list, fmt.Sprintf("a certificate of %s", certs[0].Subject))
		}
	}
	if len(list) > 0 {
		return conformance.Observation{Outcome: shown, Detail: strings.Join(list, ", ")}, false
	}
	return conformance.Observation{}, true
}
