package albsim

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clientTrust is what mode verify goes by.
type clientTrust struct {
	roots        *x509.CertPool
	revoked      []*x509.RevocationList
	ignoreExpiry bool
	advertise    bool
}

// verifyFailure is a client certificate that mode verify refuses, with the connection log's code for it.
type verifyFailure struct {
	code string
	err  error
}

func (v *verifyFailure) Error() string { return v.code + ": " + v.err.Error() }
func (v *verifyFailure) Unwrap() error { return v.err }

func planMutual(m MutualAuthentication, out *listenerPlan, path string, faults *Faults) {
	switch m.Mode {
	case "", "off": // with whatever stands beside it: DESIGN.md section 5 has it so
		return
	case "passthrough":
		out.mutual = m.Mode
		if m.TrustStore != "" || len(m.Revocations) > 0 || m.IgnoreClientCertificateExpiry || m.AdvertiseTrustStoreCANames == "on" {
			faults.add(path+".mode", "passthrough: only verify has a trust store, and what goes with it")
		}
		return
	case "verify":
		out.mutual = m.Mode
	default:
		faults.add(path+".mode", "%q: must be off, passthrough or verify", m.Mode)
		return
	}
	out.trust = clientTrust{roots: x509.NewCertPool(), ignoreExpiry: m.IgnoreClientCertificateExpiry}
	switch m.AdvertiseTrustStoreCANames {
	case "", "off":
	case "on":
		out.trust.advertise = true
	default:
		faults.add(path+".advertise_trust_store_ca_names", "%q: must be on or off", m.AdvertiseTrustStoreCANames)
	}
	if m.TrustStore == "" {
		faults.add(path+".trust_store", "mode verify needs one")
	} else if b, err := os.ReadFile(m.TrustStore); err != nil {
		faults.add(path+".trust_store", "%v", err)
	} else if !out.trust.roots.AppendCertsFromPEM(b) {
		faults.add(path+".trust_store", "%s holds no PEM certificate", m.TrustStore)
	}
	for i, name := range m.Revocations {
		lists, err := readRevocations(name)
		if err != nil {
			faults.add(path+".revocations["+strconv.Itoa(i)+"]", "%v", err)
		}
		out.trust.revoked = append(out.trust.revoked, lists...)
	}
}

func readRevocations(name string) ([]*x509.RevocationList, error) {
	rest, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out []*x509.RevocationList
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, list)
	}
	if out == nil {
		return nil, fmt.Errorf("%s holds no PEM revocation list", name)
	}
	return out, nil
}

// verify gives the error of a handshake with that chain, leaf first: alb.md section 10 (CONN). ClientCertMaxSizeExceeded and the
// number of links in a chain are limits of AWS's whose values are not known; neither is kept.
func (t *clientTrust) verify(chain []*x509.Certificate, now time.Time) error {
	leaf := chain[0]
	switch {
	case !clientKey(leaf):
		return &verifyFailure{"ClientCertTypeUnsupported", fmt.Errorf("a key of %T", leaf.PublicKey)}
	case now.Before(leaf.NotBefore):
		return &verifyFailure{"ClientCertNotYetValid", errors.New("not valid before " + leaf.NotBefore.Format(time.RFC3339))}
	case now.After(leaf.NotAfter) && !t.ignoreExpiry:
		return &verifyFailure{"ClientCertExpired", errors.New("not valid after " + leaf.NotAfter.Format(time.RFC3339))}
	case now.After(leaf.NotAfter):
		now = leaf.NotAfter
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: t.roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return &verifyFailure{verifyCode(err), err}
	}
	return t.checkRevoked(chains[0])
}

func verifyCode(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "ClientCertUntrusted"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		switch invalid.Reason {
		case x509.IncompatibleUsage:
			return "ClientCertPurposeInvalid"
		case x509.TooManyIntermediates:
			return "ClientCertMaxChainDepthExceeded"
		case x509.Expired:
			return "ClientCertExpired"
		default:
		}
	}
	return "ClientCertInvalid"
}

// clientKey tells whether a certificate may have such a key: alb.md section 3.
func clientKey(c *x509.Certificate) bool {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048 && k.N.BitLen() <= 8192
	case *ecdsa.PublicKey:
		return k.Params().BitSize >= 256
	}
	return false
}

// checkRevoked looks each certificate of a verified chain up in the lists of its issuer.
func (t *clientTrust) checkRevoked(chain []*x509.Certificate) error {
	for i, c := range chain[:len(chain)-1] {
		for _, list := range t.revoked {
			if !bytes.Equal(list.RawIssuer, c.RawIssuer) {
				continue
			}
			if err := list.CheckSignatureFrom(chain[i+1]); err != nil {
				return &verifyFailure{"ClientCertCrlProcessingError", err}
			}
			for _, entry := range list.RevokedCertificateEntries {
				if entry.SerialNumber.Cmp(c.SerialNumber) == 0 {
					return &verifyFailure{"ClientCertCrlHit", fmt.Errorf("serial number %X is revoked", c.SerialNumber)}
				}
			}
		}
	}
	return nil
}
