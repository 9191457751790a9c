package checks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of checks of load balancers.
const (
	gotH2      conformance.Outcome = "h2"
	noProtocol conformance.Outcome = "no-protocol" // the handshake completed without ALPN, and HTTP/1.1 works on it
	bothFields conformance.Outcome = "both-fields"
	stripped   conformance.Outcome = "upgrade-without-connection"
	dropped    conformance.Outcome = "upgrade-dropped"
	replaced   conformance.Outcome = "replaced"
	forged     conformance.Outcome = "forged"
)

func init() {
	balancer(conformance.Check{
		ID: "ALB-TLS-01", Slug: "alb-h2", Level: conformance.Should,
		Title: "A client that offers h2 gets h2",
		Why: "A client that offers h2 beside http/1.1 gets h2, and HTTP/2 has no Upgrade: its request for a tunnel fails behind every balancer " +
			"that has h2 on. A simulator without h2 hides that mistake.",
		Clauses: clauses(fact("ALB-TLS-01", "O", "AWS, Application Load Balancers: listeners", awsDocs+"application/load-balancer-listeners.html")),
		Accept:  pass("h2 is selected", gotH2), Run: overTLS(selectsH2),
		Forbid: map[conformance.Outcome]string{noProtocol: "h2 was offered and not taken", otherALPN: "another protocol was taken"},
	})
	balancer(conformance.Check{
		ID: "ALB-TLS-03", Slug: "alb-unknown-alpn", Level: conformance.Should,
		Title: "A list of unknown ALPN names is passed over: the handshake completes without a protocol",
		Why: "A client finds out that a balancer is in between by offering its own ALPN name and getting none back, on a connection that it can " +
			"then upgrade. A balancer that sends alert 120 in its place costs a connection; one that echoes the name leads the client to believe it met the router.",
		Clauses: clauses(fact("ALB-TLS-03", "O", "Teleport RFD 0123", "https://github.com/gravitational/teleport/blob/master/rfd/0123-tls-routing-behind-layer7-lb.md")),
		Accept:  pass("no protocol is selected, and HTTP/1.1 works on the connection", noProtocol), Run: overTLS(ignoresALPN),
		Forbid: map[conformance.Outcome]string{
			conformance.Alert(120): "the handshake was refused for want of a common protocol", otherALPN: "a protocol was answered that it cannot speak",
		},
	})
	balancer(conformance.Check{
		ID: "ALB-UPG-01", Slug: "alb-websocket", Level: conformance.Must,
		Title: "A websocket request reaches the target with Upgrade and Connection, and its 101 comes back with both",
		Why: "WebSocket is the one upgrade that AWS documents, and the one that crosses nearly every other proxy. Both fields have to arrive, for " +
			"a target that follows RFC 6455 refuses a request that lacks either.",
		Clauses: clauses(fact("ALB-UPG-01", "I", "AWS, Application Load Balancers: listeners, WebSockets", awsDocs+"application/load-balancer-listeners.html"), rfc(6455, "4.2.1")),
		Accept:  pass("both fields arrive, and both come back with the 101", bothFields), Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return crosses(ctx, t, wire.WebSocket)
		},
		Forbid: map[conformance.Outcome]string{stripped: "the target needs Connection as well", dropped: "the upgrade did not arrive", alone: "the upgrade was refused by the balancer"},
	})
	balancer(conformance.Check{
		ID: "ALB-UPG-02", Slug: "alb-custom-token", Level: conformance.Should,
		Title: "A custom token reaches the target with Upgrade and without Connection",
		Why: "This is what an AWS ALB is seen to do, undocumented, since 2019. It decides what a router behind it has to accept. A simulator that " +
			"keeps Connection lets a router pass that fails behind the real one.",
		Clauses: clauses(
			fact("ALB-UPG-02", "O", "xtdb/xtdb pull request 2949", "https://github.com/xtdb/xtdb/pull/2949"),
			fact("ALB-UPG-02", "O", "lstoll/grpce pull request 19", "https://github.com/lstoll/grpce/pull/19")),
		Accept: pass("Upgrade arrives alone, and both fields come back with the 101", stripped), Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return crosses(ctx, t, wire.ALPN)
		},
		Forbid: map[conformance.Outcome]string{bothFields: "Connection was kept: kinder than the real one", dropped: "the upgrade did not arrive", alone: "the upgrade was refused by the balancer"},
	})
	balancer(conformance.Check{
		ID: "ALB-UPG-06", Slug: "alb-opaque", Level: conformance.Must,
		Title: "After the 101 bytes are opaque both ways: an inner TLS session with its own SNI, ALPN and client certificate",
		Why: "The point of the detour is that the inner handshake arrives as it was sent. A balancer that still looks for HTTP in the tunnel, or " +
			"cannot take a zero byte or a large write, breaks it at places that depend on the data.",
		Clauses: clauses(fact("ALB-UPG-06, ALB-UPG-07", "D", "AWS, Application Load Balancers: listeners, WebSockets", awsDocs+"application/load-balancer-listeners.html")),
		Accept:  pass("both ends read what the other wrote, and each saw the certificate of the other", conformance.Intact), Run: opaque,
		Forbid: map[conformance.Outcome]string{conformance.Corrupted: "bytes were changed in the tunnel", conformance.Truncated: "the tunnel ended early", alone: "the upgrade was refused by the balancer", dropped: "the upgrade did not arrive"},
	})
	balancer(conformance.Check{
		ID: "ALB-HDR-04", Slug: "alb-forwarded-proto", Level: conformance.Should,
		Title: "X-Forwarded-Proto and -Port are the balancer's own; forged ones are replaced",
		Why: "Targets decide by X-Forwarded-Proto whether to redirect to HTTPS or to mark cookies as secure. A value that the client wrote must not " +
			"survive next to the balancer's.",
		Clauses: clauses(fact("ALB-HDR-04", "O", "kubernetes-sigs/aws-load-balancer-controller issue 1852", "https://github.com/kubernetes-sigs/aws-load-balancer-controller/issues/1852"),
			fact("ALB-HDR-04", "O", "AWS, HTTP headers and Application Load Balancers", awsDocs+"application/x-forwarded-headers.html")),
		Accept: pass("one value of each, the balancer's own", replaced), Run: forwardedProto,
		Forbid: map[conformance.Outcome]string{forged: "a value of the client's own reached the target"},
	})
}

func selectsH2(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	conn, err := frontTLS(ctx, t, "h2")
	if err != nil {
		return handshakeSeen(t, err)
	}
	defer conn.Close()
	switch proto := conn.ConnectionState().NegotiatedProtocol; proto {
	case "h2":
		return conformance.Observation{Outcome: gotH2, Detail: "h2 selected"}, nil
	case "":
		return conformance.Observation{Outcome: noProtocol, Detail: "no protocol selected"}, nil
	default:
		return conformance.Observation{Outcome: otherALPN, Detail: proto}, nil
	}
}

// handshakeSeen is what a failed handshake with the listener means, unless it never came to one.
func handshakeSeen(t *conformance.T, err error) (conformance.Observation, error) {
	if _, harness := errors.AsType[*harnessError](err); harness {
		return conformance.Observation{}, err
	}
	return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
}

func ignoresALPN(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	for _, offer := range [][]string{{"trb-nobody-speaks-this"}, {"teleport-postgres", "postgresql", "tlsroute-probe/1"}} {
		conn, err := frontTLS(ctx, t, offer...)
		if err != nil {
			return handshakeSeen(t, err)
		}
		if proto := conn.ConnectionState().NegotiatedProtocol; proto != "" {
			return conformance.Observation{Outcome: otherALPN, Detail: fmt.Sprintf("offered %q, got %q", offer, proto)}, nil
		}
		if err := serves(ctx, t, conn); err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("offered %q, handshake done, but no HTTP/1.1 on it: %v", offer, err)}, nil
		}
	}
	return conformance.Observation{Outcome: noProtocol, Detail: "two lists; an HTTP/1.1 request was carried on either connection"}, nil
}

func crosses(ctx context.Context, t *conformance.T, typ string) (conformance.Observation, error) {
	c, err := through101(ctx, t, typ)
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	o := conformance.Observation{Outcome: bothFields, Detail: strings.Join(c.req.Lines, " | ")}
	if !wire.HasToken(c.req.Header, "Connection", "upgrade") {
		o.Outcome = stripped
	}
	if !wire.HasToken(c.resp.Header, "Connection", "upgrade") || !wire.HasToken(c.resp.Header, "Upgrade", typ) {
		return conformance.Observation{Outcome: dropped, Detail: "the 101 came back as " + strings.Join(c.resp.Lines, " | ")}, nil
	}
	return o, nil
}

// opaque runs an inner TLS session between the two ends for a custom token and for websocket, without frames: behind a 101 the
// balancer has no business with what the bytes mean.
func opaque(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	mine, err := selfSigned()
	if err != nil {
		return conformance.Observation{}, err
	}
	theirs, _, err := serverIdentity(t.Name("inner"))
	if err != nil {
		return conformance.Observation{}, err
	}
	for _, typ := range []string{wire.WebSocket, wire.ALPN} {
		c, err := through101(ctx, t, typ)
		if err != nil {
			return unlessAlone(err)
		}
		o := exchangeBytes(t, c.client, c.target, zeros(t))
		if o.Outcome == conformance.Intact {
			o = innerSession(ctx, t, c, mine, theirs)
		} else {
			o.Detail = "raw bytes: " + o.Detail
		}
		c.close()
		if o.Outcome != conformance.Intact {
			o.Detail = typ + ": " + o.Detail
			return o, nil
		}
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: "inner SNI, ALPN, both certificates and 512 KiB each way, for websocket and alpn"}, nil
}

// zeros are many, and then as many bytes of all kinds.
func zeros(t *conformance.T) []byte {
	return append(make([]byte, 128<<10), patterned(t.Nonce, 128<<10)...)
}

func innerSession(ctx context.Context, t *conformance.T, c *tunnelled, mine, theirs *tls.Certificate) conformance.Observation {
	type end struct {
		conn  *tls.Conn
		hello wire.Hello
		err   error
	}
	target := make(chan end, 1)
	go func() {
		conn, hello, err := t.ServeTLS(ctx, c.target, &tls.Config{
			Certificates: []tls.Certificate{*theirs}, NextProtos: []string{"trb-inner"}, ClientAuth: tls.RequireAnyClientCert,
		})
		target <- end{conn, hello, err}
	}()
	cfg := &tls.Config{ServerName: t.Name("inner"), NextProtos: []string{"trb-inner"}, InsecureSkipVerify: true} //nolint:gosec // compared below, byte by byte
	conformance.Present(cfg, mine)
	client, err := t.TLS(ctx, c.client, cfg)
	if err != nil {
		c.close() // lets the other end go
	}
	there := <-target
	if err = errors.Join(err, there.err); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "the inner handshake: " + err.Error()}
	}
	o := exchangeBytes(t, client, there.conn, zeros(t))
	if o.Outcome != conformance.Intact {
		return o
	}
	here, far := client.ConnectionState(), there.conn.ConnectionState()
	switch {
	case there.hello.SNI != t.Name("inner"), len(there.hello.ALPN) != 1 || there.hello.ALPN[0] != "trb-inner", here.NegotiatedProtocol != "trb-inner":
		return conformance.Observation{Outcome: conformance.Corrupted, Detail: fmt.Sprintf("the target saw SNI %q and ALPN %q", there.hello.SNI, there.hello.ALPN)}
	case len(far.PeerCertificates) != 1 || !bytes.Equal(far.PeerCertificates[0].Raw, mine.Certificate[0]),
		len(here.PeerCertificates) != 1 || !bytes.Equal(here.PeerCertificates[0].Raw, theirs.Certificate[0]):
		return conformance.Observation{Outcome: conformance.Corrupted, Detail: "an end saw another certificate than the one that was sent"}
	}
	return o
}

func forwardedProto(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	scheme := "http"
	if t.Path.Upgrade.TLS {
		scheme = "https"
	}
	c, err := carry(ctx, t, front, get(t, "X-Forwarded-Proto: gopher", "X-Forwarded-Port: 1"))
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	_, _, _ = c.answer(t, servedByTarget) // the request has been seen
	proto, port := c.req.Header.Values("X-Forwarded-Proto"), c.req.Header.Values("X-Forwarded-Port")
	o := conformance.Observation{Outcome: replaced, Detail: fmt.Sprintf("X-Forwarded-Proto %q, X-Forwarded-Port %q", proto, port)}
	if len(proto) != 1 || proto[0] != scheme || len(port) != 1 || port[0] == "1" {
		o.Outcome = forged
	}
	return o, nil
}
