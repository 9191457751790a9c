package albsim

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// verifyFailure is a client certificate that mode verify refuses, with the connection log's code for it.
type verifyFailure struct {
	code string
	err  error
}

func (v *verifyFailure) Error() string { return v.code + ": " + v.err.Error() }
func (v *verifyFailure) Unwrap() error { return v.err }

// clientAuth sets up the mutual authentication of a listener: alb.md section 3. A failure is one of TLS, never a status.
func clientAuth(cfg *tls.Config, l *listenerPlan) {
	switch l.mutual {
	case "passthrough":
		cfg.ClientAuth = tls.RequestClientCert
	case "verify":
		// Not RequireAndVerifyClientCert: the log wants a reason, so the verification is ours. ClientCAs stays empty:
		// advertising the CA names is an option of AWS's that is off unless asked for.
		cfg.ClientAuth = tls.RequireAnyClientCert
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			return verifyClient(state.PeerCertificates, l.trust, time.Now())
		}
	default:
		return
	}
	cfg.SessionTicketsDisabled = true // ALB-MTLS-08: no resumption when mutual TLS is on
}

func verifyClient(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	leaf := chain[0]
	switch {
	case now.Before(leaf.NotBefore):
		return &verifyFailure{"ClientCertNotYetValid", errors.New("not valid before " + leaf.NotBefore.Format(time.RFC3339))}
	case now.After(leaf.NotAfter):
		return &verifyFailure{"ClientCertExpired", errors.New("not valid after " + leaf.NotAfter.Format(time.RFC3339))}
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err == nil {
		return nil
	}
	code := "ClientCertInvalid"
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown):
		code = "ClientCertUntrusted"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		code = "ClientCertPurposeInvalid"
	case errors.As(err, &invalid) && invalid.Reason == x509.TooManyIntermediates:
		code = "ClientCertMaxChainDepthExceeded"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		code = "ClientCertExpired"
	}
	return &verifyFailure{code, err}
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
		return []field{{name: "X-Amzn-Mtls-Clientcert", value: escapePEM(all.String())}}
	}
	return []field{
		{name: "X-Amzn-Mtls-Clientcert-Serial-Number", value: fmt.Sprintf("%X", leaf.SerialNumber)},
		{name: "X-Amzn-Mtls-Clientcert-Issuer", value: leaf.Issuer.String()},
		{name: "X-Amzn-Mtls-Clientcert-Subject", value: leaf.Subject.String()},
		{name: "X-Amzn-Mtls-Clientcert-Validity", value: validity(leaf)},
		{name: "X-Amzn-Mtls-Clientcert-Leaf", value: escapePEM(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})))},
	}
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
