package checks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of checks of a listener's TLS.
const (
	oneDotOne   conformance.Outcome = "http/1.1"
	oneDotZero  conformance.Outcome = "http/1.0"
	defaultCert conformance.Outcome = "default-certificate"
	otherCert   conformance.Outcome = "other-certificate"
)

const (
	listenersPage = awsDocs + "application/load-balancer-listeners.html"
	httpsPage     = awsDocs + "application/create-https-listener.html"
)

func init() {
	const listeners, https = "AWS, Application Load Balancers: listeners", "AWS, Application Load Balancers: HTTPS listeners"
	balancer(conformance.Check{
		ID: "ALB-TLS-02", Slug: "alb-h2-order", Level: conformance.Info,
		Title: "A client that offers h2 and http/1.1, in either order, gets h2",
		Why: "A client that would rather have HTTP/1.1, because it means to upgrade, says so by putting it first. Behind a balancer that goes by " +
			"its own order this does not help: the client must not offer h2 at all.",
		Clauses: clauses(fact("ALB-TLS-02", "I", listeners, listenersPage), rfc(7301, "3.2")),
		Accept:  pass("h2 is selected, whatever the order", gotH2),
		Run: overTLS(func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return selects(ctx, t, "h2", []string{"h2", "http/1.1"}, []string{"http/1.1", "h2"})
		}),
		Forbid: map[conformance.Outcome]string{noProtocol: "both were offered and none was taken", otherALPN: "the client's order, or another protocol, was taken"},
	})
	balancer(conformance.Check{
		ID: "ALB-TLS-04", Slug: "alb-alpn-known-beside-unknown", Level: conformance.Should,
		Title: "An unknown ALPN name beside h2 does not keep h2 from being chosen",
		Why: "A client may offer its own protocol and HTTP in one list, to save the second connection. It has to know that a balancer takes the " +
			"HTTP, and takes h2 where that is among them; what a list with http/1.1 gets is only recorded.",
		Clauses: clauses(fact("ALB-TLS-04", "O", listeners, listenersPage), rfc(7301, "3.2")),
		Accept:  pass("h2 is selected", gotH2), Run: overTLS(knownBesideUnknown),
		Forbid: map[conformance.Outcome]string{noProtocol: "h2 was offered and not taken", otherALPN: "another protocol was taken", conformance.Alert(120): "the handshake was refused for an unknown name"},
	})
	balancer(conformance.Check{
		ID: "ALB-TLS-05", Slug: "alb-no-alpn", Level: conformance.Should,
		Title: "A client without ALPN speaks HTTP/1.1",
		Why: "A client that wants an upgrade leaves ALPN out, so as not to be given h2. An answer in HTTP/1.0, as from a simple TLS terminator, " +
			"cannot be a 101, and closes the connection behind every request.",
		Clauses: clauses(fact("ALB-TLS-05", "O", listeners, listenersPage)),
		Accept:  pass("the answer is HTTP/1.1, and no protocol was selected", oneDotOne), Run: overTLS(withoutALPN),
		Forbid: map[conformance.Outcome]string{oneDotZero: "an answer of HTTP/1.0"},
	})
	balancer(conformance.Check{
		ID: "ALB-TLS-06", Slug: "alb-h2-preface", Level: conformance.Should,
		Title: "An HTTP/2 preface where h2 was not agreed on gets 400 in HTTP/1.1",
		Why: "A client with prior knowledge of HTTP/2 sends its preface whatever ALPN says. The answer in HTTP/1.1 is what its log shows as a " +
			"protocol error, and tells that TLS was ended by a balancer that did not negotiate h2.",
		Clauses: clauses(fact("ALB-TLS-06", "O", "grpc/grpc-node issue 2093", "https://github.com/grpc/grpc-node/issues/2093")),
		Accept:  pass("400 in HTTP/1.1", conformance.HTTPStatus(400)), Run: overTLS(prefaceAlone),
		Forbid: map[conformance.Outcome]string{gotH2: "HTTP/2 was spoken though it was not agreed on", passedOn: "the preface was taken for a request"},
	})
	balancer(conformance.Check{
		ID: "ALB-TLS-08", Slug: "alb-no-sni", Level: conformance.Must,
		Title: "A client without SNI gets the default certificate and is served",
		Why: "Old clients and health checkers send no name, and a router that probes a balancer by address does not either. A refusal at this point " +
			"looks to them like a balancer that is down.",
		Clauses: clauses(fact("ALB-TLS-08", "D", https, httpsPage)),
		Accept:  pass("the handshake completes with a certificate, and a request is carried", defaultCert), Run: overTLS(withoutName),
		Forbid: map[conformance.Outcome]string{conformance.Alert(112): "refused as an unrecognized name", conformance.Alert(80): "refused with an internal error"},
	})
	balancer(conformance.Check{
		ID: "ALB-TLS-09", Slug: "alb-unmatched-sni", Level: conformance.Must,
		Title: "A client whose SNI no certificate covers gets the default certificate, and no alert",
		Why: "A client that tunnels to a router behind the balancer may put the router's name into the outer handshake. The balancer completes it " +
			"with a certificate for another name; it is the client that has to notice.",
		Clauses: clauses(fact("ALB-TLS-09", "D", https, httpsPage)),
		Accept:  pass("the certificate is the one that a client without SNI gets", defaultCert), Run: overTLS(otherName),
		Forbid: map[conformance.Outcome]string{otherCert: "a certificate that is not the default", conformance.Alert(112): "refused as an unrecognized name"},
	})
	balancer(conformance.Check{
		ID: "ALB-TLS-15", Slug: "alb-suite-order", Level: conformance.Info,
		Title: "The order of the listener's policy decides about the TLS 1.2 suite, not the client's",
		Why: "Who reads a policy of AWS takes the first suite of it that a client has for the one in use. With a balancer that goes by the client's " +
			"order that is not what an audit finds.",
		Clauses: clauses(fact("ALB-TLS-15", "A", https, httpsPage)),
		Accept:  pass("the same suite, whatever the client's order", serverOrder), Run: overTLS(suiteOrder),
		Forbid: map[conformance.Outcome]string{clientOrder: "the suite follows the client's order"},
	})
}

// selects offers each list in turn and says h2 when that is what all of them got.
func selects(ctx context.Context, t *conformance.T, want string, offers ...[]string) (conformance.Observation, error) {
	for _, offer := range offers {
		conn, err := frontTLS(ctx, t, offer...)
		if err != nil {
			return handshakeSeen(t, err)
		}
		_ = conn.Close()
		switch proto := conn.ConnectionState().NegotiatedProtocol; proto {
		case want:
		case "":
			return saw(noProtocol, "offered %q, no protocol selected", offer), nil
		default:
			return saw(otherALPN, "offered %q, got %q", offer, proto), nil
		}
	}
	return saw(gotH2, "offered %q", offers), nil
}

func knownBesideUnknown(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	o, err := selects(ctx, t, "h2", []string{"trb-nobody-speaks-this", "h2"})
	if err != nil || o.Outcome != gotH2 {
		return o, err
	}
	beside := []string{"trb-nobody-speaks-this", "http/1.1"}
	conn, err := frontTLS(ctx, t, beside...)
	if err != nil {
		o.Detail += fmt.Sprintf("; for the record: %q got %v", beside, err)
		return o, nil
	}
	defer conn.Close()
	o.Detail += fmt.Sprintf("; for the record: %q got %q", beside, conn.ConnectionState().NegotiatedProtocol)
	return o, nil
}

func withoutALPN(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	front, err := frontTLS(ctx, t)
	if err != nil {
		return handshakeSeen(t, err)
	}
	defer front.Close()
	o, resp, _ := decides(ctx, t, front, get(t))
	switch {
	case o.Outcome != passedOn:
		return o, nil
	case resp.Proto != "HTTP/1.1":
		return saw(oneDotZero, "the answer is %s %d", resp.Proto, resp.Status), nil
	}
	return saw(oneDotOne, "%s %d", resp.Proto, resp.Status), nil
}

// preface is an HTTP/2 client's first flight: the preface and empty settings (RFC 9113 sections 3.4 and 6.5).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

func prefaceAlone(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	front, err := frontTLS(ctx, t)
	if err != nil {
		return handshakeSeen(t, err)
	}
	defer front.Close()
	if err := bounded(t, front, []byte(preface)); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	first := make([]byte, 9) // a frame's head, or the version and the blank behind it
	n, err := front.Read(first)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	if !strings.HasPrefix("HTTP/1.1 ", string(first[:n])) && !bytes.HasPrefix(first[:n], []byte("HTTP/1.")) {
		return saw(gotH2, "the answer begins with % x", first[:n]), nil
	}
	resp, _, err := wire.ReadResponse(wire.WithPrefix(front, first[:n]))
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	return saw(conformance.HTTPStatus(resp.Status), "%s %d, Server %q", resp.Proto, resp.Status, resp.Header.Get("Server")), nil
}

// leafFor is the certificate that a client with this server name is shown, and the connection that showed it.
func leafFor(ctx context.Context, t *conformance.T, name string) ([]byte, *tls.Conn, error) {
	c, err := t.TCP(ctx)
	if err != nil {
		return nil, nil, &harnessError{err}
	}
	conn, err := t.TLS(ctx, c, &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}) //nolint:gosec // it is what is asked about
	if err != nil {
		return nil, nil, err
	}
	return conn.ConnectionState().PeerCertificates[0].Raw, conn, nil
}

func withoutName(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	leaf, conn, err := leafFor(ctx, t, "")
	if err != nil {
		return handshakeSeen(t, err)
	}
	if err := serves(ctx, t, conn); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "the handshake is done, but no request was carried: " + err.Error()}, nil
	}
	return saw(defaultCert, "a certificate of %d bytes, and a request was carried", len(leaf)), nil
}

func otherName(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	plain, first, err := leafFor(ctx, t, "")
	if err != nil {
		return conformance.Observation{}, fmt.Errorf("without SNI: %w", err)
	}
	_ = first.Close()
	name := t.Name("no-certificate-has-this")
	leaf, conn, err := leafFor(ctx, t, name)
	if err != nil {
		return handshakeSeen(t, err)
	}
	_ = conn.Close()
	if !bytes.Equal(leaf, plain) {
		return saw(otherCert, "SNI %s got another certificate than no SNI", name), nil
	}
	return saw(defaultCert, "SNI %s and no SNI got the same certificate", name), nil
}

// suiteOrder offers the four ECDHE suites with AES-GCM in two orders, without supported_versions: TLS 1.2.
func suiteOrder(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	order := []uint16{0xc02b, 0xc02f, 0xc02c, 0xc030} // with ECDSA and RSA by turns, AES-128 first
	var chosen []uint16
	for range 2 {
		stream, err := t.TCP(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		hello := wire.NewHello(wire.HelloOptions{SNI: t.Path.Upgrade.ServerName, Suites: order, Override: []wire.Extension{{Type: wire.ExtSupportedVersions}}})
		if err := bounded(t, stream, slices.Concat(wire.Records(hello)...)); err != nil {
			return conformance.Observation{}, err
		}
		rec, err := wire.ReadAnswer(stream)
		if err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
		}
		suite, err := serverHelloSuite(rec.Fragment)
		if err != nil {
			return conformance.Observation{}, err
		}
		chosen = append(chosen, suite)
		slices.Reverse(order)
	}
	if chosen[0] != chosen[1] {
		return saw(clientOrder, "%s, and with the order reversed %s", tls.CipherSuiteName(chosen[0]), tls.CipherSuiteName(chosen[1])), nil
	}
	return saw(serverOrder, "%s both times", tls.CipherSuiteName(chosen[0])), nil
}

// serverHelloSuite finds the suite in a ServerHello message (RFC 5246 section 7.4.1.3).
func serverHelloSuite(msg []byte) (uint16, error) {
	const id = 4 + 2 + 32 // header, version, random
	if len(msg) <= id || msg[0] != 2 || len(msg) < id+1+int(msg[id])+2 {
		return 0, errors.New("the answer is no ServerHello")
	}
	at := id + 1 + int(msg[id])
	return uint16(msg[at])<<8 | uint16(msg[at+1]), nil
}
