package albsim

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestASessionIsKeptInAsManyCookiesAsItTakes(t *testing.T) {
	p := newProvider(t)
	target := newStub(t, nil, ok)
	cfg, opt := p.config(target.addr, func(c *AuthenticateOIDC) { c.SessionCookieName = "mine" })
	m := start(t, cfg, opt)
	b := newBrowser(t)
	long := strings.Repeat("x", 9<<10)
	p.userInfo["long"] = long
	asked := "https://" + m.addr + "/"
	resp := b.get(b.atCallback(asked))
	var got []string
	for i, c := range resp.cookies {
		got = append(got, c.Name)
		if n := len(resp.Header["Set-Cookie"][i]); n > 4096 || i == 0 && n != 4096 {
			t.Errorf("%s has %d bytes", c.Name, n)
		}
	}
	if !slices.Equal(got, []string{"mine-0", "mine-1", "mine-2", "mine-3"}) {
		t.Fatalf("cookies %q", got)
	}
	if resp := b.get(asked); resp.StatusCode != 200 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	if data := strings.Split(fieldOf(target.head(t), "x-amzn-oidc-data"), "."); !strings.Contains(data[1], base64.URLEncoding.EncodeToString([]byte(strings.Repeat("x", 300)))) {
		t.Error("the long claim did not arrive")
	}

	// A shorter session takes back what the longer one had.
	p.set(func() { delete(p.userInfo, "long") })
	again := newBrowser(t)
	back := again.atCallback(asked)
	again.Jar.SetCookies(resp.at, resp.cookies)
	resp = again.get(back)
	var ended []string
	for _, c := range resp.cookies {
		if c.Value == "" && c.Expires.Before(time.Now()) {
			ended = append(ended, c.Name)
		}
	}
	if resp.StatusCode != 302 || !slices.Equal(ended, []string{"mine-1", "mine-2", "mine-3"}) {
		t.Errorf("status %d, cookies %q", resp.StatusCode, resp.Header["Set-Cookie"])
	}
	if resp := again.get(asked); resp.StatusCode != 200 {
		t.Errorf("with the shorter session: status %d", resp.StatusCode)
	}
}

func TestSessionsEndAndBadOnesAre401(t *testing.T) {
	p := newProvider(t)
	target := newStub(t, nil, ok)
	cfg, opt := p.config(target.addr, func(c *AuthenticateOIDC) { c.SessionTimeout = 2 })
	m := start(t, cfg, opt)
	b := newBrowser(t)
	asked := "https://" + m.addr + "/"
	session := b.get(b.atCallback(asked)).cookies[0]
	line := "Cookie: " + session.Name + "=" + session.Value + "\r\n"
	statuses := map[int]bool{}
	for deadline := time.Now().Add(patience); !statuses[302] && time.Now().Before(deadline); {
		status, _, _ := m.ask("GET / HTTP/1.1\r\nHost: " + m.addr + "\r\n" + line + "\r\n")
		if statuses[status] = true; status == 200 {
			target.head(t)
		}
	}
	if !statuses[200] || !statuses[302] || len(statuses) != 2 {
		t.Errorf("a session of two seconds gave %v", statuses)
	}

	m2 := start(t, cfg, opt) // with keys of its own
	for name, value := range map[string]string{"another balancer's": session.Value, "no base64": "!", "short": "AAAA"} {
		status, _, _ := m2.ask("GET / HTTP/1.1\r\nHost: a\r\nCookie: " + session.Name + "=" + value + "\r\n\r\n")
		if status != 401 {
			t.Errorf("%s: status %d", name, status)
		}
	}
	for _, line := range m2.logLines(3) {
		if got := quoted(line); got[logReason] != "AuthInvalidCookie" {
			t.Errorf("logged %q", got)
		}
	}
	m2.counted(map[string]int64{"ELBAuthFailure": 3})
}

func TestASessionIsRefreshedWithItsAccessToken(t *testing.T) {
	p := newProvider(t)
	target := newStub(t, nil, ok)
	cfg, opt := p.config(target.addr, nil)
	m := start(t, cfg, opt)
	p.token = func(a map[string]any) { a["refresh_token"], a["expires_in"] = "refresh-1", "1" }
	b := newBrowser(t)
	asked := "https://" + m.addr + "/"
	b.get(b.atCallback(asked))
	p.set(func() {
		p.userInfo["email"] = "new@example.test"
		p.token = func(a map[string]any) { a["access_token"] = "access-2"; delete(a, "id_token") }
	})
	refreshed := false
	for deadline := time.Now().Add(patience); !refreshed && time.Now().Before(deadline); {
		resp := b.get(asked)
		if resp.StatusCode != 200 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		head := target.head(t)
		if refreshed = fieldOf(head, "x-amzn-oidc-accesstoken") == "access-2"; refreshed != (len(resp.cookies) == 1) {
			t.Fatalf("the target got %q, the client %q", head, resp.Header["Set-Cookie"])
		}
	}
	if !refreshed {
		t.Fatal("the claims were never fetched anew")
	}
	if f := p.forms[len(p.forms)-1]; f.Get("grant_type") != "refresh_token" || f.Get("refresh_token") != "refresh-1" {
		t.Errorf("the token endpoint got %v", f)
	}
	if resp := b.get(asked); resp.StatusCode != 200 || fieldOf(target.head(t), "x-amzn-oidc-accesstoken") != "access-2" || len(resp.cookies) != 0 {
		t.Errorf("behind the refresh: status %d", resp.StatusCode)
	}
	m.counted(map[string]int64{"ELBAuthRefreshTokenSuccess": 1, "ELBAuthSuccess": 1})

	// A provider that refuses has the user log in again.
	p.set(func() { p.token = func(a map[string]any) { a["refresh_token"], a["expires_in"] = "refresh-2", 1 } })
	b = newBrowser(t)
	b.get(b.atCallback(asked))
	p.set(func() {
		p.override["/token"] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }
	})
	status := 200
	for deadline := time.Now().Add(patience); status == 200 && time.Now().Before(deadline); {
		if status = b.get(asked).StatusCode; status == 200 {
			target.head(t)
		}
	}
	if status != 302 {
		t.Errorf("status %d when the refresh fails", status)
	}
}
