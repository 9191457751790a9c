package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of checks of odd names and of certificates.
const (
	steady     conformance.Outcome = "consistent"
	wrongCert  conformance.Outcome = "wrong-certificate"
	certsCover conformance.Outcome = "certificates-cover"
)

const (
	manyHosts   = 32
	longestName = 255
)

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-08", Slug: "sni-odd", Level: conformance.Info, Origin: conformance.RFC, Role: conformance.Router,
		Title: "An address, a trailing dot, a U-label and a name of 255 bytes are treated the same way every time",
		Why: "No document says what becomes of these names, and routers differ. What matters is that the answer does not depend on how the hello " +
			"was cut, and that an odd spelling of a name does not take its client authentication away.",
		Clauses: clauses(rfc(6066, "3")), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass("each name has one answer: the service that it spells, or a refusal", steady),
		Forbid: map[conformance.Outcome]string{
			served: "an odd spelling opened a route that demands a certificate", mixedUp: "the same name was treated in two ways",
			conformance.Misrouted: "another service answered under this name", conformance.Timeout: "held in place of routed or refused",
		},
		Control: crafted(wire.HelloOptions{}), Run: sniOdd,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-28", Slug: "cert-for-sni", Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router,
		Title: "The certificate that is shown is good for the name that was asked for, whichever that is",
		Why: "Each client verifies the name that it asked for. A router that picks the certificate by something else, such as the first of the " +
			"list or that of the connection before, locks out the clients of one name and looks healthy under all others.",
		Clauses: clauses(rfc(9846, "4.5.1.2"), policy("section 7, the fixture")), Transports: everywhere, Features: []string{"terminate"},
		Accept:  pass("every handshake verifies: chain and name", certsCover),
		Forbid:  map[conformance.Outcome]string{wrongCert: "the certificate does not cover the name", conformance.Timeout: "no certificate came"},
		Control: opens("a"), Run: certForSNI,
	})
}

// oddName is a name as it is sent, and the route that it may be taken to spell: of all others it is none of their business.
type oddName struct {
	what, name, alpn, route string
}

func sniOdd(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	names := []oddName{
		{"an IPv4 address", "127.0.0.1", "trb-a", ""},
		{"an IPv6 address", "::1", "trb-a", ""},
		{"a trailing dot", t.Name("a") + ".", "trb-a", "a"},
		{"a U-label", t.Name("bücher"), "trb-a", ""},
		{"255 bytes", longName(t.Name("wild")), "trb-wild", "wild"},
	}
	if has(t, "mtls") {
		names = append(names, oddName{"a trailing dot without a certificate", t.Name("mtls") + ".", "trb-mtls", ""})
	}
	var how []string
	for _, n := range names {
		var seen []conformance.Outcome
		for _, sizes := range [][]int{nil, {40}, nil} {
			o := oddly(ctx, t, n, sizes...)
			if o.Outcome != conformance.Routed && !isRefusal(o.Outcome) {
				o.Detail = n.what + ": " + o.Detail
				return o, nil
			}
			seen = append(seen, o.Outcome)
		}
		how = append(how, fmt.Sprintf("%s: %s", n.what, seen[0]))
		if len(slices.Compact(slices.Clone(seen))) > 1 {
			return conformance.Observation{Outcome: mixedUp, Detail: fmt.Sprintf("%s: whole %s, in pieces %s, whole again %s", n.what, seen[0], seen[1], seen[2])}, nil
		}
	}
	return conformance.Observation{Outcome: steady, Detail: strings.Join(how, ", ")}, nil
}

// longName puts labels before a name until there are 255 bytes.
func longName(under string) string {
	for len(under) < longestName-1 {
		under = strings.Repeat("x", min(63, longestName-1-len(under))) + "." + under
	}
	return under
}

func oddly(ctx context.Context, t *conformance.T, n oddName, sizes ...int) conformance.Observation {
	s, err := session(ctx, t, wire.HelloOptions{SNI: n.name, ALPN: []string{n.alpn}}, sizes...)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	defer s.Close()
	if n.route != "" {
		return ask(ctx, t, s, witnessOf(t, n.route))
	}
	o := ask(ctx, t, s, "")
	if o.Outcome == served && n.alpn != "trb-mtls" {
		o.Outcome = conformance.Misrouted
	}
	return o
}

func certForSNI(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	type visit struct{ route, name string }
	var visits []visit
	for _, route := range []string{"a", "b", "web", "any", "wild", "deep", "exact", "a"} {
		cfg, err := t.Config(route)
		if err != nil {
			return conformance.Observation{}, err
		}
		visits = append(visits, visit{route, cfg.ServerName})
	}
	for i := range manyHosts {
		visits = append(visits, visit{"wild", t.Name(fmt.Sprintf("host-%d.wild", i))})
	}
	for i, v := range visits {
		cfg, err := t.Config(v.route)
		if err != nil {
			return conformance.Observation{}, err
		}
		cfg.ServerName = v.name
		cfg.MaxVersion = tls.VersionTLS13 - uint16(i%2) // both versions have a way of their own of choosing
		o := shownTo(ctx, t, cfg, witnessOf(t, v.route))
		if cfg.MaxVersion == tls.VersionTLS12 && o.Outcome == conformance.Alert(70) {
			continue // 1.2 is off
		}
		if o.Outcome != certsCover {
			o.Detail = fmt.Sprintf("%s, %s: %s", v.name, tls.VersionName(cfg.MaxVersion), o.Detail)
			return o, nil
		}
	}
	return conformance.Observation{Outcome: certsCover, Detail: fmt.Sprintf("%d names, %d of them of one wildcard", len(visits), manyHosts)}, nil
}

// shownTo opens one connection and says whether the certificate verifies. The witness is asked as well, so that no backend is dialled
// while the next check counts.
func shownTo(ctx context.Context, t *conformance.T, cfg *tls.Config, name string) conformance.Observation {
	stream, err := t.Stream(ctx)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	defer stream.Close()
	conn, err := t.TLS(ctx, stream, cfg)
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		var shown []string
		for _, c := range bad.UnverifiedCertificates[:min(1, len(bad.UnverifiedCertificates))] {
			shown = c.DNSNames
		}
		_, name := errors.AsType[x509.HostnameError](err)
		return conformance.Observation{Outcome: wrongCert, Detail: fmt.Sprintf("%v; the certificate is for %q, another name: %v", bad.Err, shown, name)}
	}
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	if o := ask(ctx, t, conn, name); o.Outcome != conformance.Routed {
		return o
	}
	return conformance.Observation{Outcome: certsCover}
}
