package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "MTL-07", Slug: "big-chain", Level: conformance.Should, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A client certificate chain as long as three of 8192 bits works, and so does coming back with its ticket",
		Why: "Companies have authorities below authorities, with long keys. Their chain fills several reads, and where the ticket holds it the next " +
			"ClientHello is as long: a router with a buffer of 4 KiB lets such clients in once and never again (traefik issue 12871).",
		Clauses: clauses(rfc(9846, "4.5.1"), rfc(9846, "5.1")), Transports: everywhere, Features: []string{"terminate", "mtls"},
		Accept:  pass(byWitness, conformance.Routed),
		Forbid:  map[conformance.Outcome]string{conformance.Timeout: "the rest of a long message was waited for, or lost", conformance.FIN: "the connection ended within a long message"},
		Control: opens("mtls"), Run: bigChain, Depends: []string{"MTL-01"},
	})
}

func bigChain(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	chain := t.Target.Fixture.ClientChain
	if chain == nil {
		return conformance.Observation{}, &conformance.NotRunError{Reason: "the fixture lacks a long client chain"}
	}
	var how []string
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		w := &wallet{}
		for _, visit := range []string{"first", "second"} {
			cfg, err := t.Config("mtls")
			if err != nil {
				return conformance.Observation{}, err
			}
			conformance.Present(cfg, chain)
			cfg.ClientSessionCache, cfg.MinVersion, cfg.MaxVersion = w, version, version
			stream, err := t.Stream(ctx)
			if err != nil {
				return conformance.Observation{}, err
			}
			conn, err := t.TLS(ctx, stream, cfg)
			o := conformance.Observation{Outcome: t.Outcome(err)}
			if err == nil {
				o, _ = t.Served(ctx, conn, witnessOf(t, "mtls"))
			} else if o.Detail = err.Error(); version == tls.VersionTLS12 && o.Outcome == conformance.Alert(70) {
				break // 1.2 is off
			}
			if o.Outcome != conformance.Routed {
				o.Detail = fmt.Sprintf("%s, %s visit: %s", tls.VersionName(version), visit, o.Detail)
				return o, nil
			}
			how = append(how, fmt.Sprintf("%s %s visit resumed %v", tls.VersionName(version), visit, conn.ConnectionState().DidResume))
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: strings.Join(how, ", ")}, nil
}
