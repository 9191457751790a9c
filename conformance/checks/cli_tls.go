package checks

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Outcomes of looking at a client's TLS.
const (
	otherNames   conformance.Outcome = "other-names"   // the hello names something else than was asked for
	shownOutside conformance.Outcome = "shown-outside" // the certificate for the router went to the load balancer
)

// anyClient are the features of checks that ask for no more than TLS.
var anyClient = []string{}

func init() {
	clientCheck(conformance.Check{
		ID: "TLS-01-C", Slug: "sni-exact-client", Level: conformance.Must, Origin: conformance.Policy, Features: anyClient, Control: dialsAnyWay,
		Title: "The router's ClientHello has the name and the ALPN list that were asked for, the load balancer's its own name",
		Why: "The router decides by these two, and nobody behind it can repair them. A client that puts the load balancer's name into the inner hello, or " +
			"sorts the list, reaches another service, or none.",
		Clauses: clauses(policy("section 7, dial"), rfc(6066, "3"), rfc(7301, "3.1")),
		Accept:  pass("names and lists are those of the request, in its order", asItMust),
		Forbid:  map[conformance.Outcome]string{otherNames: "a hello names something else than was asked for"},
		Run:     clientNames,
	})
	clientCheck(conformance.Check{
		ID: "TLS-10-C", Slug: "alpn-none-client", Level: conformance.Should, Origin: conformance.Policy, Features: anyClient, Control: dialsAnyWay,
		Title: "A router that confirms none of the names offered is not taken for the service",
		Why: "The name is what the router routes by: one that confirms none has led the connection by something else, to a default, or is no router at all. " +
			"The client finds out when the service's first bytes make no sense.",
		Clauses: clauses(policy("section 7, dial"), rfc(7301, "3.2")), Accept: pass("no connection", rejected),
		Forbid: mustRefuse("the client went on with a server that had not said which protocol it speaks"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return refuses(ctx, t, false, inTLS(t, "no ALPN confirmed", func(cfg *tls.Config) { cfg.NextProtos = nil })...)
		},
	})
	clientCheck(conformance.Check{
		ID: "TLS-28-C", Slug: "cert-for-sni-client", Level: conformance.Must, Origin: conformance.RFC, Features: anyClient, Control: dialsAnyWay,
		Title: "The router's certificate is verified: the name, the authority and the time",
		Why: "Behind a load balancer the outer certificate says only who the load balancer is. Where the inner one is not verified anybody on the way who " +
			"answers the upgrade is the service.",
		Clauses: clauses(rfc(9525, "6.6"), rfc(5280, "6")), Accept: pass("no connection", rejected),
		Forbid: mustRefuse("the client spoke to a server whose certificate is not good for the name"), Run: clientVerifies,
	})
	clientCheck(conformance.Check{
		ID: "TLS-29-C", Slug: "old-versions-client", Level: conformance.Must, Origin: conformance.RFC, Features: anyClient, Control: dialsAnyWay,
		Title:   "A router that answers with TLS 1.0 or 1.1 is refused",
		Why:     "Versions before 1.2 rest on broken hashes. A client that takes what it is offered can be talked down to them by whoever stands between.",
		Clauses: clauses(rfc(8996, "4"), rfc(8996, "5")), Accept: pass("no connection", rejected), Forbid: mustRefuse("the client went on with TLS 1.1 or older"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			var list []trial
			for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
				list = append(list, inTLS(t, tls.VersionName(v), func(cfg *tls.Config) { cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, v })...)
			}
			return refuses(ctx, t, false, list...)
		},
	})
	clientCheck(conformance.Check{
		ID: "MTL-01-C", Slug: "required-client", Level: conformance.Must, Origin: conformance.Policy, Features: anyClient, Control: dialsAnyWay,
		Title: "The client's certificate is shown to the router that asks for it, and not to a load balancer that asks too",
		Why: "It tells the router who the client is. A load balancer that asks for any certificate would be given the same identity, and a client that shows " +
			"none inside is refused by every route that demands one.",
		Clauses: []result.Clause{policy("section 7, dial")},
		Accept:  pass("shown inside, and nothing outside", asItMust),
		Forbid:  map[conformance.Outcome]string{shownOutside: "the load balancer was shown the certificate for the router", unverified: "the router asked and was shown none, or another"},
		Run:     clientShows,
	})
}

// inTLS is a router with something special about its TLS, on every way that the client has.
func inTLS(t *conformance.T, name string, change func(*tls.Config)) []trial {
	var list []trial
	for _, typ := range ways(t) {
		list = append(list, trial{name + ", " + typ, script{typ: typ, answer: honest, innerTLS: change}})
	}
	return list
}

func clientNames(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	for _, typ := range ways(t) {
		p, err := play(ctx, t, script{typ: typ, answer: honest})
		if err != nil {
			return conformance.Observation{}, err
		}
		p.request.ALPN = []string{"trb-z", "trb-a", "trb-both"}
		conn, err := p.dialled(ctx)
		if conn != nil {
			_ = conn.Close()
		}
		p.stop()
		if p.innerHello.Message == nil {
			return conformance.Observation{}, fmt.Errorf("%s: no ClientHello came: %w", typ, err)
		}
		in, out := p.innerHello, p.outerHello
		switch {
		case in.SNI != p.request.SNI || !slices.Equal(in.ALPN, p.request.ALPN):
			return conformance.Observation{Outcome: otherNames, Detail: fmt.Sprintf("%s: the router was asked for %q %q, not %q %q", typ, in.SNI, in.ALPN, p.request.SNI, p.request.ALPN)}, nil
		case typ != direct && out.SNI != balancerName:
			return conformance.Observation{Outcome: otherNames, Detail: fmt.Sprintf("%s: the load balancer was asked for %q, not %q", typ, out.SNI, balancerName)}, nil
		case err != nil:
			return conformance.Observation{}, fmt.Errorf("%s: %w", typ, err)
		}
	}
	return conformance.Observation{Outcome: asItMust, Detail: fmt.Sprintf("%q", ways(t))}, nil
}

// clientVerifies has a router show certificates that are wrong in one way each.
func clientVerifies(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	now := time.Now()
	var list []trial
	for _, wrong := range []struct {
		name, host string
		from, to   time.Time
		trusted    bool
	}{
		{"for another name", t.Name("b"), now.Add(-time.Hour), now.Add(time.Hour), true},
		{"of an authority that is not trusted", t.Name("a"), now.Add(-time.Hour), now.Add(time.Hour), false},
		{"that has expired", t.Name("a"), now.Add(-2 * time.Hour), now.Add(-time.Hour), true},
	} {
		cert, err := issuedFor(&x509.Certificate{
			Subject: pkix.Name{CommonName: wrong.host}, DNSNames: []string{wrong.host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}, wrong.from, wrong.to)
		if err != nil {
			return conformance.Observation{}, err
		}
		for _, typ := range ways(t) {
			s := script{typ: typ, answer: honest, innerTLS: func(cfg *tls.Config) { cfg.Certificates = []tls.Certificate{*cert} }}
			if wrong.trusted {
				s.trusted = cert
			}
			list = append(list, trial{"a certificate " + wrong.name + ", " + typ, s})
		}
	}
	return refuses(ctx, t, false, list...)
}

func clientShows(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	identity, err := selfSigned()
	if err != nil {
		return conformance.Observation{}, err
	}
	for _, typ := range ways(t) {
		asks := func(cfg *tls.Config) { cfg.ClientAuth = tls.RequestClientCert }
		p, err := play(ctx, t, script{typ: typ, answer: honest, innerTLS: asks, outerTLS: asks})
		if err != nil {
			return conformance.Observation{}, err
		}
		p.request.Client = identity
		conn, err := p.dialled(ctx)
		if conn != nil {
			_ = conn.Close()
		}
		p.stop()
		switch {
		case len(p.outerCert) > 0:
			return conformance.Observation{Outcome: shownOutside, Detail: typ + ": " + p.outerCert[0].Subject.String()}, nil
		case err != nil:
			return conformance.Observation{}, fmt.Errorf("%s: %w", typ, err)
		case len(p.innerCert) == 0 || !bytes.Equal(p.innerCert[0].Raw, identity.Leaf.Raw):
			return conformance.Observation{Outcome: unverified, Detail: fmt.Sprintf("%s: %d certificates came", typ, len(p.innerCert))}, nil
		}
	}
	return conformance.Observation{Outcome: asItMust, Detail: fmt.Sprintf("%q", ways(t))}, nil
}

// upgradesOf are the upgrade types that requests asked for, in their order.
func upgradesOf(requests []*wire.Request) []string {
	var list []string
	for _, r := range requests {
		list = append(list, r.Header.Values("Upgrade")...)
	}
	return list
}
