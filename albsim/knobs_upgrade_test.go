package albsim

import (
	"strings"
	"testing"
)

const soundKey = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

// TestUpgradeKnobs sends a request and says what becomes of it: a status of the balancer's, or what the target gets of Upgrade.
func TestUpgradeKnobs(t *testing.T) {
	const conn = "Connection: Upgrade\r\n"
	post := "POST / HTTP/1.1\r\nHost: a\r\n" + conn + "Upgrade: alpn\r\nContent-Length: 0\r\n\r\n"
	for _, c := range []struct {
		name    string
		set     func(p *Profile)
		request string
		status  int    // 200 is the target's
		upgrade string // as it gets there
		named   bool   // with Connection
	}{
		{"connection required, absent", func(p *Profile) { p.ConnectionRequired = true }, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", 200, "", false},
		{
			"connection required, absent, refusing", func(p *Profile) { p.ConnectionRequired, p.UpgradeTokens, p.RefusedUpgrade = true, []string{"x"}, 403 },
			"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", 200, "", false,
		},
		{"connection required, there", func(p *Profile) { p.ConnectionRequired = true }, upgradeRequest("websocket"), 200, "websocket", true},
		{"method", func(p *Profile) { p.UpgradeMethods = []string{"GET"} }, post, 200, "", false},
		{"method, refused", func(p *Profile) { p.UpgradeMethods, p.RefusedUpgrade = []string{"GET"}, 405 }, post, 405, "", false},
		{"method, right", func(p *Profile) { p.UpgradeMethods = []string{"GET"} }, upgradeRequest("alpn"), 200, "alpn", false},
		{"list, all", func(*Profile) {}, upgradeRequest("alpn, websocket"), 200, "alpn, websocket", true},
		{"list, first", func(p *Profile) { p.UpgradeList = "first" }, upgradeRequest("alpn, websocket"), 200, "alpn", false},
		{"list, first, two fields", func(p *Profile) { p.UpgradeList = "first" }, upgradeRequest("websocket", "Upgrade: alpn\r\n"), 200, "websocket", true},
		{
			"list, first field", func(p *Profile) { p.UpgradeList = "first-field" }, upgradeRequest("alpn, other", "Upgrade: websocket\r\n"),
			200, "alpn, other", false,
		},
		{"connection added", func(p *Profile) { p.AddConnection, p.StripConnectionForCustom = true, false }, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: alpn\r\n\r\n", 200, "alpn", true},
		{"no upgrade, no connection added", func(p *Profile) { p.AddConnection = true }, plainGet, 200, "", false},
		{"list, refused", func(p *Profile) { p.UpgradeList, p.RefusedUpgrade = "refuse", 403 }, upgradeRequest("websocket, alpn"), 403, "", false},
		{"list, refused, two fields", func(p *Profile) { p.UpgradeList, p.RefusedUpgrade = "refuse", 403 }, upgradeRequest("websocket", "Upgrade: alpn\r\n"), 403, "", false},
		{"list, dropped", func(p *Profile) { p.UpgradeList = "refuse" }, upgradeRequest("websocket, alpn"), 200, "", false},
		{"body", func(p *Profile) { p.UpgradeWithBody, p.RefusedUpgrade = "refuse", 400 }, upgradeRequest("alpn", "Content-Length: 2\r\n") + "hi", 400, "", false},
		{"no body", func(p *Profile) { p.UpgradeWithBody, p.RefusedUpgrade = "refuse", 400 }, upgradeRequest("alpn"), 200, "alpn", false},
		{"not stripped", func(p *Profile) { p.StripConnectionForCustom = false }, upgradeRequest("alpn"), 200, "alpn", true},
		{"keys, none", func(p *Profile) { p.WebSocketKeys = "request" }, upgradeRequest("websocket"), 400, "", false},
		{"keys, short", func(p *Profile) { p.WebSocketKeys = "request" }, upgradeRequest("websocket", "Sec-WebSocket-Key: YQ==\r\nSec-WebSocket-Version: 13\r\n"), 400, "", false},
		{"keys, old", func(p *Profile) { p.WebSocketKeys = "request" }, upgradeRequest("websocket", strings.Replace(soundKey, "13", "8", 1)), 400, "", false},
		{"keys, sound", func(p *Profile) { p.WebSocketKeys = "request" }, upgradeRequest("websocket", soundKey), 200, "websocket", true},
		{"keys, another token", func(p *Profile) { p.WebSocketKeys = "request" }, upgradeRequest("alpn"), 200, "alpn", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := newStub(t, nil, ok)
			cfg := plain(target.addr)
			cfg.Profile = withKnobs(t, c.set)
			status, got, _ := start(t, cfg, Options{}).request(c.request)
			if status != c.status {
				t.Fatalf("got %q, want %d", got, c.status)
			}
			if status != 200 {
				if target.accepts.Load() > 0 {
					t.Error("the target was asked")
				}
				return
			}
			head := target.head(t)
			if fieldOf(head, "Upgrade") != c.upgrade || has(head, "Upgrade") != (c.upgrade != "") || has(head, "Connection") != c.named {
				t.Errorf("target got %q", head)
			}
		})
	}
}

func TestSwitchIsHeldAgainstTheRequest(t *testing.T) {
	const accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" // RFC 6455 section 1.3
	for _, c := range []struct {
		name    string
		set     func(p *Profile)
		token   string
		answer  string
		crosses bool
	}{
		{"another token", func(p *Profile) { p.MatchSwitchToken = true }, "alpn", "Upgrade: websocket\r\n", false},
		{"another spelling", func(p *Profile) { p.MatchSwitchToken = true }, "alpn", "Upgrade: ALPN\r\n", true},
		{"one of two tokens", func(p *Profile) { p.MatchSwitchToken = true }, "alpn, other", "Upgrade: alpn\r\n", false},
		{"no accept", func(p *Profile) { p.WebSocketKeys = "both" }, "websocket", "Upgrade: websocket\r\n", false},
		{"wrong accept", func(p *Profile) { p.WebSocketKeys = "both" }, "websocket", "Upgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n", false},
		{"accept", func(p *Profile) { p.WebSocketKeys = "both" }, "websocket", "Upgrade: websocket\r\n" + accept, true},
		{"any accept", func(p *Profile) { p.WebSocketKeys = "present" }, "websocket", "Upgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n", true},
		{"none of any", func(p *Profile) { p.WebSocketKeys = "present" }, "websocket", "Upgrade: websocket\r\n", false},
		{"accept not asked for", func(p *Profile) { p.WebSocketKeys = "request" }, "websocket", "Upgrade: websocket\r\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := newStub(t, nil, func(cl *client, _ string) {
				say(cl, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"+c.answer+"\r\n")
				echo(cl)
			})
			cfg := plain(target.addr)
			cfg.Profile = withKnobs(t, c.set)
			cl := start(t, cfg, Options{}).dial()
			cl.send(upgradeRequest(c.token, soundKey))
			head := cl.head()
			if crossed := strings.HasPrefix(head, "HTTP/1.1 101 "); crossed != c.crosses || !crossed && !strings.HasPrefix(head, "HTTP/1.1 502 ") {
				t.Errorf("got %q", head)
			}
		})
	}
}

func TestUpgradeResponseCanBeStripped(t *testing.T) {
	target := newStub(t, nil, switching("", echo))
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, func(p *Profile) { p.StripUpgradeResponse = true })
	c := start(t, cfg, Options{}).dial()
	c.send(upgradeRequest("alpn"))
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 101 ") || has(head, "Upgrade") || has(head, "Connection") {
		t.Errorf("got %q", head)
	}
	c.send("ping")
	c.expect("ping")
}

func TestALB_UPG_14_EarlyBytesCanBeTheNextRequest(t *testing.T) {
	ended := make(chan struct{})
	target := newStub(t, nil, func(c *client, head string) {
		if !has(head, "Upgrade") {
			ok(c, head)
			return
		}
		switching("", func(c *client) { rest(c); close(ended) })(c, head)
	})
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, func(p *Profile) { p.EarlyBytes = "request" })
	m := start(t, cfg, Options{})
	c := m.dial()
	c.send(upgradeRequest("alpn") + plainGet + "garbage\r\n\r\n")
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("got %q", head)
	}
	if status, _, _ := c.response(); status != 200 {
		t.Errorf("the request behind the upgrade: %d", status)
	}
	if status, _, _ := c.response(); status != 400 {
		t.Errorf("what is none: %d", status)
	}
	<-ended
}
