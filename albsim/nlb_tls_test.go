package albsim

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestNLB_TLS_01_02_03_ALPNPolicies(t *testing.T) {
	at := repeat(t)
	for _, one := range []struct {
		policy string
		offer  []string
		want   string
	}{
		{"", []string{"h2"}, ""},
		{"None", []string{"http/1.1", "h2"}, ""},
		{"HTTP2Preferred", []string{"http/1.1", "h2"}, "h2"},
		{"HTTP2Preferred", []string{"http/1.0"}, "http/1.0"},
		{"HTTP2Optional", []string{"h2", "http/1.1"}, "http/1.1"},
		{"HTTP2Optional", []string{"h2"}, "h2"},
		{"HTTP1Only", []string{"h2", "http/1.0", "http/1.1"}, "http/1.1"},
		{"HTTP1Only", []string{"h2"}, ""},
		{"HTTP2Only", []string{"http/1.1"}, ""},
		{"HTTP2Only", []string{"http/1.1", "h2"}, "h2"},
		{"HTTP2Preferred", []string{"teleport-x"}, ""},
		{"HTTP2Preferred", nil, ""},
	} {
		m := start(t, throughTLS(t, one.policy, at.addr), Options{})
		c, conn := m.dialTLS(&tls.Config{NextProtos: one.offer})
		if got := conn.ConnectionState().NegotiatedProtocol; got != one.want {
			t.Errorf("policy %q, offer %q: %q, want %q", one.policy, one.offer, got, one.want)
		}
		c.send("through")
		c.expect("through")
	}
}

func TestNLB_TLS_04_NoCertificateIsEverAskedFor(t *testing.T) {
	m := start(t, throughTLS(t, "", repeat(t).addr), Options{})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, _ := m.dialTLS(&tls.Config{
			MaxVersion: version,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				t.Errorf("%s: asked for a certificate", tls.VersionName(version))
				return new(tls.Certificate), nil
			},
		})
		c.send("through")
		c.expect("through")
	}
}

func TestTLSToTheTarget(t *testing.T) {
	cert := loadCert(t, makeCert(t, nil, "target"))
	header := make(chan int, 2)
	at := sink(t, func(c *client) {
		n, _ := io.ReadFull(c.Conn, make([]byte, 16+84)) // before TLS
		header <- n
		conn := tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}})
		_, _ = io.Copy(conn, conn)
		conn.Close()
	})
	cfg := throughTLS(t, "HTTP2Preferred", at.addr)
	cfg.TargetGroups[0].Protocol = "TLS"
	cfg.TargetGroups[0].Attributes["proxy_protocol_v2.enabled"] = true
	hellos := make(chan HelloEvent, 1)
	m := start(t, cfg, Options{OnTargetHello: func(e HelloEvent) { hellos <- e }})
	c, conn := m.dialTLS(&tls.Config{NextProtos: []string{"http/1.1", "h2"}, ServerName: "nlb.example.test"})
	c.send("through")
	c.expect("through")
	if e := <-hellos; e.SNI != "" || strings.Join(e.ALPN, " ") != "h2" || e.Negotiated != "h2" {
		t.Errorf("the target was told %+v", e)
	}
	if n := <-header; n != 100 {
		t.Errorf("%d bytes in front of TLS, want a PROXY header", n)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.br.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("behind it: %v, want EOF", err)
	}
	c.Close()
	f := m.logLines(1)[0]
	if len(f) != 21 {
		t.Fatalf("%d fields: %q", len(f), f)
	}
	for i, want := range map[int]string{
		0: "tls", 1: "2.0", 3: networkName, 5: c.LocalAddr().String(), 6: m.addr, 9: "7", 10: "7", 11: "-", 12: certARN, 13: "-",
		14: "TLS_AES_128_GCM_SHA256", 15: "tlsv13", 16: "-", 17: "nlb.example.test", 18: "h2", 19: "h2", 20: `"http/1.1","h2"`,
	} {
		if f[i] != want {
			t.Errorf("field %d is %s, want %s", i, f[i], want)
		}
	}
	m.counted(map[string]int64{"NewFlowCount_TLS": 1, "NewFlowCount_TCP": 0, "ProcessedBytes_TLS": 14, "ActiveFlowCount": 0})
}

func TestFailedHandshakesAreLoggedAndCounted(t *testing.T) {
	m := start(t, throughTLS(t, "", repeat(t).addr), Options{})
	refuse := func([][]byte, [][]*x509.Certificate) error { return errors.New("not that one") }
	if _, err := tls.Dial("tcp", m.addr, &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: refuse}); err == nil {
		t.Fatal("the client accepted the certificate")
	}
	f := m.logLines(1)[0]
	if f[8] != "-" || f[11] != "42" || f[9] != "0" || f[12] != certARN || f[14] != "-" || f[20] != "-" {
		t.Errorf("log %q, want alert 42, a certificate and no handshake", f)
	}
	m.counted(map[string]int64{"ClientTLSNegotiationErrorCount": 1, "NewFlowCount": 0})
}

func TestTargetThatSpeaksNoTLS(t *testing.T) {
	cfg := throughTLS(t, "", repeat(t).addr)
	cfg.TargetGroups[0].Protocol = "TLS"
	m := start(t, cfg, Options{})
	c, _ := m.dialTLS(&tls.Config{})
	c.isReset()
	m.counted(map[string]int64{"TargetTLSNegotiationErrorCount": 1, "TCP_ELB_Reset_Count": 1})
}

func TestPreferencesOfTheLogAreBounded(t *testing.T) {
	if got := preferences([]string{"a b", "http/1.1", `x"y`}); got != `"a+b","http/1.1","x%22y"` {
		t.Errorf("got %s", got)
	}
	if got := preferences([]string{"h2", strings.Repeat("x", 255)}); got != `"h2","`+strings.Repeat("x", 250) {
		t.Errorf("got %s", got)
	}
}

func TestCertificatesOf2023CanBeRefused(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cfg := throughTLS(t, "", "127.0.0.1:1")
	cfg.Profile = withNetworkKnobs(t, "test-2023", func(p *Profile) { p.LargeCertificates = false })
	cfg.Listeners[0].Certificates = []Certificate{makeKeyCert(t, key, nil, "rsa"), makeCert(t, nil, elliptic.P256().Params().Name)}
	refused(t, cfg, "listeners[0].certificates[1]")
}
