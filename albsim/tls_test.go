package albsim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestALB_TLS_01_02_03_04_ALPNMatrix(t *testing.T) {
	m := start(t, secure(t, newStub(t, nil, ok).addr), Options{})
	for _, c := range []struct {
		row   string
		offer []string
		want  string
	}{
		{"TLS-01 h2", []string{"h2"}, "h2"},
		{"TLS-02 h2 first", []string{"h2", "http/1.1"}, "h2"},
		{"TLS-02 h2 last", []string{"http/1.1", "h2"}, "h2"},
		{"TLS-03 unknown only", []string{"x-custom"}, ""},
		{"TLS-03 several unknown", []string{"teleport-postgres", "grpc-exp"}, ""},
		{"TLS-04 unknown and h2", []string{"x-custom", "h2"}, "h2"},
		{"TLS-04 unknown and http/1.1", []string{"x-custom", "http/1.1"}, "http/1.1"},
	} {
		t.Run(c.row, func(t *testing.T) {
			_, conn := m.dialTLS(&tls.Config{NextProtos: c.offer})
			if got := conn.ConnectionState().NegotiatedProtocol; got != c.want {
				t.Errorf("offer %v negotiated %q, want %q", c.offer, got, c.want)
			}
		})
	}
}

func TestALB_TLS_05_NoALPNSpeaksHTTP1(t *testing.T) {
	m := start(t, secure(t, newStub(t, nil, ok).addr), Options{})
	c, conn := m.dialTLS(&tls.Config{})
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if status, _, body := c.response(); status != 200 || body != "ok" || conn.ConnectionState().NegotiatedProtocol != "" {
		t.Errorf("status %d, body %q, ALPN %q", status, body, conn.ConnectionState().NegotiatedProtocol)
	}
}

func TestALB_TLS_06_H2PrefaceWithoutH2Is400(t *testing.T) {
	m := start(t, secure(t, newStub(t, nil, ok).addr), Options{})
	c, _ := m.dialTLS(&tls.Config{NextProtos: []string{"grpc-exp"}})
	c.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if status, head, _ := c.response(); status != 400 || fieldOf(head, "Server") != "awselb/2.0" {
		t.Errorf("got %q", head)
	}
}

func TestALB_TLS_07_HTTP2Off(t *testing.T) {
	cfg := secure(t, newStub(t, nil, ok).addr)
	cfg.Attributes["routing.http2.enabled"] = false
	m := start(t, cfg, Options{})
	for offer, want := range map[string]string{"http/1.1": "http/1.1", "": ""} {
		_, conn := m.dialTLS(&tls.Config{NextProtos: slices.DeleteFunc([]string{"h2", offer}, func(s string) bool { return s == "" })})
		if got := conn.ConnectionState().NegotiatedProtocol; got != want {
			t.Errorf("h2 and %q negotiated %q, want %q", offer, got, want)
		}
	}
}

func TestALB_TLS_08_09_DefaultCertificate(t *testing.T) {
	cfg := secure(t, newStub(t, nil, ok).addr)
	other := makeCert(t, nil, "other.example.test")
	cfg.Listeners[0].Certificates = append(cfg.Listeners[0].Certificates, other)
	m := start(t, cfg, Options{})
	for sni, want := range map[string]string{
		"":                     "alb.example.test",
		"unknown.example.test": "alb.example.test",
		"other.example.test":   "other.example.test",
	} {
		_, conn := m.dialTLS(&tls.Config{ServerName: sni})
		if got := conn.ConnectionState().PeerCertificates[0].DNSNames[0]; got != want {
			t.Errorf("SNI %q got the certificate of %s, want %s", sni, got, want)
		}
	}
}

func TestALB_TLS_11_12_13_PolicyVersions(t *testing.T) {
	for _, c := range []struct {
		policy   string
		max      uint16
		want     uint16 // 0: refused
		hybridOK bool
	}{
		{"", tls.VersionTLS13, tls.VersionTLS12, false},
		{"", tls.VersionTLS10, tls.VersionTLS10, false},
		{"ELBSecurityPolicy-TLS13-1-2-2021-06", tls.VersionTLS11, 0, false},
		{"ELBSecurityPolicy-TLS13-1-2-2021-06", tls.VersionTLS13, tls.VersionTLS13, false},
		{"ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", tls.VersionTLS13, tls.VersionTLS13, true},
		{"ELBSecurityPolicy-TLS13-1-3-2021-06", tls.VersionTLS12, 0, false},
	} {
		cfg := secure(t, "127.0.0.1:1")
		cfg.Listeners[0].SSLPolicy = c.policy
		m := start(t, cfg, Options{})
		conn, err := tls.Dial("tcp", m.addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: c.max})
		if c.want == 0 {
			var op *net.OpError // crypto/tls does not export the type of an alert outside QUIC
			if !errors.As(err, &op) || op.Op != "remote error" || op.Err.Error() != "tls: protocol version not supported" {
				t.Errorf("%s, at most %x: error %v, want alert protocol_version", c.policy, c.max, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s, at most %x: %v", c.policy, c.max, err)
			continue
		}
		state := conn.ConnectionState()
		conn.Close()
		if state.Version != c.want || (state.CurveID == tls.X25519MLKEM768) != c.hybridOK {
			t.Errorf("%s, at most %x: version %x with %v", c.policy, c.max, state.Version, state.CurveID)
		}
	}
}

func TestALB_TLS_10_SmartCertificateSelection(t *testing.T) {
	const name = "many.example.test"
	short, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	long, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg := secure(t, "127.0.0.1:1")
	l := &cfg.Listeners[0]
	l.Certificates = append(l.Certificates, makeKeyCert(t, short, nil, name), makeCert(t, nil, name), makeKeyCert(t, long, nil, name))
	m := start(t, cfg, Options{})
	for _, c := range []struct {
		client string
		suites []uint16
		want   any
	}{
		{"any suite", nil, long.Public()},
		{"RSA only", []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, short.Public()},
	} {
		_, conn := m.dialTLS(&tls.Config{ServerName: name, MaxVersion: tls.VersionTLS12, CipherSuites: c.suites})
		got := conn.ConnectionState().PeerCertificates[0].PublicKey
		if want := c.want.(interface{ Equal(x crypto.PublicKey) bool }); !want.Equal(got) {
			t.Errorf("%s: got a certificate with a %T, not the one with %T", c.client, got, c.want)
		}
	}
}

func TestALB_TLS_14_ResRefusesCBC(t *testing.T) {
	cbc := &tls.Config{
		InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256},
	}
	for policy, want := range map[string]string{
		"ELBSecurityPolicy-TLS13-1-2-2021-06":     "",
		"ELBSecurityPolicy-TLS13-1-2-Res-2021-06": "remote error: tls: handshake failure",
	} {
		cfg := secure(t, "127.0.0.1:1")
		cfg.Listeners[0].SSLPolicy = policy
		conn, err := tls.Dial("tcp", start(t, cfg, Options{}).addr, cbc)
		if err == nil {
			conn.Close()
		}
		if got := errorText(err); got != want {
			t.Errorf("%s: a client with CBC only got error %q, want %q", policy, got, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// swapped exchanges two suites of the ClientHello that goes through it, which crypto/tls would send in its own order only,
// and keeps what comes back.
type swapped struct {
	net.Conn
	from, to []byte
	done     bool
	heard    []byte
}

func (c *swapped) Write(p []byte) (int, error) {
	if q := bytes.Replace(p, c.from, c.to, 1); !c.done && !bytes.Equal(p, q) {
		c.done, p = true, q
	}
	return c.Conn.Write(p)
}

func (c *swapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.heard = append(c.heard, p[:n]...)
	return n, err
}

func TestALB_TLS_15_TheServersOrderOfSuitesCounts(t *testing.T) {
	m := start(t, secure(t, "127.0.0.1:1"), Options{})
	for name, order := range map[string][]byte{"128 first": {0xc0, 0x2b, 0xc0, 0x2c}, "256 first": {0xc0, 0x2c, 0xc0, 0x2b}} {
		c := &swapped{Conn: m.dial().Conn, from: []byte{0xc0, 0x2b, 0xc0, 0x2c}, to: order}
		err := tls.Client(c, &tls.Config{
			InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384},
		}).Handshake()
		changed := !bytes.Equal(c.from, c.to)
		if c.done != changed || (err != nil) != changed { // a changed hello fails later on, at Finished
			t.Fatalf("%s: hello changed: %v, handshake: %v", name, c.done, err)
		}
		// ServerHello: record and message headers, version, random, session id, and then the suite.
		at := 5 + 4 + 2 + 32
		if len(c.heard) < at+1+32+2 {
			t.Fatalf("%s: the server said %x", name, c.heard)
		}
		at += 1 + int(c.heard[at])
		if got := c.heard[at : at+2]; !bytes.Equal(got, []byte{0xc0, 0x2b}) {
			t.Errorf("%s: suite %x, want c02b", name, got)
		}
	}
}

func TestALB_MTLS_01_OffAsksForNoCertificate(t *testing.T) {
	var hello HelloEvent
	done := make(chan struct{})
	m := start(t, secure(t, "127.0.0.1:1"), Options{OnFrontHello: func(e HelloEvent) { hello = e; close(done) }})
	asked := false
	m.dialTLS(&tls.Config{
		ServerName: "alb.example.test", NextProtos: []string{"x-custom"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		},
	})
	<-done
	if asked {
		t.Error("the client was asked for a certificate")
	}
	if hello.SNI != "alb.example.test" || !slices.Equal(hello.ALPN, []string{"x-custom"}) || hello.ClientCert || hello.Err != nil {
		t.Errorf("front hello reported as %+v", hello)
	}
}

func TestALB_MTLS_02_03_PassthroughPassesAnyChain(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := secure(t, target.addr)
	cfg.Listeners[0].MutualAuthentication.Mode = "passthrough"
	m := start(t, cfg, Options{})
	expired := loadCert(t, makeCert(t, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(time.Minute) }, "client"))

	c, _ := m.dialTLS(&tls.Config{Certificates: []tls.Certificate{expired}})
	c.send("GET / HTTP/1.1\r\nHost: a\r\nX-Amzn-Mtls-Clientcert: forged\r\n\r\n")
	c.response()
	head := target.head(t)
	if got := unescapePEM(t, fieldOf(head, "X-Amzn-Mtls-Clientcert")); !got.Equal(expired.Leaf) {
		t.Errorf("the header's first certificate is %s", got.Subject)
	}

	c, _ = m.dialTLS(&tls.Config{})
	c.send("GET / HTTP/1.1\r\nHost: a\r\nX-Amzn-Mtls-Clientcert: forged\r\n\r\n")
	if status, _, _ := c.response(); status != 200 {
		t.Errorf("without a certificate: status %d", status)
	}
	if head := target.head(t); has(head, "X-Amzn-Mtls-Clientcert") {
		t.Errorf("without a certificate the target got %q", head)
	}
}

func TestALB_MTLS_04_05_Verify(t *testing.T) {
	target := newStub(t, nil, ok)
	good := makeCert(t, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, "client")
	cfg := secure(t, target.addr)
	cfg.Listeners[0].MutualAuthentication = MutualAuthentication{Mode: "verify", TrustStore: good.Cert}
	m := start(t, cfg, Options{})

	c, _ := m.dialTLS(&tls.Config{Certificates: []tls.Certificate{loadCert(t, good)}})
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.response()
	head := target.head(t)
	for _, name := range []string{"Serial-Number", "Issuer", "Subject", "Validity", "Leaf"} {
		if !has(head, "X-Amzn-Mtls-Clientcert-"+name) {
			t.Errorf("no %s in %q", name, head)
		}
	}
	if has(head, "X-Amzn-Mtls-Clientcert") {
		t.Error("verify sends the chain of passthrough")
	}
	for name, certs := range map[string][]tls.Certificate{"none": nil, "untrusted": {loadCert(t, makeCert(t, nil, "stranger"))}} {
		conn, err := tls.Dial("tcp", m.addr, &tls.Config{InsecureSkipVerify: true, Certificates: certs})
		if err == nil { // TLS 1.3: the refusal comes with the first read
			var n int
			if n, err = conn.Read(make([]byte, 1)); n > 0 || errors.Is(err, io.EOF) {
				t.Errorf("%s: read %d bytes, %v; want a TLS failure", name, n, err)
			}
			conn.Close()
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestALB_MTLS_08_NoResumption(t *testing.T) {
	for mode, want := range map[string]bool{"off": true, "passthrough": false} {
		cfg := secure(t, newStub(t, nil, ok).addr)
		cfg.Listeners[0].MutualAuthentication.Mode = mode
		m := start(t, cfg, Options{})
		client := &tls.Config{ServerName: "alb.example.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		resumed := false
		for range 2 {
			c, conn := m.dialTLS(client)
			c.send(plainGet)
			c.response() // a ticket of TLS 1.3 comes behind the handshake
			resumed = conn.ConnectionState().DidResume
			conn.Close()
		}
		if resumed != want {
			t.Errorf("%s: the second connection resumed: %v, want %v", mode, resumed, want)
		}
	}
}

func TestALB_MTLS_09_ForgedFieldsDoNotPass(t *testing.T) {
	target := newStub(t, nil, ok)
	for _, mode := range []string{"off", "passthrough"} {
		cfg := secure(t, target.addr)
		cfg.Listeners[0].MutualAuthentication.Mode = mode
		c, _ := start(t, cfg, Options{}).dialTLS(&tls.Config{})
		c.send("GET / HTTP/1.1\r\nHost: a\r\nX-Amzn-Mtls-Clientcert-Leaf: forged\r\nx-amzn-mtls-clientcert: forged\r\n\r\n")
		c.response()
		if head := target.head(t); strings.Contains(head, "forged") {
			t.Errorf("%s: the target got %q", mode, head)
		}
	}
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, func(p *Profile) { p.ForgedMTLSHeaders = "pass" })
	if head := ask(t, start(t, cfg, Options{}), target, "X-Amzn-Mtls-Clientcert: forged"); !has(head, "X-Amzn-Mtls-Clientcert") {
		t.Errorf("with the knob at pass the target got %q", head)
	}
}

// TestALB_MTLS_09_ForgedFieldsByTheKnob has the client forge a field that the balancer has to say, twice, and one that it has not.
func TestALB_MTLS_09_ForgedFieldsByTheKnob(t *testing.T) {
	for how, want := range map[string][]string{ // lines beside the Issuer's, which OURS stands for
		"strip":   {"X-Amzn-Mtls-Clientcert-Issuer: OURS"},
		"replace": {"X-Amzn-Mtls-Clientcert-Issuer: OURS", "X-Amzn-Mtls-Clientcert: none of ours"},
		"append":  {"X-Amzn-Mtls-Clientcert-Issuer: forged, again, OURS", "X-Amzn-Mtls-Clientcert: none of ours"},
		"pass": {
			"X-Amzn-Mtls-Clientcert-Issuer: OURS", "x-amzn-mtls-clientcert-issuer: forged", "X-Amzn-Mtls-Clientcert-Issuer: again",
			"X-Amzn-Mtls-Clientcert: none of ours",
		},
	} {
		t.Run(how, func(t *testing.T) {
			ca := newAuthority(t, "the clients' CA")
			target := newStub(t, nil, ok)
			cfg := secure(t, target.addr)
			cfg.Listeners[0].MutualAuthentication = MutualAuthentication{Mode: "verify", TrustStore: ca.pem}
			cfg.Profile = withKnobs(t, func(p *Profile) { p.ForgedMTLSHeaders = how })
			own := ca.issue(1, nil, nil)
			c, _ := start(t, cfg, Options{}).dialTLS(&tls.Config{Certificates: []tls.Certificate{own}})
			c.send("GET / HTTP/1.1\r\nHost: a\r\nx-amzn-mtls-clientcert-issuer: forged\r\nX-Amzn-Mtls-Clientcert-Issuer: again\r\n" +
				"X-Amzn-Mtls-Clientcert: none of ours\r\n\r\n")
			c.response()
			var got []string
			for line := range strings.SplitSeq(target.head(t), "\r\n") {
				if name, _, _ := strings.Cut(strings.ToLower(line), ":"); name == "x-amzn-mtls-clientcert" || name == "x-amzn-mtls-clientcert-issuer" {
					got = append(got, strings.ReplaceAll(line, ca.cert.Subject.String(), "OURS"))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("the target got %q, want %q", got, want)
			}
		})
	}
}

// TestALB_TLS_16_RenegotiationIsRefused has openssl ask for it: crypto/tls has no client that does.
func TestALB_TLS_16_RenegotiationIsRefused(t *testing.T) {
	var hellos atomic.Int32
	m := start(t, secure(t, newStub(t, nil, ok).addr), Options{OnFrontHello: func(HelloEvent) { hellos.Add(1) }})
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	client := exec.CommandContext(ctx, "openssl", "s_client", "-connect", m.addr, "-tls1_2")
	client.Stdin = strings.NewReader("R\n") // the command for it
	out, err := client.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "RENEGOTIATING") || !strings.Contains(string(out), "alert unexpected message") {
		t.Errorf("openssl says %v:\n%s", err, out)
	}
	if n := hellos.Load(); n != 1 {
		t.Errorf("%d handshakes", n)
	}
}
