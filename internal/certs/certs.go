// Package certs makes the certificates of a lab: authorities, leaves for servers and clients, and self-signed ones as
// load balancer targets have them in the field. Keys are ECDSA P-256 unless
// RSA is asked for; everything is valid for a day around now unless
// told otherwise, so that a forgotten file is worthless soon.
package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const validity = 24 * time.Hour

// CA is a certificate authority with its key.
type CA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// Leaf describes a certificate to be made.
type Leaf struct {
	CommonName string
	DNS        []string
	IPs        []net.IP
	// RSA makes the key one of RSA with 2048 bits.
	RSA bool
	// Client makes a certificate for client authentication instead of a server's.
	Client bool
	// NotBefore and NotAfter default to a day before and a day after now.
	NotBefore, NotAfter time.Time

	padding int // bytes of an extension that nobody reads
}

// NewCA makes an authority of the given common name.
func NewCA(name string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certs: key of %s: %w", name, err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-validity),
		NotAfter:              time.Now().Add(validity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certs: %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certs: %s: %w", name, err)
	}
	return &CA{cert: cert, key: key}, nil
}

// Issue makes a leaf signed by the authority.
func (ca *CA) Issue(l Leaf) (tls.Certificate, error) {
	return issue(l, ca.cert, ca.key)
}

// SelfSigned makes a leaf that is its own issuer.
func SelfSigned(l Leaf) (tls.Certificate, error) {
	return issue(l, nil, nil)
}

// Pool returns a pool of just this authority.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// PEM returns the authority's certificate.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

func issue(l Leaf, parent *x509.Certificate, parentKey crypto.Signer) (tls.Certificate, error) {
	key, err := newKey(l.RSA)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certs: key of %s: %w", l.CommonName, err)
	}
	if l.NotBefore.IsZero() {
		l.NotBefore = time.Now().Add(-validity)
	}
	if l.NotAfter.IsZero() {
		l.NotAfter = time.Now().Add(validity)
	}
	usage := x509.ExtKeyUsageServerAuth
	if l.Client {
		usage = x509.ExtKeyUsageClientAuth
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: l.CommonName},
		DNSNames:     l.DNS,
		IPAddresses:  l.IPs,
		NotBefore:    l.NotBefore,
		NotAfter:     l.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{usage},

		ExtraExtensions: padding(l.padding),
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certs: %s: %w", l.CommonName, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certs: %s: %w", l.CommonName, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func newKey(isRSA bool) (crypto.Signer, error) {
	if isRSA {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// WritePEM writes name.pem and name-key.pem (mode 0600) into dir and returns their paths.
func WritePEM(dir, name string, cert tls.Certificate) (certFile, keyFile string, err error) {
	var chain []byte
	for _, der := range cert.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return "", "", fmt.Errorf("certs: key of %s: %w", name, err)
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")
	if err := os.WriteFile(certFile, chain, 0o644); err != nil {
		return "", "", fmt.Errorf("certs: %w", err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(keyFile, key, 0o600); err != nil {
		return "", "", fmt.Errorf("certs: %w", err)
	}
	return certFile, keyFile, nil
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic("certs: no randomness: " + err.Error()) // crypto/rand never fails on supported systems
	}
	return n
}
