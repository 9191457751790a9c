package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-30", Slug: "misdirected", Tags: []string{conformance.Counts}, Level: conformance.Should, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A request for a host with a stricter policy is refused on a connection that was opened under another name",
		Why: "Client authentication happens in the handshake, by the name in it; the request names its host anew. A router that looks at the first " +
			"for the certificate and at the second for the backend has no client authentication (GHSA-5r4w-85f3-pw66).",
		Clauses: clauses(rfc(9110, "15.5.20"), rfc(9110, "7.4")), Transports: everywhere, Features: []string{"terminate", "mtls", "http-routes"},
		Accept: slices.Concat(pass("421 (Misdirected Request), or 403", conformance.HTTPStatus(421), conformance.HTTPStatus(403)),
			tolerate("refused by another status", conformance.HTTPStatus(400), conformance.HTTPStatus(404)),
			tolerate("ended without an answer", conformance.FIN, conformance.RST)),
		Forbid: map[conformance.Outcome]string{
			conformance.Dialled: "the backend of the host was reached without the certificate that its route asks for",
			conformance.Timeout: "held in place of refused", conformance.HTTPStatus(200): "served", conformance.HTTPStatus(502): "a backend was tried",
		},
		Control: fronted, Run: misdirected,
	})
}

// fronted is the positive control: with the host that belongs to the name, the request reaches that name's backend.
func fronted(ctx context.Context, t *conformance.T) error {
	w, ok := t.Target.Witnesses[witnessOf(t, "web")]
	if !ok {
		return fmt.Errorf("the target has no witness behind route web")
	}
	before := w.Accepted()
	conn, err := t.Open(ctx, "web")
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := bounded(t, conn, []byte("GET / HTTP/1.1\r\nHost: "+t.Name("a")+"\r\n\r\n")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Wait())
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for w.Accepted() == before {
		select {
		case <-ctx.Done():
			return fmt.Errorf("a request for the name of the connection did not reach its backend: %w", ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

func misdirected(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	before := t.Accepted()
	other := t.Name("mtls")
	var seen []conformance.Observation
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: " + other,
		"GET / HTTP/1.1\r\nHost: " + strings.ToUpper(other),
		"GET / HTTP/1.1\r\nHost: " + other + ":443",
		"GET / HTTP/1.1\r\nHost: " + other + ".",
		"GET https://" + other + "/ HTTP/1.1\r\nHost: " + other, // absolute-form: RFC 9112 section 3.2.2
		"GET https://" + other + "/ HTTP/1.1\r\nHost: " + t.Name("a"),
	} {
		conn, err := t.Open(ctx, "web")
		if err != nil {
			return conformance.Observation{}, err
		}
		o := conformance.Observation{}
		if err = bounded(t, conn, []byte(head+"\r\nConnection: close\r\n\r\n")); err == nil {
			var resp *wire.Response
			if resp, _, err = wire.ReadResponse(conn); err == nil {
				o.Outcome = conformance.HTTPStatus(resp.Status)
			}
		}
		if err != nil {
			o = conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
		}
		line, host, _ := strings.Cut(head, "\r\n")
		o.Detail = strings.TrimSpace(fmt.Sprintf("%s, %s: %s", line, host, o.Detail))
		seen = append(seen, o)
		_ = conn.Close()
		if o.Outcome == conformance.Timeout {
			break // one is enough to wait for
		}
	}
	return undialled(ctx, t, before, worst(t, seen)), nil
}
