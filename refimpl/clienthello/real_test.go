package clienthello

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"io"
	"slices"
	"testing"
)

// echConfigs is an ECHConfigList with one configuration (RFC 9849 section 4) for a key that nobody keeps.
func echConfigs(t *testing.T, publicName string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	contents := bytes.Join([][]byte{
		{7, 0, 0x20}, // config_id, DHKEM(X25519, HKDF-SHA256)
		vec(2, key.PublicKey().Bytes()),
		vec(2, []byte{0, 1, 0, 1}), // HKDF-SHA256, AES-128-GCM
		{64},                       // maximum_name_length
		vec(1, []byte(publicName)),
		vec(2), // extensions
	}, nil)
	return vec(2, ext(extECH, contents))
}

// What clients really send and a router has only to get past, in records and segments of any size.
func TestPeekReadsWhatClientsReallySend(t *testing.T) {
	for _, c := range []struct {
		name   string
		config *tls.Config
		ech    bool
		sni    string
	}{
		{"X25519MLKEM768", &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}}, false, "secret.test"},
		{"SecP256r1MLKEM768", &tls.Config{CurvePreferences: []tls.CurveID{tls.SecP256r1MLKEM768}}, false, "secret.test"},
		{"SecP384r1MLKEM1024", &tls.Config{CurvePreferences: []tls.CurveID{tls.SecP384r1MLKEM1024}}, false, "secret.test"},
		{"P-521", &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}}, false, "secret.test"},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, false, "secret.test"},
		// The router sees the outer hello alone, and routes by the name that its author meant for it.
		{"ECH", &tls.Config{MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: echConfigs(t, "public.test")}, true, "public.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := c.config.Clone()
			config.ServerName, config.NextProtos, config.InsecureSkipVerify = "secret.test", []string{"p", "q"}, true
			hello := realHello(t, config)
			if c.ech && bytes.Contains(hello, []byte("secret.test")) {
				t.Fatal("the name is not encrypted")
			}
			for _, size := range []int{1, 7, 1000, 1 << 14} {
				wire := records(hello[5:], size)
				info, replay, err := Peek(&script{in: bytes.Clone(wire), piece: size}, Limits{})
				if err != nil {
					t.Fatalf("records of %d: %v", size, err)
				}
				if info.ServerName != c.sni || !slices.Equal(info.ALPN, []string{"p", "q"}) || info.HasECH != c.ech {
					t.Errorf("records of %d: %q %q, ECH %v", size, info.ServerName, info.ALPN, info.HasECH)
				}
				if got, err := io.ReadAll(replay); err != nil || !bytes.Equal(got, wire) {
					t.Errorf("records of %d: replayed %d of %d bytes alike: %v", size, len(got), len(wire), err)
				}
			}
		})
	}
}
