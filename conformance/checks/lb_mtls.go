package checks

import (
	"context"
	"crypto/tls"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

// Outcomes of checks of client certificates at a listener without mutual TLS.
const (
	notAsked  conformance.Outcome = "not-asked"
	certAsked conformance.Outcome = "certificate-asked-for"
	absent    conformance.Outcome = "absent"
)

func init() {
	balancer(conformance.Check{
		ID: "ALB-MTLS-01", Slug: "alb-mtls-off", Level: conformance.Must,
		Title: "A listener without mutual TLS asks for no client certificate",
		Why: "A browser that is asked for a certificate shows a dialogue to its user, and a client that has one shows it to whoever asks. The client " +
			"certificate of a tunnel is the inner handshake's business and must not be asked for outside.",
		Clauses: clauses(fact("ALB-MTLS-01", "D", "AWS, Application Load Balancers: mutual authentication with TLS", awsDocs+"application/mutual-authentication.html")),
		Accept:  pass("no CertificateRequest in TLS 1.2 and 1.3", notAsked), Run: overTLS(asksForNone),
		Forbid: map[conformance.Outcome]string{certAsked: "a CertificateRequest came"},
	})
	balancer(conformance.Check{
		ID: "ALB-MTLS-09", Slug: "alb-mtls-forged", Level: conformance.Info,
		Title: "X-Amzn-Mtls-* that a client wrote itself does not reach the target",
		Why: "A target that knows its clients by these fields believes whoever can write them. What an ALB does with those of a client on a listener " +
			"without mutual TLS is not documented: a target must not trust them unless it knows.",
		Clauses: clauses(fact("ALB-MTLS-09", "A", "AWS, Application Load Balancers: mutual authentication with TLS", awsDocs+"application/mutual-authentication.html")),
		Accept:  pass("the fields are gone", absent), Run: forgedCertificate,
		Forbid: map[conformance.Outcome]string{forged: "the client's own fields reached the target"},
	})
}

func asksForNone(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	up := t.Path.Upgrade
	var done []string
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, err := t.TCP(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		requested := false
		conn, err := t.TLS(ctx, c, &tls.Config{
			ServerName: up.ServerName, RootCAs: up.Roots, MinVersion: version, MaxVersion: version,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				requested = true
				return &tls.Certificate{}, nil
			},
		})
		switch name := tls.VersionName(version); {
		case requested:
			return saw(certAsked, "%s: a CertificateRequest came", name), nil
		case err != nil && t.Outcome(err) == conformance.Alert(70):
			done = append(done, "no "+name)
		case err != nil:
			return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
		default:
			_ = conn.Close()
			done = append(done, name)
		}
	}
	return saw(notAsked, "%s", strings.Join(done, ", ")), nil
}

func forgedCertificate(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	names := []string{"X-Amzn-Mtls-Clientcert", "X-Amzn-Mtls-Clientcert-Subject", "X-Amzn-Mtls-Clientcert-Leaf"}
	lines := []string{"Accept: */*"}
	for _, name := range names {
		lines = append(lines, name+": CN=forged")
	}
	req, err := reaches(ctx, t, get(t, lines...))
	if err != nil {
		return unlessAlone(err)
	}
	got := slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(req.Header.Values(name), "CN=forged") })
	if len(got) > 0 {
		return saw(forged, "the target got the client's own %s", strings.Join(got, ", ")), nil
	}
	return saw(absent, "none of three reached the target"), nil
}
