package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

func init() {
	open := map[conformance.Outcome]string{
		served:              "a route that demands a certificate was served without a good one",
		conformance.Dialled: "a backend was dialled before the client had proved who it is",
		conformance.Timeout: "held in place of refused",
	}
	unexplained := tolerate("ended without saying why", conformance.FIN, conformance.RST)
	conformance.Register(conformance.Check{
		ID: "MTL-01", Slug: "required", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "Without a certificate a route that requires one is refused, and its backend is not dialled",
		Why: "Client authentication at the router is often the only authentication there is. It must hold in every version of TLS, inside a " +
			"tunnel as well as outside, and the backend must not see as much as a TCP connection.",
		Clauses: clauses(rfc(9846, "6.2"), policy("section 5, client_auth")), Transports: everywhere, Features: []string{"terminate", "mtls"},
		Accept: slices.Concat(pass("certificate_required, or handshake_failure in TLS 1.2", conformance.Alert(116), conformance.Alert(40)),
			tolerate("refused by another alert", conformance.Alert(42)), unexplained),
		Forbid: open, Control: both(opens("mtls"), opens("mtls2")), Run: certRequired,
	})
	conformance.Register(conformance.Check{
		ID: "MTL-02", Slug: "per-route-ca", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "Each route trusts its own authority only",
		Why: "Two tenants behind one router have two authorities. A router that puts them into one pool lets either tenant's clients into the " +
			"other's service.",
		Clauses: clauses(rfc(9846, "6.2"), policy("section 5, client_auth")), Transports: everywhere, Features: []string{"terminate", "mtls"},
		Accept: slices.Concat(pass("a certificate alert", conformance.Alert(48), conformance.Alert(42), conformance.Alert(46)),
			tolerate("refused by another alert", conformance.Alert(49), conformance.Alert(40), conformance.Alert(116)), unexplained),
		Forbid: open, Control: both(opens("mtls"), opens("mtls2")), Run: perRouteCA, Depends: []string{"MTL-01"},
	})
	conformance.Register(conformance.Check{
		ID: "MTL-03", Slug: "bad-certs", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "An expired certificate and one of no known authority are refused",
		Why: "A leaked certificate is harmless after its last day only where that day is looked at, and anybody can make a certificate for " +
			"themselves. A router that asks for one and looks at neither lets in whoever has any.",
		Clauses: clauses(rfc(9846, "6.2")), Transports: everywhere, Features: []string{"terminate", "mtls"},
		Accept: slices.Concat(pass("a certificate alert", conformance.Alert(45), conformance.Alert(48), conformance.Alert(42), conformance.Alert(46)),
			tolerate("refused by another alert", conformance.Alert(49), conformance.Alert(40)), unexplained),
		Forbid: open, Control: opens("mtls"), Run: badCerts, Depends: []string{"MTL-01"},
	})
	conformance.Register(conformance.Check{
		ID: "MTL-05", Slug: "pass", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "On a passed-through route the backend sees the client's certificate",
		Why: "Passthrough is chosen so that client and backend authenticate each other. Whatever ends TLS in between takes that away without " +
			"either side being told.",
		Clauses: clauses(rfc(9846, "9.3")), Transports: everywhere, Features: []string{"passthrough", "mtls"},
		Accept:  pass("the witness's record has the client's certificate", conformance.Intact),
		Forbid:  map[conformance.Outcome]string{unverified: "the certificate did not reach the backend", conformance.Corrupted: "the backend saw another certificate"},
		Control: opens("pass"), Run: certPasses,
	})
}

func certRequired(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	before := t.Accepted()
	var seen []conformance.Observation
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, route := range []string{"mtls", "mtls2"} {
			cfg, err := certless(t, route)
			if err != nil {
				return conformance.Observation{}, err
			}
			cfg.MinVersion, cfg.MaxVersion = version, version
			o := reach(ctx, t, cfg, "")
			o.Detail = fmt.Sprintf("route %s, %s: %s", route, tls.VersionName(version), o.Detail)
			if version == tls.VersionTLS12 && o.Outcome == conformance.Alert(70) {
				t.Logf("%s", o.Detail) // TLS 1.2 is off: nothing is served that way
				continue
			}
			seen = append(seen, o)
		}
	}
	return undialled(ctx, t, before, worst(t, seen)), nil
}

// presents tries certificates that must be refused and reports the worst answer.
func presents(ctx context.Context, t *conformance.T, list ...presented) (conformance.Observation, error) {
	before := t.Accepted()
	var seen []conformance.Observation
	for _, p := range list {
		if p.cert == nil {
			return conformance.Observation{}, &conformance.NotRunError{Reason: "the fixture lacks " + p.name}
		}
		cfg, err := t.Config(p.route)
		if err != nil {
			return conformance.Observation{}, err
		}
		conformance.Present(cfg, p.cert)
		o := reach(ctx, t, cfg, "")
		o.Detail = fmt.Sprintf("%s at route %s: %s", p.name, p.route, o.Detail)
		seen = append(seen, o)
	}
	return undialled(ctx, t, before, worst(t, seen)), nil
}

type presented struct {
	name, route string
	cert        *tls.Certificate
}

func perRouteCA(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	f := t.Target.Fixture
	return presents(ctx, t,
		presented{"a certificate of CA A", "mtls2", f.ClientA}, presented{"a certificate of CA B", "mtls", f.ClientB})
}

func badCerts(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	self, err := selfSigned()
	if err != nil {
		return conformance.Observation{}, err
	}
	return presents(ctx, t,
		presented{"an expired certificate", "mtls", t.Target.Fixture.Expired}, presented{"a self-signed certificate", "mtls", self})
}

func certPasses(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	cert := t.Target.Fixture.ClientA
	if cert == nil {
		return conformance.Observation{}, &conformance.NotRunError{Reason: "the fixture lacks a client certificate"}
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return conformance.Observation{}, fmt.Errorf("reading the client certificate: %w", err)
	}
	cfg, err := t.Config("pass", "trb-pass")
	if err != nil {
		return conformance.Observation{}, err
	}
	conformance.Present(cfg, cert)
	stream, err := t.Stream(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	conn, err := t.TLS(ctx, stream, cfg)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	o, rec := t.Served(ctx, conn, witnessOf(t, "pass"))
	switch {
	case o.Outcome != conformance.Routed:
		return o, nil
	case rec.TLS == nil || rec.TLS.ClientCert == "":
		return conformance.Observation{Outcome: unverified, Detail: fmt.Sprintf("the witness's TLS record: %+v", rec.TLS)}, nil
	case rec.TLS.ClientCert != leaf.Subject.String() && rec.TLS.ClientCert != leaf.Subject.CommonName:
		return conformance.Observation{Outcome: conformance.Corrupted, Detail: fmt.Sprintf("the witness saw %q, not %q", rec.TLS.ClientCert, leaf.Subject)}, nil
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: "the witness saw " + rec.TLS.ClientCert}, nil
}
