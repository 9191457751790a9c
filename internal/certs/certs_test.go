package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

func TestIssuedLeafVerifiesByItsAuthorityOnly(t *testing.T) {
	ours, err := certs.NewCA("ours")
	if err != nil {
		t.Fatal(err)
	}
	other, err := certs.NewCA("other")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ours.Issue(certs.Leaf{CommonName: "a.example.test", DNS: []string{"a.example.test"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: ours.Pool(), DNSName: "a.example.test"}); err != nil {
		t.Errorf("own authority: %v", err)
	}
	if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: other.Pool()}); err == nil {
		t.Error("another authority verifies the leaf")
	}
	if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: ours.Pool(), DNSName: "b.example.test"}); err == nil {
		t.Error("another name verifies")
	}
}

func TestExpiredLeafIsRefused(t *testing.T) {
	ca, err := certs.NewCA("ours")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(certs.Leaf{CommonName: "old", Client: true, NotAfter: time.Now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = leaf.Leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err == nil {
		t.Error("an expired certificate verifies")
	}
}

func TestWrittenPairLoads(t *testing.T) {
	cert, err := certs.SelfSigned(certs.Leaf{CommonName: "self", DNS: []string{"self.test"}})
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, err := certs.WritePEM(t.TempDir(), "self", cert)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Error(err)
	}
}

func TestAChainIsAsLongAsItIsAskedForAndVerifies(t *testing.T) {
	ca, err := certs.NewCA("root")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Chain(certs.Leaf{CommonName: "long", Client: true}, 2000)
	if err != nil {
		t.Fatal(err)
	}
	between := x509.NewCertPool()
	for i, der := range cert.Certificate {
		if len(der) < 2000 {
			t.Errorf("certificate %d has %d bytes", i, len(der))
		}
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		between.AddCert(parsed)
	}
	options := x509.VerifyOptions{Roots: ca.Pool(), Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := cert.Leaf.Verify(options); err != nil || len(cert.Certificate) != 3 {
		t.Errorf("%d certificates: %v", len(cert.Certificate), err)
	}
}
