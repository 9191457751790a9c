package albsim

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// withKnobs registers a profile for one test.
func withKnobs(t *testing.T, edit func(*Profile)) string {
	p := derive(awsALB(), "test", "one test's")
	edit(&p)
	register(p)
	t.Cleanup(func() { delete(profiles, "test") })
	return "test"
}

func TestALB_UPG_14_EarlyBytesCanBeDiscarded(t *testing.T) {
	target := newStub(t, nil, switching("", echo))
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, func(p *Profile) { p.EarlyBytes = "discard" })
	c := start(t, cfg, Options{}).dial()
	c.send(upgradeRequest("alpn") + "early")
	c.head()
	c.send("late")
	c.expect("late")
}

func TestALB_UPG_15_HalfCloseCanCloseBoth(t *testing.T) {
	ended := make(chan error, 1)
	target := newStub(t, nil, switching("x", func(c *client) {
		_, err := c.br.ReadByte()
		ended <- err
		<-time.After(20 * time.Millisecond)
		say(c, "too late")
	}))
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, func(p *Profile) { p.HalfClose = "close-both" })
	c := start(t, cfg, Options{}).dial()
	c.send(upgradeRequest("alpn"))
	c.head()
	c.expect("x")
	shut(t, c.Conn.(*net.TCPConn))
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the target saw %v, want EOF", err)
	}
	if b, err := io.ReadAll(c.br); len(b) > 0 || err != nil {
		t.Errorf("the client got %q, %v; want the end", b, err)
	}
}

func TestIdleCutCanResetTheClient(t *testing.T) {
	target := newStub(t, nil, switching("x", func(c *client) { rest(c) }))
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, func(p *Profile) { p.TunnelIdleCloseClient = "rst" })
	cfg.Attributes["idle_timeout.timeout_seconds"] = 1
	c := start(t, cfg, tenth).dial()
	c.send(upgradeRequest("alpn"))
	c.head()
	c.expect("x")
	if _, err := c.br.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v, want a reset", err)
	}
}

func TestSwitchWithoutUpgradeCanPass(t *testing.T) {
	target := newStub(t, nil, switching("x", nil))
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, func(p *Profile) { p.SwitchWithoutUpgrade = "pass" })
	if status, head, _ := start(t, cfg, Options{}).request(plainGet); status != 101 {
		t.Errorf("got %q", head)
	}
}

func TestBackendSNICanBeTheHost(t *testing.T) {
	cert := loadCert(t, makeCert(t, nil, "target"))
	var hello HelloEvent
	target := newStub(t, &tls.Config{Certificates: []tls.Certificate{cert}}, ok)
	cfg := plain(target.addr)
	cfg.TargetGroups[0].Protocol = "HTTPS"
	cfg.Profile = withKnobs(t, func(p *Profile) { p.BackendSNI, p.BackendALPN = "host", []string{"http/1.1"} })
	m := start(t, cfg, Options{OnTargetHello: func(e HelloEvent) { hello = e }})
	m.request("GET / HTTP/1.1\r\nHost: a.test:80\r\n\r\n")
	if hello.SNI != "a.test" || len(hello.ALPN) != 1 {
		t.Errorf("the hook was told %+v", hello)
	}
}

func TestALB_UPG_13_PostUpgradeLosesConnectionAndTunnels(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		c.expect("body")
		switching("", echo)(c, head)
	})
	c := start(t, plain(target.addr), Options{}).dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 4\r\n\r\nbodytunnel")
	c.head()
	if head := target.head(t); !has(head, "Upgrade") || has(head, "Connection") {
		t.Errorf("target got %q", head)
	}
	c.expect("tunnel")
}

func TestALB_HDR_11_FoldedLineGetsAColon(t *testing.T) {
	target := newStub(t, nil, ok)
	head := ask(t, start(t, plain(target.addr), Options{}), target, "X-A: one", " two")
	if !strings.Contains(head, "\r\nX-A: one\r\n two:\r\n") {
		t.Errorf("target got %q", head)
	}
}

func TestALB_UPG_17_LogTypeOfOtherTunnels(t *testing.T) {
	for _, word := range []string{"ws", "http"} {
		t.Run(word, func(t *testing.T) {
			target := newStub(t, nil, switching("x", nil))
			cfg := plain(target.addr)
			cfg.Profile = withKnobs(t, func(p *Profile) { p.TunnelLogType = word })
			m := start(t, cfg, Options{})
			c := m.dial()
			c.send(upgradeRequest("alpn"))
			c.head()
			c.expect("x")
			c.Close()
			if f := m.logLines(1)[0]; f[0] != word || f[8] != "101" {
				t.Errorf("log %q, want type %s", f, word)
			}
		})
	}
}

func TestALB_MTLS_06_ConnectionLogNamesTheReason(t *testing.T) {
	at := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
	}
	trusted := makeCert(t, nil, "trusted")
	cfg := secure(t, "127.0.0.1:1")
	cfg.Logs.Connection = filepath.Join(t.TempDir(), "connection.log")
	cfg.Listeners[0].MutualAuthentication = MutualAuthentication{Mode: "verify", TrustStore: trusted.Cert}
	m := start(t, cfg, Options{})
	for _, one := range []struct {
		cert *Certificate
		want string
	}{
		{nil, "Failed:UnmappedConnectionError"},
		{new(makeCert(t, nil, "stranger")), "Failed:ClientCertUntrusted"},
		{new(makeCert(t, at(-2*time.Hour, -time.Hour), "expired")), "Failed:ClientCertExpired"},
		{new(makeCert(t, at(time.Hour, 2*time.Hour), "early")), "Failed:ClientCertNotYetValid"},
		{&trusted, "Success"},
	} {
		var certs []tls.Certificate
		if one.cert != nil {
			certs = append(certs, loadCert(t, *one.cert))
		}
		conn, err := tls.Dial("tcp", m.addr, &tls.Config{InsecureSkipVerify: true, Certificates: certs})
		if err == nil { // TLS 1.3: a refusal comes behind the handshake
			newClient(t, conn)
		}
		if got := verdict(t, cfg.Logs.Connection); got != one.want {
			t.Errorf("verdict %s, want %s", got, one.want)
		}
		if err := os.Truncate(cfg.Logs.Connection, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// verdict waits for the one line of a connection log.
func verdict(t *testing.T, path string) string {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for word := range strings.FieldsSeq(string(b)) {
			if word == "Success" || strings.HasPrefix(word, "Failed:") {
				return word
			}
		}
	}
	t.Fatal("the connection log has no verdict")
	return ""
}
