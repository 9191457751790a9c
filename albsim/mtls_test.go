package albsim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// authority is a CA of one test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
	pem  string // its certificate's file
}

func newAuthority(t *testing.T, name string) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := makeKeyCert(t, key, func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: name}
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	})
	return &authority{t, loadCert(t, c).Leaf, key, c.Cert}
}

// issue makes a client's certificate of that serial number.
func (a *authority) issue(serial int64, key crypto.Signer, edit func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			a.t.Fatal(err)
		}
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if edit != nil {
		edit(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// revoke writes a list of the authority's with those serial numbers, signed by another's key if there is one.
func (a *authority) revoke(signer *authority, serials ...int64) string {
	a.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, n := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, signer.key)
	if err != nil {
		a.t.Fatal(err)
	}
	path := filepath.Join(a.t.TempDir(), "crl.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// verdictOn is what the connection log says of a client with that certificate.
func (m *sim) verdictOn(log string, cert tls.Certificate) string {
	m.t.Helper()
	if err := os.Truncate(log, 0); err != nil {
		m.t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", m.addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}})
	if err == nil { // TLS 1.3: a refusal comes behind the handshake
		newClient(m.t, conn)
	}
	return verdict(m.t, log)
}

func verifying(t *testing.T, a *authority) (cfg Config, log string) {
	cfg = secure(t, "127.0.0.1:1")
	log = filepath.Join(t.TempDir(), "connection.log")
	cfg.Logs.Connection = log
	cfg.Listeners[0].MutualAuthentication = MutualAuthentication{Mode: "verify", TrustStore: a.pem}
	return cfg, log
}

func TestALB_MTLS_07_RevokedCertificates(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	cfg, log := verifying(t, ca)
	cfg.Listeners[0].MutualAuthentication.Revocations = []string{other.revoke(other, 2), ca.revoke(ca, 7, 8)}
	m := start(t, cfg, Options{})
	for serial, want := range map[int64]string{7: "Failed:ClientCertCrlHit", 8: "Failed:ClientCertCrlHit", 2: "Success"} {
		if got := m.verdictOn(log, ca.issue(serial, nil, nil)); got != want {
			t.Errorf("serial number %d: %s, want %s", serial, got, want)
		}
	}
	cfg.Listeners[0].MutualAuthentication.Revocations = []string{ca.revoke(other, 7)}
	forged := start(t, cfg, Options{})
	if got := forged.verdictOn(log, ca.issue(1, nil, nil)); got != "Failed:ClientCertCrlProcessingError" {
		t.Errorf("a list with another's signature: %s", got)
	}
}

func TestALB_MTLS_06_CodesOfIssuedCertificates(t *testing.T) {
	ca, stranger := newAuthority(t, "ca"), newAuthority(t, "stranger")
	cfg, log := verifying(t, ca)
	m := start(t, cfg, Options{})
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	for _, c := range []struct {
		name string
		cert tls.Certificate
		want string
	}{
		{"ECDSA", ca.issue(1, nil, nil), "Success"},
		{"RSA", ca.issue(1, long, nil), "Success"},
		{"expired", ca.issue(1, nil, expired), "Failed:ClientCertExpired"},
		{"early", ca.issue(1, nil, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), "Failed:ClientCertNotYetValid"},
		{"a stranger's", stranger.issue(1, nil, nil), "Failed:ClientCertUntrusted"},
		{"for servers", ca.issue(1, nil, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), "Failed:ClientCertPurposeInvalid"},
		{"Ed25519", ca.issue(1, ed, nil), "Failed:ClientCertTypeUnsupported"},
	} {
		if got := m.verdictOn(log, c.cert); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if clientKey(&x509.Certificate{PublicKey: weak.Public()}) { // crypto/tls does not even sign with it
		t.Error("P-224 passes")
	}
	cfg.Listeners[0].MutualAuthentication.IgnoreClientCertificateExpiry = true
	if got := start(t, cfg, Options{}).verdictOn(log, ca.issue(1, nil, expired)); got != "Success" {
		t.Errorf("an expired certificate where that is to be ignored: %s", got)
	}
}

func TestTrustStoreNamesAreAdvertisedWhenAskedFor(t *testing.T) {
	ca := newAuthority(t, "ca")
	for word, want := range map[string]int{"": 0, "off": 0, "on": 1} {
		cfg, _ := verifying(t, ca)
		cfg.Listeners[0].MutualAuthentication.AdvertiseTrustStoreCANames = word
		asked := make(chan [][]byte, 1)
		conn, err := tls.Dial("tcp", start(t, cfg, Options{}).addr, &tls.Config{
			InsecureSkipVerify: true,
			GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked <- r.AcceptableCAs
				return new(ca.issue(1, nil, nil)), nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		newClient(t, conn)
		if got := <-asked; len(got) != want || want > 0 && !slices.Equal(got[0], ca.cert.RawSubject) {
			t.Errorf("%q: the request names %q", word, got)
		}
	}
}

func TestMutualAuthenticationIsChecked(t *testing.T) {
	ca := newAuthority(t, "ca")
	cfg, _ := verifying(t, ca)
	m := &cfg.Listeners[0].MutualAuthentication
	m.Revocations, m.AdvertiseTrustStoreCANames = []string{ca.pem, "/nowhere"}, "yes"
	_, err := New(cfg, Options{})
	for _, want := range []string{"revocations[0]", "revocations[1]", "must be on or off"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	m.Mode, m.AdvertiseTrustStoreCANames = "passthrough", ""
	if _, err := New(cfg, Options{}); err == nil || !strings.Contains(err.Error(), "only verify has a trust store") {
		t.Errorf("got %v", err)
	}
}
