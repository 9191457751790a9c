package albsim

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"
)

// clientAuth sets up the mutual authentication of a listener: alb.md section 3. A failure is one of TLS, never a status.
func clientAuth(cfg *tls.Config, l *listenerPlan) {
	switch l.mutual {
	case "passthrough":
		cfg.ClientAuth = tls.RequestClientCert
	case "verify":
		// Not RequireAndVerifyClientCert: the log wants a reason, so the verification is ours.
		cfg.ClientAuth = tls.RequireAnyClientCert
		if l.trust.advertise {
			cfg.ClientCAs = l.trust.roots
		}
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			return l.trust.verify(state.PeerCertificates, time.Now())
		}
	default:
		return
	}
	cfg.SessionTicketsDisabled = true // ALB-MTLS-08: no resumption when mutual TLS is on
}

// mtlsFields are the headers of the two modes; none without a client certificate (ALB-MTLS-03).
func (s *Server) mtlsFields(r *request) []field {
	chain := r.peer()
	if len(chain) == 0 {
		return nil
	}
	leaf := chain[0]
	if r.mutual != "verify" {
		var all strings.Builder
		for _, c := range chain {
			all.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
		}
		return []field{{name: r.named("X-Amzn-Mtls-Clientcert"), value: escapePEM(all.String())}}
	}
	return []field{
		{name: r.named("X-Amzn-Mtls-Clientcert-Serial-Number"), value: fmt.Sprintf("%X", leaf.SerialNumber)},
		{name: r.named("X-Amzn-Mtls-Clientcert-Issuer"), value: leaf.Issuer.String()},
		{name: r.named("X-Amzn-Mtls-Clientcert-Subject"), value: leaf.Subject.String()},
		{name: r.named("X-Amzn-Mtls-Clientcert-Validity"), value: validity(leaf)},
		{name: r.named("X-Amzn-Mtls-Clientcert-Leaf"), value: escapePEM(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})))},
	}
}

// beside is what the balancer says of TLS in its own fields, behind what the client's of these names say if they are to be
// appended to: knob ForgedMTLSHeaders.
func (p *Profile) beside(r *request, said []field) []field {
	if p.ForgedMTLSHeaders != "append" {
		return said
	}
	for i, f := range said {
		var values []string
		for _, forged := range r.fields {
			if forged.raw == "" && forged.is(f.name) {
				values = append(values, forged.value)
			}
		}
		said[i].value = strings.Join(append(values, f.value), ", ")
	}
	return said
}

// takesPlaceOf tells whether a field of the client's does not go on for one that the balancer says.
func (p *Profile) takesPlaceOf(f field, said []field) bool {
	return p.ForgedMTLSHeaders != "pass" && slices.ContainsFunc(said, func(own field) bool { return own.is(f.name) })
}

func validity(c *x509.Certificate) string {
	return "NotBefore=" + c.NotBefore.UTC().Format(time.RFC3339) + ";NotAfter=" + c.NotAfter.UTC().Format(time.RFC3339)
}

// escapePEM is URL encoding with + = / left as they are, as AWS documents it: a query decoder turns + into a blank.
func escapePEM(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if digit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("-._~+=/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
