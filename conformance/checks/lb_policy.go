package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// Outcomes of checks of what a security policy lets in.
const (
	asPolicy    conformance.Outcome = "as-the-policy-says"
	tooLax      conformance.Outcome = "more-than-the-policy"
	tooStrict   conformance.Outcome = "less-than-the-policy"
	withoutH2   conformance.Outcome = "no-h2"
	cbcAccepted conformance.Outcome = "cbc-accepted"
)

func init() {
	const https = "AWS, Application Load Balancers: HTTPS listeners"
	forbid := map[conformance.Outcome]string{tooLax: "a version was agreed on that the policy does not have", tooStrict: "a version of the policy was refused"}
	for _, p := range []struct {
		id, slug, policy, title, why string
		versions                     []uint16
	}{
		{
			"ALB-TLS-11", "alb-policy-2016", "ELBSecurityPolicy-2016-08", "Policy 2016-08 has TLS 1.0, 1.1 and 1.2, and not 1.3",
			"It is the policy of every listener that was made by an interface and not by hand. A simulator that speaks TLS 1.3 by it hides what a " +
				"client that insists on 1.3 meets.",
			[]uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12},
		},
		{
			"ALB-TLS-12", "alb-policy-2021", "ELBSecurityPolicy-TLS13-1-2-2021-06", "Policy TLS13-1-2-2021-06 has TLS 1.2 and 1.3, and no other",
			"Audits ask for nothing below TLS 1.2, and this policy is the usual answer. What is still let in below is a finding, and what is " +
				"refused of 1.2 is an outage.",
			[]uint16{tls.VersionTLS12, tls.VersionTLS13},
		},
		{
			"ALB-TLS-13", "alb-policy-1-3", "ELBSecurityPolicy-TLS13-1-3-2021-06", "Policy TLS13-1-3-2021-06 refuses TLS 1.2",
			"Whoever sets it means to have TLS 1.3 alone, whose handshake hides the certificates. A fallback to 1.2 takes that away from each " +
				"client that can be brought to ask for it.",
			[]uint16{tls.VersionTLS13},
		},
	} {
		variant(conformance.Check{
			ID: p.id, Slug: p.slug, Level: conformance.Must, Features: []string{door.FeaturePolicy}, Title: p.title, Why: p.why,
			Clauses: clauses(fact(p.id, "D", https, httpsPage)),
			Accept:  pass("each version by itself is agreed on, or refused with an alert, as the policy has it", asPolicy), Forbid: forbid,
			Run: overTLS(altered(policyOf(p.policy), func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
				return versions(ctx, t, p.versions)
			})),
		})
	}
	variant(conformance.Check{
		ID: "ALB-TLS-14", Slug: "alb-policy-res", Level: conformance.Must, Features: []string{door.FeaturePolicy},
		Title: "A policy with Res in its name refuses a client that has CBC suites only",
		Why: "CBC in TLS 1.2 has been broken by timing again and again; the Res policies are chosen to be rid of it. A suite that is still taken " +
			"shows in no setting, only on the wire.",
		Clauses: clauses(fact("ALB-TLS-14", "D", https, httpsPage)),
		Accept:  pass("handshake_failure, and the same client with GCM suites is served", conformance.Alert(40)),
		Run:     overTLS(altered(policyOf("ELBSecurityPolicy-TLS13-1-2-Res-2021-06"), cbcOnly)),
		Forbid:  map[conformance.Outcome]string{cbcAccepted: "a CBC suite was agreed on", tooStrict: "GCM was refused too"},
	})
	variant(conformance.Check{
		ID: "ALB-TLS-07", Slug: "alb-h2-off", Level: conformance.Must, Features: []string{door.FeatureAttributes},
		Title: "With routing.http2.enabled off no client gets h2, and HTTP/1.1 is spoken",
		Why: "The attribute is how an operator helps clients that offer h2 and then want to upgrade. What a client gets that offers h2 alone, a " +
			"handshake without a protocol, is assumed; that it is no h2 is what the attribute says.",
		Clauses: clauses(fact("ALB-TLS-07", "D", "AWS, Application Load Balancers: attributes", attributesPage)),
		Accept:  pass("h2 is not selected, and HTTP/1.1 is carried", withoutH2),
		Run:     overTLS(altered(attribute("routing.http2.enabled", false), speaksNoH2)),
		Forbid:  map[conformance.Outcome]string{gotH2: "h2 was selected", conformance.Alert(120): "the handshake was refused for want of a common protocol"},
	})
}

func policyOf(name string) func(*door.Balancer) {
	return func(doc *door.Balancer) { doc.SSLPolicy = name }
}

// greeted is a handshake of these versions and suites of TLS 1.2.
func greeted(ctx context.Context, t *conformance.T, low, high uint16, suites ...uint16) (tls.ConnectionState, error) {
	c, err := t.TCP(ctx)
	if err != nil {
		return tls.ConnectionState{}, &harnessError{err}
	}
	up := t.Path.Upgrade
	conn, err := t.TLS(ctx, c, &tls.Config{ServerName: up.ServerName, RootCAs: up.Roots, MinVersion: low, MaxVersion: high, CipherSuites: suites})
	if err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), conn.Close()
}

// versions tries each version by itself. One that is refused must be refused by an alert: an end without one tells a client nothing.
func versions(ctx context.Context, t *conformance.T, has []uint16) (conformance.Observation, error) {
	var said []string
	for version := uint16(tls.VersionTLS10); version <= tls.VersionTLS13; version++ {
		name := tls.VersionName(version)
		_, err := greeted(ctx, t, version, version)
		if _, harness := errAsHarness(err); harness {
			return conformance.Observation{}, err
		}
		switch o := t.Outcome(err); {
		case err == nil && !slices.Contains(has, version):
			return saw(tooLax, "%s was agreed on", name), nil
		case err == nil:
			said = append(said, name)
		case slices.Contains(has, version) && isRefusal(o):
			return saw(tooStrict, "%s: %s: %v", name, o, err), nil
		case o != conformance.Alert(70) && o != conformance.Alert(40):
			return saw(o, "%s was refused without protocol_version or handshake_failure: %v", name, err), nil
		default:
			said = append(said, fmt.Sprintf("not %s (%s)", name, o))
		}
	}
	return saw(asPolicy, "%s", strings.Join(said, ", ")), nil
}

func cbcOnly(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	_, err := greeted(ctx, t, tls.VersionTLS12, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	if _, harness := errAsHarness(err); harness {
		return conformance.Observation{}, err
	}
	if o := t.Outcome(err); err != nil && isRefusal(o) {
		return saw(tooStrict, "with GCM: %v", err), nil
	} else if err != nil {
		return saw(o, "with GCM: %v", err), nil
	}
	state, err := greeted(ctx, t, tls.VersionTLS12, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256)
	if err != nil {
		return handshakeSeen(t, err)
	}
	return saw(cbcAccepted, "%s", tls.CipherSuiteName(state.CipherSuite)), nil
}

func speaksNoH2(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var said []string
	for _, offer := range [][]string{{"h2", "http/1.1"}, {"h2"}} {
		conn, err := frontTLS(ctx, t, offer...)
		if err != nil {
			return handshakeSeen(t, err)
		}
		proto := conn.ConnectionState().NegotiatedProtocol
		if proto == "h2" {
			return saw(gotH2, "offered %q", offer), conn.Close()
		}
		if err := serves(ctx, t, conn); err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("offered %q, got %q, but no HTTP/1.1 on it: %v", offer, proto, err)}, nil
		}
		said = append(said, fmt.Sprintf("%q got %q", offer, proto))
	}
	return saw(withoutH2, "%s", strings.Join(said, ", ")), nil
}
