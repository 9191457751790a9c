package albsim

import (
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestTheCallbackIsJudged(t *testing.T) {
	p := newProvider(t)
	cfg, opt := p.config("127.0.0.1:1", nil)
	m := start(t, cfg, opt)
	other := start(t, cfg, opt) // another balancer, with keys of its own
	const nonce = "Cookie: AWSALBAuthNonce="
	for i, c := range []struct {
		name, status, reason string
		edit                 func(q url.Values, nonce string) (cookies string)
	}{
		{"no state", "401", "AuthMissingStateParam", func(q url.Values, n string) string { q.Del("state"); return nonce + n }},
		{"a state that is none", "401", "AuthInvalidStateParam", func(q url.Values, n string) string { q.Set("state", "!"); return nonce + n }},
		{"a forged state", "401", "AuthInvalidStateParam", func(q url.Values, n string) string { q.Set("state", "A"+q.Get("state")); return nonce + n }},
		{"a short state", "401", "AuthInvalidStateParam", func(q url.Values, n string) string { q.Set("state", "AAAA"); return nonce + n }},
		{"another's state", "401", "AuthInvalidStateParam", func(q url.Values, n string) string {
			there, err := url.Parse(newBrowser(t).atCallback("https://" + other.addr + "/"))
			if err != nil {
				t.Fatal(err)
			}
			q.Set("state", there.Query().Get("state"))
			return nonce + n
		}},
		{"no nonce", "401", "AuthMissingAWSALBAuthNonce", func(url.Values, string) string { return "X: y" }},
		{"another's nonce", "401", "AuthInvalidAWSALBAuthNonce", func(url.Values, string) string { return nonce + "AAAABBBBCCCCDDDD" }},
		{"no code", "401", "AuthMissingCodeParam", func(q url.Values, n string) string { q.Del("code"); return nonce + n }},
		{"access denied", "401", "-", func(q url.Values, n string) string { q.Set("error", "access_denied"); return nonce + n }},
		{"an error", "561", "-", func(q url.Values, n string) string { q.Set("error", "server_error"); return nonce + n }},
	} {
		b := newBrowser(t)
		first := b.get("https://" + m.addr + "/x")
		back := b.get(first.location()).location()
		u, err := url.Parse(back)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		line := c.edit(q, first.cookies[0].Value)
		_, head, _ := m.ask("GET /oauth2/idpresponse?" + q.Encode() + " HTTP/1.1\r\nHost: " + m.addr + "\r\n" + line + "\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 "+c.status+" ") || has(head, "Set-Cookie") || has(head, "Location") {
			t.Errorf("%s: %q", c.name, head)
		}
		if logged := m.callbacks(2 * (i + 1))[i]; logged[logStatus] != c.status || logged[logActions] != "authenticate" || logged[logReason] != c.reason || logged[logPriority] != "-1" {
			t.Errorf("%s: logged %q", c.name, logged)
		}
	}
	if len(p.forms) != 0 {
		t.Errorf("the token endpoint was asked: %v", p.forms)
	}
	m.counted(map[string]int64{"ELBAuthFailure": 10, "ELBAuthSuccess": 0})
}

func TestALogInHasAQuarterOfAnHour(t *testing.T) {
	p := newProvider(t)
	cfg, opt := p.config("127.0.0.1:1", nil)
	m := start(t, cfg, opt)
	var id string
	for id = range m.listeners[0].plan.signIns {
	}
	for i, c := range []struct {
		age            time.Duration
		status, reason string
	}{{14 * time.Minute, "302", "-"}, {15 * time.Minute, "401", "AuthInvalidStateParam"}} {
		state := b64(m.jar.seal("login", asJSON(t, loginState{time.Now().Add(-c.age), "nonce", "https://a/", id})))
		m.ask("GET /oauth2/idpresponse?code=c&state=" + state + " HTTP/1.1\r\nHost: " + m.addr + "\r\nCookie: AWSALBAuthNonce=nonce\r\n\r\n")
		if line := quoted(m.logLines(i + 1)[i]); line[logStatus] != c.status || line[logReason] != c.reason {
			t.Errorf("behind %v: logged %q", c.age, line)
		}
	}
}

func TestWhatTheProviderDoesWrong(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // net/http sees that a client has left only behind the body
		<-r.Context().Done()
	}
	over := func(path string, h http.HandlerFunc) func(*provider) {
		return func(p *provider) { p.override[path] = h }
	}
	id := func(edit func(map[string]any)) func(*provider) { return func(p *provider) { p.idToken = edit } }
	token := func(edit func(map[string]any)) func(*provider) { return func(p *provider) { p.token = edit } }
	for name, c := range map[string]struct {
		set            func(p *provider)
		status         int
		reason, metric string
	}{
		"token: no answer":            {over("/token", hang), 500, "AuthTokenEpRequestTimeout", "ELBAuthError"},
		"token: an error":             {over("/token", answer(401, `{"error":"invalid_client"}`)), 561, "AuthTokenEpRequestFailed", "ELBAuthError"},
		"token: a redirect":           {over("/token", answer(302, ``)), 561, "AuthTokenEpRequestFailed", "ELBAuthError"},
		"token: the code is used up":  {over("/token", answer(400, `{"error":"invalid_grant"}`)), 561, "AuthInvalidGrantError", "ELBAuthFailure"},
		"token: no JSON":              {over("/token", answer(200, `<html>`)), 401, "AuthInvalidTokenResponse", "ELBAuthFailure"},
		"token: too much":             {over("/token", answer(200, strings.Repeat(" ", 64<<10)+"{}")), 401, "AuthInvalidTokenResponse", "ELBAuthFailure"},
		"token: another type":         {token(func(a map[string]any) { a["token_type"] = "mac" }), 401, "AuthInvalidTokenResponse", "ELBAuthFailure"},
		"token: a line break":         {token(func(a map[string]any) { a["access_token"] = "a\r\nX: y" }), 401, "AuthInvalidTokenResponse", "ELBAuthFailure"},
		"token: no ID token":          {token(func(a map[string]any) { delete(a, "id_token") }), 401, "AuthInvalidTokenResponse", "ELBAuthFailure"},
		"ID token: no JWT":            {token(func(a map[string]any) { a["id_token"] = "a.b.c" }), 401, "AuthInvalidIdToken", "ELBAuthFailure"},
		"ID token: another issuer":    {id(func(c map[string]any) { c["iss"] = "https://other" }), 401, "AuthInvalidIdToken", "ELBAuthFailure"},
		"ID token: another's":         {id(func(c map[string]any) { c["aud"] = []string{"other"} }), 401, "AuthInvalidIdToken", "ELBAuthFailure"},
		"ID token: old":               {id(func(c map[string]any) { c["exp"] = 1 }), 401, "AuthInvalidIdToken", "ELBAuthFailure"},
		"ID token: a line break":      {id(func(c map[string]any) { c["sub"] = "a\nb" }), 401, "AuthInvalidIdToken", "ELBAuthFailure"},
		"user info: no answer":        {over("/userinfo", hang), 500, "AuthUserinfoEpRequestTimeout", "ELBAuthError"},
		"user info: an error":         {over("/userinfo", answer(403, `{}`)), 561, "AuthUserinfoEpRequestFailed", "ELBAuthError"},
		"user info: a list":           {over("/userinfo", answer(200, `[]`)), 401, "AuthInvalidUserinfoResponse", "ELBAuthFailure"},
		"user info: another subject":  {over("/userinfo", answer(200, `{"sub":"user-2"}`)), 401, "AuthInvalidUserinfoResponse", "ELBAuthFailure"},
		"user info: over 11K":         {func(p *provider) { p.userInfo["x"] = strings.Repeat("x", 11<<10) }, 500, "AuthUserinfoResponseSizeExceeded", "ELBAuthUserClaimsSizeExceeded"},
		"user info: over what's read": {func(p *provider) { p.userInfo["x"] = strings.Repeat("x", 65<<10) }, 500, "AuthUserinfoResponseSizeExceeded", "ELBAuthUserClaimsSizeExceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.set(func() { c.set(p) })
			cfg, opt := p.config("127.0.0.1:1", nil)
			if strings.HasSuffix(name, "no answer") {
				opt.TimeScale = 0.1 // 5 s become half a second
			}
			m := start(t, cfg, opt)
			resp := newBrowser(t).follow("https://" + m.addr + "/")
			if resp.StatusCode != c.status {
				t.Errorf("status %d, want %d", resp.StatusCode, c.status)
			}
			if line := m.callbacks(2)[0]; line[logReason] != c.reason || line[logActions] != "authenticate" {
				t.Errorf("logged %q, want %s", line, c.reason)
			}
			want := map[string]int64{"ELBAuthError": 0, "ELBAuthFailure": 0, "ELBAuthUserClaimsSizeExceeded": 0, "ELBAuthSuccess": 0}
			want[c.metric] = 1
			m.counted(want)
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		p := newProvider(t)
		cfg, _ := p.config("127.0.0.1:1", nil)
		m := start(t, cfg, Options{IdentityRoots: x509.NewCertPool()})
		if resp := newBrowser(t).follow("https://" + m.addr + "/"); resp.StatusCode != 500 {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

func TestAuthenticateNeedsAHost(t *testing.T) {
	p := newProvider(t)
	cfg, opt := p.config("127.0.0.1:1", nil)
	m := start(t, cfg, opt)
	if status, _, _ := m.ask("GET / HTTP/1.0\r\n\r\n"); status != 401 {
		t.Errorf("status %d", status)
	}
	if line := quoted(m.logLines(1)[0]); line[logReason] != "AuthMissingHostHeader" {
		t.Errorf("logged %q", line)
	}
	m.counted(map[string]int64{"ELBAuthError": 1})
	if status, _, _ := m.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n"); status != 302 {
		t.Errorf("with a host: status %d", status)
	}
}
