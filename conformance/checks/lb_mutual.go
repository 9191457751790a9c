package checks

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of checks of a listener with mutual TLS.
const (
	tlsRefused  conformance.Outcome = "tls-refused"
	notResumed  conformance.Outcome = "not-resumed"
	resumed     conformance.Outcome = "resumed"
	wrongFields conformance.Outcome = "other-fields"
	wrongValue  conformance.Outcome = "other-value"
)

func init() {
	const mutual, page = "AWS, Application Load Balancers: mutual authentication with TLS", awsDocs + "application/mutual-authentication.html"
	needs := []string{door.FeatureMutual}
	variant(conformance.Check{
		ID: "ALB-MTLS-02", Slug: "alb-mtls-passthrough", Level: conformance.Must, Features: needs,
		Title: "In mode passthrough any certificate is taken, and the target gets its PEM, with + = and / left as they are",
		Why: "The target verifies in this mode, and cannot if the balancer has refused for it. Decoders for queries make a blank of +, which breaks " +
			"the certificate: the target has to use one for paths, and can only be tested against what does not encode +.",
		Clauses: clauses(fact("ALB-MTLS-02", "D", mutual, page)),
		Accept:  pass("a self-signed certificate that has expired arrives, and nothing is said beside it", vouched),
		Run:     overTLS(altered(mutualMode("passthrough", ""), passesCertificate)),
		Forbid:  map[conformance.Outcome]string{tlsRefused: "the certificate was refused", unnoted: "the target was not told of it", wrongFields: "the fields are those of another mode", wrongValue: "the value is not the certificate, or is encoded otherwise"},
	})
	variant(conformance.Check{
		ID: "ALB-MTLS-03", Slug: "alb-mtls-passthrough-none", Level: conformance.Info, Features: needs,
		Title: "In mode passthrough a client without a certificate is served, and the target gets no field about one",
		Why: "A target that takes an empty field for a certificate of nobody, or a missing one for a balancer without mutual TLS, lets in whom it " +
			"should not. What an ALB does is inferred from the mode's name.",
		Clauses: clauses(fact("ALB-MTLS-03", "I", mutual, page)),
		Accept:  pass("the request arrives without the fields", absent), Run: overTLS(altered(mutualMode("passthrough", ""), passesNone)),
		Forbid: map[conformance.Outcome]string{tlsRefused: "a client without a certificate was refused", wrongFields: "there is a field about a certificate"},
	})
	variant(conformance.Check{
		ID: "ALB-MTLS-04", Slug: "alb-mtls-verify", Level: conformance.Must, Features: needs,
		Title: "In mode verify the target gets serial number, issuer, subject, validity and the leaf, and nothing else",
		Why: "The target need not read certificates in this mode: it takes the subject from a field. A spelling of its own sends it to the wrong " +
			"account or to none.",
		Clauses: clauses(fact("ALB-MTLS-04", "D", mutual, page)),
		Accept:  pass("five fields, each with what the certificate says", vouched),
		Run:     overTLS(verifying(verifiedFields)),
		Forbid:  map[conformance.Outcome]string{tlsRefused: "a certificate of the trust store was refused", wrongFields: "the fields are not those five", wrongValue: "a field says something else"},
	})
	variant(conformance.Check{
		ID: "ALB-MTLS-05", Slug: "alb-mtls-verify-none", Level: conformance.Should, Features: needs,
		Title: "In mode verify a client without a certificate meets a failure of TLS, and no byte of HTTP",
		Why: "Who forgot the certificate looks for a status and finds a connection that ends, with TLS 1.3 only behind the handshake. A simulator that " +
			"answers 403 teaches clients to wait for what never comes.",
		Clauses: clauses(fact("ALB-MTLS-05", "O", mutual, page)),
		Accept:  pass("an alert, or the end of the connection", tlsRefused),
		Run: overTLS(verifying(func(ctx context.Context, t *conformance.T, ca *authority) (conformance.Observation, error) {
			return requestsAs(ctx, t, nil)
		})),
		Forbid: map[conformance.Outcome]string{passedOn: "the request reached the target", conformance.HTTPStatus(400): "the failure is one of HTTP", conformance.HTTPStatus(403): "the failure is one of HTTP"},
	})
	variant(conformance.Check{
		ID: "ALB-MTLS-06", Slug: "alb-mtls-verify-bad", Level: conformance.Must, Features: needs,
		Title: "In mode verify an untrusted, an expired and a future certificate meet a failure of TLS",
		Why: "The mode is there so that no request of a stranger reaches the target at all. The codes by which the connection log tells the three " +
			"apart are not looked at: the log has no form that all targets share.",
		Clauses: clauses(fact("ALB-MTLS-06", "D", mutual, page)),
		Accept:  pass("each is refused, and one that is right is served", tlsRefused), Run: overTLS(verifying(badCertificates)),
		Forbid: map[conformance.Outcome]string{passedOn: "a request with such a certificate reached the target", conformance.HTTPStatus(403): "the failure is one of HTTP"},
	})
	variant(conformance.Check{
		ID: "ALB-MTLS-08", Slug: "alb-mtls-no-resumption", Level: conformance.Must, Features: needs,
		Title: "With mutual TLS no session is resumed",
		Why: "A session that is resumed stands on a certificate that was looked at once, and may be revoked since. Who measures handshakes has to know " +
			"that each of them is a full one.",
		Clauses: clauses(fact("ALB-MTLS-08", "D", mutual, page)),
		Accept:  pass("the second handshake is a full one", notResumed), Run: overTLS(verifying(secondSession)),
		Forbid: map[conformance.Outcome]string{resumed: "the session was resumed"},
	})
}

func mutualMode(mode, store string) func(*door.Balancer) {
	return func(doc *door.Balancer) {
		doc.MutualAuthentication = &door.MutualAuthentication{Mode: mode, TrustStore: store}
	}
}

// verifying runs a check on an instance that verifies, by an authority of the check's own.
func verifying(run func(context.Context, *conformance.T, *authority) (conformance.Observation, error)) func(context.Context, *conformance.T) (conformance.Observation, error) {
	return func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
		ca, err := newAuthority()
		if err != nil {
			return conformance.Observation{}, err
		}
		dir, err := os.MkdirTemp("", "trb-trust-")
		if err != nil {
			return conformance.Observation{}, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		store := filepath.Join(dir, "trust.pem")
		//nolint:gosec // the target may run as another user, and a certificate is no secret
		if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(store, rootPEM(ca.cert), 0o644)); err != nil {
			return conformance.Observation{}, err
		}
		if err := t.Relaunch(ctx, mutualMode("verify", store)); err != nil {
			return conformance.Observation{}, err
		}
		return run(ctx, t, ca)
	}
}

// requestsAs makes a request as a client with this certificate, or none, and says who ended it: tlsRefused for a handshake, or for a
// connection that ends behind one (RFC 8446 section 4.4.2.4: a client of TLS 1.3 is done before the server has looked).
func requestsAs(ctx context.Context, t *conformance.T, cert *tls.Certificate) (conformance.Observation, error) {
	c, err := t.TCP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	conn, err := t.TLS(ctx, c, presenter(t, cert))
	var o conformance.Observation
	if err != nil {
		o = conformance.Observation{Outcome: t.Outcome(err), Detail: "the handshake: " + err.Error()}
	} else {
		defer conn.Close()
		o, _, _ = decides(ctx, t, conn, get(t))
	}
	if isRefusal(o.Outcome) {
		o.Outcome, o.Detail = tlsRefused, fmt.Sprintf("%s: %s", o.Outcome, o.Detail)
	}
	return o, nil
}

func presenter(t *conformance.T, cert *tls.Certificate) *tls.Config {
	up := t.Path.Upgrade
	cfg := &tls.Config{ServerName: up.ServerName, RootCAs: up.Roots, MinVersion: tls.VersionTLS12}
	if cert != nil {
		conformance.Present(cfg, cert)
	}
	return cfg
}

// arrivesAs is what the target gets to know of the certificate.
func arrivesAs(ctx context.Context, t *conformance.T, cert *tls.Certificate) (*wire.Request, error) {
	c, err := t.TCP(ctx)
	if err != nil {
		return nil, &harnessError{err}
	}
	conn, err := t.TLS(ctx, c, presenter(t, cert))
	if err != nil {
		return nil, err
	}
	return reachesOn(ctx, t, conn, get(t))
}

// notTold is what an error of arrivesAs means.
func notTold(t *conformance.T, err error) (conformance.Observation, error) {
	if _, harness := errAsHarness(err); harness {
		return conformance.Observation{}, err
	}
	if o := t.Outcome(err); isRefusal(o) {
		return saw(tlsRefused, "%s: %v", o, err), nil
	}
	return unlessAlone(err)
}

// about lists the fields about a client's certificate that a request has.
func about(h http.Header) (names []string) {
	for name := range h {
		if strings.HasPrefix(name, "X-Amzn-Mtls-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// isPEM tells whether a value is this certificate as the balancer should write it.
func isPEM(value string, der []byte) bool {
	raw, err := url.PathUnescape(value)
	block, rest := pem.Decode([]byte(raw))
	encoded := regexp.MustCompile(`(?i)%(2b|3d|2f)`).MatchString(value) // + = and /
	return err == nil && !encoded && block != nil && bytes.Equal(block.Bytes, der) && len(bytes.TrimSpace(rest)) == 0
}

func passesCertificate(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	cert, err := issuedFor(&x509.Certificate{Subject: pkix.Name{CommonName: "nobody"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	if err != nil {
		return conformance.Observation{}, err
	}
	req, err := arrivesAs(ctx, t, cert)
	if err != nil {
		return notTold(t, err)
	}
	value, names := req.Header.Values(identityPrefix), about(req.Header)
	switch {
	case len(names) == 0:
		return saw(unnoted, "no field about a certificate"), nil
	case !slices.Equal(names, []string{identityPrefix}) || len(value) != 1:
		return saw(wrongFields, "%s", strings.Join(names, ", ")), nil
	case !isPEM(value[0], cert.Certificate[0]):
		return saw(wrongValue, "%.120s", value[0]), nil
	}
	return saw(vouched, "a self-signed certificate, expired a day ago, in %d bytes", len(value[0])), nil
}

func passesNone(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	req, err := arrivesAs(ctx, t, nil)
	if err != nil {
		return notTold(t, err)
	}
	if names := about(req.Header); len(names) > 0 {
		return saw(wrongFields, "%s", strings.Join(names, ", ")), nil
	}
	return saw(absent, "the request arrived without a field about a certificate"), nil
}

func verifiedFields(ctx context.Context, t *conformance.T, ca *authority) (conformance.Observation, error) {
	cert, err := ca.issue("trb client", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		return conformance.Observation{}, err
	}
	req, err := arrivesAs(ctx, t, cert)
	if err != nil {
		return notTold(t, err)
	}
	stamp := func(at time.Time) string { return at.UTC().Format(time.RFC3339) }
	want := map[string]string{
		"Serial-Number": fmt.Sprintf("%X", cert.Leaf.SerialNumber), "Issuer": cert.Leaf.Issuer.String(), "Subject": cert.Leaf.Subject.String(),
		"Validity": "NotBefore=" + stamp(cert.Leaf.NotBefore) + ";NotAfter=" + stamp(cert.Leaf.NotAfter), "Leaf": "",
	}
	var names []string
	for name := range want {
		names = append(names, identityPrefix+"-"+name)
	}
	slices.Sort(names)
	if got := about(req.Header); !slices.Equal(got, names) {
		return saw(wrongFields, "%s", strings.Join(got, ", ")), nil
	}
	for name, value := range want {
		got := req.Header.Values(identityPrefix + "-" + name)
		same := len(got) == 1 && strings.EqualFold(got[0], value)
		switch name {
		case "Leaf":
			same = len(got) == 1 && isPEM(got[0], cert.Certificate[0])
		case "Serial-Number": // whether leading zeros are written is not documented
			same = len(got) == 1 && strings.EqualFold(strings.TrimLeft(got[0], "0"), value)
		}
		if !same {
			return saw(wrongValue, "%s: %q, not %q", name, got, value), nil
		}
	}
	return saw(vouched, "%s", strings.Join(names, ", ")), nil
}

func badCertificates(ctx context.Context, t *conformance.T, ca *authority) (conformance.Observation, error) {
	other, err := newAuthority()
	if err != nil {
		return conformance.Observation{}, err
	}
	now := time.Now()
	var said []string
	for _, c := range []struct {
		name     string
		by       *authority
		from, to time.Time
		want     conformance.Outcome
	}{
		{"one that is right", ca, now.Add(-time.Hour), now.Add(time.Hour), passedOn},
		{"untrusted", other, now.Add(-time.Hour), now.Add(time.Hour), tlsRefused},
		{"expired", ca, now.Add(-48 * time.Hour), now.Add(-24 * time.Hour), tlsRefused},
		{"of the future", ca, now.Add(24 * time.Hour), now.Add(48 * time.Hour), tlsRefused},
	} {
		cert, err := c.by.issue("trb client", c.from, c.to)
		if err != nil {
			return conformance.Observation{}, err
		}
		o, err := requestsAs(ctx, t, cert)
		switch {
		case err != nil:
			return o, err
		case c.want == passedOn && o.Outcome != passedOn:
			return conformance.Observation{}, fmt.Errorf("a certificate of the trust store: %s: %s", o.Outcome, o.Detail)
		case o.Outcome != c.want:
			return saw(o.Outcome, "%s: %s", c.name, o.Detail), nil
		}
		said = append(said, c.name)
	}
	return saw(tlsRefused, "%s: refused but for the first", strings.Join(said, ", ")), nil
}

func secondSession(ctx context.Context, t *conformance.T, ca *authority) (conformance.Observation, error) {
	cert, err := ca.issue("trb client", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		return conformance.Observation{}, err
	}
	cfg := presenter(t, cert)
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for range 2 {
		c, err := t.TCP(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		conn, err := t.TLS(ctx, c, cfg)
		if err != nil {
			return notTold(t, err)
		}
		if conn.ConnectionState().DidResume {
			return saw(resumed, "%s", tls.VersionName(conn.ConnectionState().Version)), conn.Close()
		}
		if err := serves(ctx, t, conn); err != nil { // and tickets of TLS 1.3 are read
			return conformance.Observation{}, err
		}
	}
	return saw(notResumed, "two full handshakes"), nil
}
