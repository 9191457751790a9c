package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
)

// identifier is one handshake's VerifyConnection: it finds out whose certificate it is and refuses a stranger's.
type identifier struct {
	*dialing
	preferInner bool // a certificate that is good for both is the router's
	identity    probe.Identity
	asked       bool // for a client certificate
}

func (id *identifier) verify(state tls.ConnectionState) error {
	inner := verifyChain(state, id.InnerRoots, id.inner)
	outer := verifyChain(state, id.OuterRoots, id.outer)
	switch {
	case inner == nil && (id.preferInner || outer != nil):
		id.identity = probe.Router
	case outer == nil:
		id.identity = probe.Frontend
	default:
		id.identity = probe.Stranger
		if id.Insecure {
			return nil
		}
		e := &probe.IdentityError{Inner: inner, Outer: outer}
		if len(state.PeerCertificates) > 0 {
			leaf := state.PeerCertificates[0]
			e.Subject, e.Issuer = leaf.Subject.String(), leaf.Issuer.String()
		}
		return e
	}
	return nil
}

// clientCertificate is asked behind verify, in TLS 1.2 and 1.3 alike. A load balancer gets none of the router's, even one that takes
// any authority; with Insecure, where nobody is known, only the authorities named decide.
func (id *identifier) clientCertificate(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	id.asked = true
	var candidates []tls.Certificate
	switch {
	case id.identity == probe.Router:
		candidates = id.Certificates
	case id.identity == probe.Frontend:
		candidates = id.OuterCertificates
	case id.Insecure && len(asked.AcceptableCAs) > 0:
		candidates = slices.Concat(id.Certificates, id.OuterCertificates)
	}
	for i := range candidates {
		if asked.SupportsCertificate(&candidates[i]) == nil {
			return &candidates[i], nil
		}
	}
	return new(tls.Certificate), nil
}

func verifyChain(state tls.ConnectionState, roots *x509.CertPool, name string) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, DNSName: name, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(opts)
	return err
}
