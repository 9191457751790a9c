package albsim

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// TestALPNNoOverlap shows what clients of every sort see of each word; http/1.1 relies on crypto/tls selecting from the
// slice that GetConfigForClient is shown.
func TestALPNNoOverlap(t *testing.T) {
	for _, c := range []struct {
		word    string
		offer   []string
		version uint16
		want    string // negotiated
		failure string
	}{
		{"ignore", []string{"x"}, tls.VersionTLS13, "", ""},
		{"alert120", []string{"x"}, tls.VersionTLS13, "", "no application protocol"},
		{"http/1.1", []string{"x", "y"}, tls.VersionTLS13, "", "unadvertised ALPN"},
		{"http/1.1", []string{"x"}, tls.VersionTLS12, "", "unadvertised ALPN"},
		{"http/1.1", []string{"x", "http/1.1"}, tls.VersionTLS13, "http/1.1", ""},
		{"http/1.1", nil, tls.VersionTLS13, "", ""},
		{"echo", []string{"x", "y"}, tls.VersionTLS13, "x", ""},
		{"echo", []string{"x"}, tls.VersionTLS12, "x", ""},
		{"echo", nil, tls.VersionTLS12, "", ""},
		{"eof", []string{"x"}, tls.VersionTLS13, "", "EOF"},
		{"eof", []string{"x"}, tls.VersionTLS12, "", "EOF"},
		{"eof", nil, tls.VersionTLS13, "", ""},
		{"eof", []string{"x", "http/1.1"}, tls.VersionTLS13, "http/1.1", ""},
	} {
		t.Run(c.word+" "+strings.Join(c.offer, ","), func(t *testing.T) {
			cfg := secure(t, "127.0.0.1:1")
			cfg.Profile = withKnobs(t, func(p *Profile) { p.ALPNNoOverlap = c.word })
			hellos := make(chan HelloEvent, 1)
			m := start(t, cfg, Options{OnFrontHello: func(e HelloEvent) { hellos <- e }})
			conn, err := tls.Dial("tcp", m.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: c.offer, MaxVersion: c.version})
			if err == nil {
				defer conn.Close()
				if got := conn.ConnectionState().NegotiatedProtocol; got != c.want {
					t.Errorf("negotiated %q, want %q", got, c.want)
				}
			}
			if (err != nil) != (c.failure != "") || err != nil && !strings.Contains(err.Error(), c.failure) {
				t.Errorf("error %v, want one of %q", err, c.failure)
			}
			if e := <-hellos; strings.Join(e.ALPN, ",") != strings.Join(c.offer, ",") {
				t.Errorf("the hook was told of the offer %q, want %q", e.ALPN, c.offer)
			}
		})
	}
}

func TestALPNEndOfFileIsOneWithoutAnyByte(t *testing.T) {
	cfg := secure(t, "127.0.0.1:1")
	cfg.Profile = "eof-on-unknown-alpn"
	c := start(t, cfg, Options{}).dial()
	told := &tapped{Conn: c.Conn}
	if err := tls.Client(told, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"x"}}).Handshake(); err == nil {
		t.Error("the handshake succeeded")
	}
	if told.read != 0 || !errors.Is(told.end, io.EOF) {
		t.Errorf("the client read %d bytes and then %v, want none and EOF", told.read, told.end)
	}
}

// tapped counts what was read and keeps how that ended.
type tapped struct {
	net.Conn
	read int
	end  error
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read += n
	if err != nil {
		c.end = err
	}
	return n, err
}

func TestBackendCertificateIsVerifiedForTheNameThatWasSent(t *testing.T) {
	cert := loadCert(t, makeCert(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }, "a.test"))
	trusted := x509.NewCertPool()
	trusted.AddCert(cert.Leaf)
	for _, c := range []struct {
		sni, host string
		roots     *x509.CertPool
		want      int
	}{
		{"none", "a.test", trusted, 200}, // for the address
		{"address", "a.test", trusted, 200},
		{"host", "a.test", trusted, 200},
		{"host", "b.test", trusted, 502},
		{"none", "a.test", x509.NewCertPool(), 502},
	} {
		target := newStub(t, &tls.Config{Certificates: []tls.Certificate{cert}}, ok)
		cfg := plain(target.addr)
		cfg.TargetGroups[0].Protocol = "HTTPS"
		func() {
			defer delete(profiles, "test")
			cfg.Profile = withKnobs(t, func(p *Profile) { p.BackendSNI, p.BackendVerify = c.sni, "verify" })
			m := start(t, cfg, Options{TargetRoots: c.roots})
			if status, head, _ := m.request("GET / HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n"); status != c.want {
				t.Errorf("%s, %s: got %q, want %d", c.sni, c.host, head, c.want)
			}
		}()
	}
}

func TestBackendSNICanBeTheTargetsName(t *testing.T) {
	for address, want := range map[string]string{"a.test:443": "a.test", "127.0.0.1:443": "", "[::1]:443": ""} {
		p := Profile{TLSKnobs: TLSKnobs{BackendSNI: "address"}}
		if got := p.targetName("host.test", address); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}
