package checks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Outcomes of the group STT.
const (
	tlsDeclined   conformance.Outcome = "declined"    // TLS was refused in the database's own protocol
	cancelled     conformance.Outcome = "passed-on"   // the backend got the CancelRequest
	swallowed     conformance.Outcome = "not-sent-on" // it did not
	alpnConfirmed conformance.Outcome = "confirmed"
	// refusedBefore is the end of a connection before a backend was dialled.
	refusedBefore conformance.Outcome = "refused-undialled"
)

const postgresALPN = "postgresql"

func postgresDocs(chapter, page string) result.Clause {
	return result.Clause{Doc: "PostgreSQL 17 documentation", Section: chapter, URL: "https://www.postgresql.org/docs/17/" + page}
}

var (
	messageFlow = postgresDocs("SSL Session Encryption", "protocol-flow.html#PROTOCOL-FLOW-SSL")
	gssFlow     = postgresDocs("GSSAPI Session Encryption", "protocol-flow.html#PROTOCOL-FLOW-GSSAPI")
	cancelFlow  = postgresDocs("Canceling Requests in Progress", "protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS")
)

// forPostgres is the fixture with a route for PostgreSQL clients: a takes their ALPN beside its own, b takes nothing else.
var forPostgres = &conformance.Setup{Name: "postgres", Change: func(_ conformance.Fixture, doc *door.Router) {
	for i := range doc.Routes {
		switch r := &doc.Routes[i]; r.Name {
		case "a":
			r.ALPN = append(slices.Clone(r.ALPN), postgresALPN)
		case "b":
			r.ALPN = []string{postgresALPN}
		}
	}
	doc.Plaintext = &door.Plaintext{Postgres: "a"}
}}

func init() {
	register := func(c conformance.Check) {
		c.Role, c.Transports, c.Setup, c.Control = conformance.Router, directOnly, forPostgres, opens("a")
		c.Features = append(c.Features, "terminate", "postgres")
		conformance.Register(c)
	}
	register(conformance.Check{
		ID: "STT-01", Slug: "pg-sslrequest", Level: conformance.Must, Origin: conformance.Vendor,
		Title: "An SSLRequest is answered, and the ClientHello behind it is routed by its name",
		Why: "libpq before version 17 asks for TLS in PostgreSQL's own protocol and sends the name only then. A router that waits for a " +
			"ClientHello times out, and every psql and JDBC client with it.",
		Clauses: clauses(messageFlow), Accept: pass(byWitness, conformance.Routed),
		Forbid: map[conformance.Outcome]string{tlsDeclined: "TLS was declined", conformance.Misrouted: "the name behind the SSLRequest was not looked at", conformance.Timeout: "the SSLRequest was not answered"},
		Run:    sslRequest,
	})
	register(conformance.Check{
		ID: "STT-02", Slug: "pg-gss", Level: conformance.Should, Origin: conformance.Vendor,
		Title: "A GSSENCRequest is declined, and the client goes on to TLS",
		Why: "libpq with GSSAPI built in asks for that first wherever it finds a ticket. A router that closes at the unknown request turns away " +
			"exactly the users who have logged in to their domain.",
		Clauses: clauses(gssFlow), Accept: pass(byWitness, conformance.Routed),
		Forbid: map[conformance.Outcome]string{conformance.FIN: "the connection was closed at the request", conformance.RST: "the connection was reset at the request", conformance.Timeout: "the request was not answered"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			conn, err := t.TCP(ctx)
			if err != nil {
				return conformance.Observation{}, err
			}
			if o, ok := asked(t, conn, wire.PostgresGSSRequest(), 'N'); !ok {
				return o, nil
			}
			return behindSSLRequest(ctx, t, conn, "a", postgresALPN), nil
		},
	})
	register(conformance.Check{
		ID: "STT-03", Slug: "pg-stuffing", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.Vendor,
		Title: "What is glued to an SSLRequest in the clear never counts as said under TLS",
		Why: "Somebody on the way can put bytes behind the request. A server that reads them from its buffer once TLS stands takes a stranger's " +
			"SQL for the client's.",
		Clauses: clauses(cve("CVE-2021-23214"), cve("CVE-2021-23222")),
		Accept:  pass("the connection ends, and no backend is dialled", refusedBefore),
		Forbid:  map[conformance.Outcome]string{served: "the connection went on with the stranger's bytes in it", conformance.Dialled: "a backend was dialled"},
		Run:     stuffed,
	})
	register(conformance.Check{
		ID: "STT-04", Slug: "pg-cancel", Level: conformance.Should, Origin: conformance.Vendor,
		Title: "A CancelRequest goes to the backend of the sessions that it is about",
		Why: "Ctrl-C in psql opens a new connection with nothing but this request in it, in the clear. Where it is dropped, a statement that " +
			"runs away cannot be stopped.",
		Clauses: clauses(cancelFlow), Accept: pass("the backend gets the request, byte by byte", cancelled),
		Forbid: map[conformance.Outcome]string{swallowed: "no backend got the request"}, Run: cancels,
	})
	register(conformance.Check{
		ID: "STT-05", Slug: "pg-direct", Level: conformance.Must, Origin: conformance.Vendor,
		Title: "TLS without an SSLRequest needs the ALPN postgresql",
		Why: "The ALPN is what keeps a browser's or an attacker's TLS session from being taken for a database client's (ALPACA). A server that " +
			"does not insist on it can be spoken to in another protocol.",
		Clauses: clauses(messageFlow), Accept: slices.Concat(
			pass("RFC 7301 section 3.2: no_application_protocol", conformance.Alert(120)),
			tolerate("the connection ends without an alert", conformance.FIN, conformance.RST)),
		Forbid: map[conformance.Outcome]string{served: "a session without the ALPN reached the database"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			cfg, err := t.Config("b", postgresALPN)
			if err != nil {
				return conformance.Observation{}, err
			}
			if o := reach(ctx, t, cfg, witnessOf(t, "b")); o.Outcome != conformance.Routed {
				return conformance.Observation{}, fmt.Errorf("with the ALPN: %s: %s", o.Outcome, o.Detail)
			}
			cfg.NextProtos = nil
			return reach(ctx, t, cfg, ""), nil
		},
	})
	register(conformance.Check{
		ID: "STT-06", Slug: "pg-direct-term", Level: conformance.Must, Origin: conformance.Policy,
		Title: "Where TLS ends here, the ALPN postgresql is the one confirmed",
		Why: "libpq 17 ends a connection whose server does not confirm the ALPN. A router that routes by it and confirms nothing, or answers " +
			"with alert 120, breaks every client that is told to connect directly.",
		Clauses: clauses(messageFlow, rfc(7301, "3.2")), Accept: pass("postgresql is confirmed and the right witness answers", alpnConfirmed),
		Forbid: map[conformance.Outcome]string{conformance.Alert(120): "the protocol is refused", unnamed: "nothing is confirmed", otherALPN: "another protocol is confirmed"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			conn, err := t.Open(ctx, "a", postgresALPN)
			if err != nil {
				return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
			}
			o, _ := t.Served(ctx, conn, witnessOf(t, "a"))
			if o.Outcome != conformance.Routed {
				return o, nil
			}
			switch got := conn.ConnectionState().NegotiatedProtocol; got {
			case postgresALPN:
				o.Outcome = alpnConfirmed
			case "":
				o.Outcome = unnamed
			default:
				o.Outcome, o.Detail = otherALPN, got
			}
			return o, nil
		},
	})
}

// asked sends a request and compares the one byte that answers it.
func asked(t *conformance.T, conn net.Conn, request []byte, want byte) (conformance.Observation, bool) {
	var answer [1]byte
	err := bounded(t, conn, request)
	if err == nil {
		_, err = io.ReadFull(conn, answer[:])
	}
	switch {
	case err != nil:
		return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("request %x: %v", request, err)}, false
	case answer[0] != want:
		return conformance.Observation{Outcome: tlsDeclined, Detail: fmt.Sprintf("request %x was answered %q, not %q", request, answer[0], want)}, false
	}
	return conformance.Observation{}, true
}

func behindSSLRequest(ctx context.Context, t *conformance.T, conn net.Conn, route string, alpn ...string) conformance.Observation {
	if o, ok := asked(t, conn, wire.PostgresSSLRequest(), 'S'); !ok {
		return o
	}
	cfg, err := t.Config(route, alpn...)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	if len(alpn) == 0 {
		cfg.NextProtos = nil
	}
	return reachOver(ctx, t, conn, cfg, witnessOf(t, route))
}

func sslRequest(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var seen []conformance.Observation
	for _, c := range []struct {
		route string
		alpn  []string
	}{{"a", []string{postgresALPN}}, {"b", []string{postgresALPN}}, {"a", nil}, {"b", nil}} {
		conn, err := t.TCP(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		o := behindSSLRequest(ctx, t, conn, c.route, c.alpn...)
		closeQuietly(conn)
		o.Detail = fmt.Sprintf("route %s, ALPN %q: %s", c.route, c.alpn, o.Detail)
		seen = append(seen, o)
	}
	return worst(t, seen), nil
}

func stuffed(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	conn, err := t.TCP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	before := t.Accepted()
	// In one write, as somebody on the way would have it.
	request := append(wire.PostgresSSLRequest(), wire.PostgresStartup("mallory")...)
	var answer [1]byte
	if err = bounded(t, conn, request); err == nil {
		_, err = io.ReadFull(conn, answer[:])
	}
	o := conformance.Observation{Outcome: t.Outcome(err), Detail: "the request was answered"}
	if err == nil {
		cfg, err := t.Config("a", postgresALPN)
		if err != nil {
			return o, err
		}
		o = reachOver(ctx, t, conn, cfg, "")
	}
	if isRefusal(o.Outcome) || o.Outcome == conformance.Truncated {
		o.Outcome = refusedBefore
	}
	return undialled(ctx, t, before, o), nil
}

func cancels(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	request := wire.PostgresCancelRequest(4711, uint32(time.Now().UnixNano()))
	sum := sha256.Sum256(request)
	want := hex.EncodeToString(sum[:])
	conn, err := t.TCP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	if err := bounded(t, conn, request); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	_, end := io.Copy(io.Discard, conn) // the end says that it was taken
	name := witnessOf(t, "a")
	for until := time.Now().Add(t.Wait()); time.Now().Before(until) && ctx.Err() == nil; pause(ctx, 10*time.Millisecond) {
		for _, rec := range t.Target.Witnesses[name].Find("") {
			if rec.Finished && rec.SHA256 == want {
				return conformance.Observation{Outcome: cancelled, Detail: fmt.Sprintf("witness %s got %d bytes; the client's connection: %v", name, rec.In, end)}, nil
			}
		}
	}
	return conformance.Observation{Outcome: swallowed, Detail: fmt.Sprintf("witness %s has no record of the request; the client's connection: %v", name, end)}, nil
}
