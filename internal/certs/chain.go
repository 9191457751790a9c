package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"time"
)

// ballast is an extension that no verifier knows, below the number that RFC 5612 sets aside for documentation.
var ballast = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1}

// Chain makes a leaf below two authorities of its own, each of the three certificates at least size bytes long, and returns them with
// the leaf in front and without this authority. The keys are small all the same: a long key takes minutes to make, and what a long
// chain is needed for is its length.
func (ca *CA) Chain(l Leaf, size int) (tls.Certificate, error) {
	parent := *ca
	var chain [][]byte
	for i := range 2 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("certs: key of %s: %w", l.CommonName, err)
		}
		template := &x509.Certificate{
			SerialNumber: serial(), Subject: pkix.Name{CommonName: fmt.Sprintf("%s, authority %d", l.CommonName, i+1)},
			NotBefore: time.Now().Add(-validity), NotAfter: time.Now().Add(validity), IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign, ExtraExtensions: padding(size),
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("certs: %s: %w", l.CommonName, err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("certs: %s: %w", l.CommonName, err)
		}
		parent, chain = CA{cert: cert, key: key}, append([][]byte{der}, chain...)
	}
	l.padding = size
	leaf, err := parent.Issue(l)
	leaf.Certificate = append(leaf.Certificate, chain...)
	return leaf, err
}

func padding(size int) []pkix.Extension {
	if size == 0 {
		return nil
	}
	return []pkix.Extension{{Id: ballast, Value: make([]byte, size)}}
}
