package checks

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

// Outcomes of identity headers.
const (
	unspoken conformance.Outcome = "no-identity" // no certificate, and no header about one
	vouched  conformance.Outcome = "own-value"
	unnoted  conformance.Outcome = "identity-missing"
)

// identityFields are those by which an ALB tells its target of the client's certificate.
var identityFields = []string{"", "-Serial-Number", "-Issuer", "-Subject", "-Validity", "-Leaf"}

const (
	identityPrefix = "X-Amzn-Mtls-Clientcert"
	forgedValue    = "tlsroute-bench-forged"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "MTL-06", Slug: "identity-headers", Level: conformance.Must, Origin: conformance.Policy, Role: conformance.LoadBalancer,
		Features: []string{"aws-alb"},
		Title:    "Headers about the client's certificate are the balancer's own; those that the client wrote do not reach the target",
		Why: "The target lets in whoever the header names. Where a client may write the header itself, anybody is whoever they like, and a " +
			"target that takes the first of two values is deceived even by a balancer that adds its own.",
		Clauses: clauses(fact("ALB-MTLS-09", "A", "AWS, mutual authentication with TLS", awsDocs+"application/mutual-authentication.html"),
			fact("ALB-MTLS-02", "D", "AWS, mutual authentication with TLS", awsDocs+"application/mutual-authentication.html")),
		Accept: slices.Concat(pass("the certificate that was shown, once, and no forged value", vouched),
			pass("no certificate is asked for, and nothing is said of one", unspoken)),
		Forbid: map[conformance.Outcome]string{
			forged: "a value of the client's own reached the target", unnoted: "a certificate was shown, and the target was not told",
			alone: "the request was refused by the balancer",
		},
		Control: func(ctx context.Context, t *conformance.T) error {
			front, _, err := presenting(ctx, t, true)
			if err != nil {
				return err
			}
			return serves(ctx, t, front)
		},
		Run: identityHeaders,
	})
}

// identity is what is shown to a balancer that asks: a certificate of CA A if the fixture has one, as a balancer that verifies needs.
func identity(t *conformance.T) (*tls.Certificate, error) {
	if cert := t.Target.Fixture.ClientA; cert != nil {
		return cert, nil
	}
	return selfSigned()
}

// presenting is a connection to the listener, with a certificate if show is set and the balancer asks for one: then that is
// returned too.
func presenting(ctx context.Context, t *conformance.T, show bool) (net.Conn, *tls.Certificate, error) {
	up := t.Path.Upgrade
	if !up.TLS {
		c, err := t.HTTP(ctx)
		return c, nil, err
	}
	cert, err := identity(t)
	if err != nil {
		return nil, nil, err
	}
	c, err := t.TCP(ctx)
	if err != nil {
		return nil, nil, err
	}
	var shown *tls.Certificate
	cfg := &tls.Config{ServerName: up.ServerName, RootCAs: up.Roots, MinVersion: tls.VersionTLS12}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if !show {
			return &tls.Certificate{}, nil
		}
		shown = cert
		return cert, nil
	}
	conn, err := t.TLS(ctx, c, cfg)
	return conn, shown, err
}

func identityHeaders(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var lines []string
	for i, field := range identityFields {
		name := identityPrefix + field
		if i%2 == 0 {
			name = strings.ToLower(name)
		}
		lines = append(lines, name+": "+forgedValue)
	}
	result := conformance.Observation{Outcome: unspoken, Detail: "six forged headers, none of them arrived"}
	for _, show := range []bool{false, true} {
		front, shown, err := presenting(ctx, t, show)
		if err != nil && !show {
			t.Logf("without a certificate: %v", err) // a balancer that verifies
			continue
		}
		if err != nil {
			return conformance.Observation{}, err
		}
		c, err := carry(ctx, t, front, get(t, lines...))
		if err != nil {
			o, err := unlessAlone(err)
			if err != nil && !show { // in TLS 1.3 the refusal of a client without a certificate comes behind the handshake
				t.Logf("without a certificate: %v", err)
				continue
			}
			return o, err
		}
		_, _, _ = c.answer(t, servedByTarget) // whatever comes of it: the request has been seen
		c.close()
		if o := toldOf(c.req.Header, shown); o.Outcome == forged || o.Outcome == unnoted {
			return o, nil
		} else if o.Outcome == vouched {
			result = o
		}
	}
	return result, nil
}

// toldOf reads what the target was told.
func toldOf(header http.Header, shown *tls.Certificate) conformance.Observation {
	for name, values := range header {
		for _, v := range values {
			if strings.Contains(v, forgedValue) {
				return conformance.Observation{Outcome: forged, Detail: fmt.Sprintf("%s: %q reached the target", name, values)}
			}
		}
	}
	values := slices.Concat(header.Values(identityPrefix), header.Values(identityPrefix+"-Leaf"))
	switch {
	case shown == nil && len(values) == 0:
		return conformance.Observation{Outcome: unspoken}
	case shown == nil:
		return conformance.Observation{Outcome: forged, Detail: fmt.Sprintf("no certificate was shown, and the target was told of one: %.80q", values)}
	case len(values) != 1:
		return conformance.Observation{Outcome: unnoted, Detail: fmt.Sprintf("a certificate was shown, and %d values came", len(values))}
	}
	text, err := url.PathUnescape(values[0])
	block, _ := pem.Decode([]byte(text))
	if err != nil || block == nil || !bytes.Equal(block.Bytes, shown.Certificate[0]) {
		return conformance.Observation{Outcome: unnoted, Detail: fmt.Sprintf("the target was told of another certificate: %.80q (%v)", values[0], err)}
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return conformance.Observation{Outcome: unnoted, Detail: err.Error()}
	}
	return conformance.Observation{Outcome: vouched, Detail: "the target was told of " + leaf.Subject.String()}
}
