package albsim

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAccessLogNamesTheCertificateThatWasPresented(t *testing.T) {
	cfg := secure(t, newStub(t, nil, ok).addr)
	other := makeCert(t, nil, "other.example.test")
	cfg.Listeners[0].Certificates = append(cfg.Listeners[0].Certificates, other)
	m := start(t, cfg, Options{})
	arn := func(c Certificate) string {
		sum := sha256.Sum256(loadCert(t, c).Certificate[0])
		return fmt.Sprintf("arn:aws:acm:albsim:000000000000:certificate/%x", sum[:8])
	}
	client := &tls.Config{ServerName: "other.example.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i, c := range []struct {
		cfg  *tls.Config
		want string
	}{
		{&tls.Config{}, arn(cfg.Listeners[0].Certificates[0])}, {client, arn(other)}, {client, "session-reused"},
	} {
		cl, conn := m.dialTLS(c.cfg)
		cl.send(plainGet)
		cl.response()
		conn.Close()
		if line := strings.Join(m.logLines(i + 1)[i], " "); !strings.Contains(line, ` "`+c.want+`" `) {
			t.Errorf("connection %d: no %s in %s", i, c.want, line)
		}
	}
}

func TestAccessLogTimesAreOfTheTarget(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		<-time.After(30 * time.Millisecond)
		ok(c, head)
	})
	cfg := plain(target.addr)
	cfg.Listeners[0].Rules = []Rule{fixed(1, 404, Condition{Field: "path-pattern", Values: []string{"/fixed"}})}
	m := start(t, cfg, Options{})
	c := m.dial()
	c.send(plainGet)
	c.response()
	f := m.logLines(1)[0]
	for i, least := range map[int]float64{5: 0, 6: 0.030, 7: 0} {
		if got, err := strconv.ParseFloat(f[i], 64); err != nil || got < least || got > patience.Seconds() {
			t.Errorf("time %d is %s, want at least %.3f", i, f[i], least)
		}
	}
	c.send("GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n")
	c.response()
	if f := m.logLines(2)[1]; strings.Join(f[5:8], " ") != "-1 -1 -1" {
		t.Errorf("without a target the times are %q", f[5:8])
	}
}
