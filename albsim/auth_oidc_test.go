package albsim

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAuthenticateOIDCLogsAUserIn(t *testing.T) {
	p := newProvider(t)
	target := newStub(t, nil, ok)
	cfg, opt := p.config(target.addr, func(c *AuthenticateOIDC) {
		c.Scope, c.AuthenticationRequestExtraParams = "openid email", map[string]string{"prompt": "login", "client_id": "forged"}
	})
	m := start(t, cfg, opt)
	b := newBrowser(t)
	asked := "https://" + m.addr + "/a%20b?q=1&r"

	resp := b.get(asked)
	to, err := url.Parse(resp.location())
	if resp.StatusCode != 302 || err != nil || !strings.HasPrefix(to.String(), p.URL+"/authorize?") {
		t.Fatalf("%d %v %v", resp.StatusCode, to, err)
	}
	self := "https://" + m.addr + "/oauth2/idpresponse"
	for name, want := range map[string]string{
		"client_id": clientID, "redirect_uri": self, "response_type": "code", "scope": "openid email", "prompt": "login",
	} {
		if got := to.Query()[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	nonce := resp.cookies
	if len(nonce) != 1 || nonce[0].Name != "AWSALBAuthNonce" || len(nonce[0].Value) != 16 || !nonce[0].Secure || !nonce[0].HttpOnly || nonce[0].Path != "/" {
		t.Errorf("cookies %q", resp.Header["Set-Cookie"])
	}

	back := b.get(to.String()).location()
	resp = b.get(back)
	if got := resp.location(); resp.StatusCode != 302 || got != asked {
		t.Fatalf("%d to %q, want %q", resp.StatusCode, got, asked)
	}
	session := resp.cookies
	if len(session) != 1 || session[0].Name != "AWSELBAuthSessionCookie-0" || !session[0].Secure || !session[0].HttpOnly || session[0].Path != "/" ||
		time.Until(session[0].Expires) < 6*24*time.Hour || strings.Contains(resp.Header.Get("Set-Cookie"), "user@") {
		t.Errorf("cookies %q", resp.Header["Set-Cookie"])
	}
	form := p.forms[0]
	if len(p.forms) != 1 || form.Get("grant_type") != "authorization_code" || form.Get("code") != "code-1" || form.Get("redirect_uri") != self ||
		p.users[0] != url.QueryEscape(clientID)+" "+url.QueryEscape(clientSecret) {
		t.Errorf("the token endpoint got %v by %v", p.forms, p.users)
	}

	if resp := b.get(asked); resp.StatusCode != 200 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	head := target.head(t)
	if fieldOf(head, "x-amzn-oidc-accesstoken") != "access-1" || fieldOf(head, "x-amzn-oidc-identity") != "user-1" {
		t.Errorf("the target got %q", head)
	}
	checkUserData(t, m.Server, p, fieldOf(head, "x-amzn-oidc-data"))

	lines := m.logLines(3)
	for i, want := range [][3]string{{"302", "0", "authenticate"}, {"302", "-1", "authenticate"}, {"200", "0", "authenticate,forward"}} {
		line := quoted(lines[i])
		if got := [3]string{line[logStatus], line[logPriority], line[logActions]}; got != want || line[logReason] != "-" {
			t.Errorf("line %d is %q, want %q", i, line, want)
		}
	}
	m.counted(map[string]int64{"ELBAuthSuccess": 1, "ELBAuthFailure": 0, "ELBAuthError": 0, "HTTPCode_ELB_3XX_Count": 2, "RequestCount": 1})
}

// checkUserData verifies x-amzn-oidc-data as AWS's guide has targets do it.
func checkUserData(t *testing.T, s *Server, p *provider, data string) {
	t.Helper()
	parts := strings.Split(data, ".")
	if len(parts) != 3 {
		t.Fatalf("x-amzn-oidc-data is %q", data)
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = base64.URLEncoding.DecodeString(part); err != nil { // with padding: D
			t.Fatal(err)
		}
	}
	var header struct {
		Alg, Kid, Signer, Iss, Client string
		Exp                           int64
	}
	if err := json.Unmarshal(raw[0], &header); err != nil {
		t.Fatal(err)
	}
	if header.Alg != "ES256" || header.Iss != p.URL || header.Client != clientID || header.Exp <= time.Now().Unix() ||
		!strings.HasPrefix(header.Signer, "arn:aws:elasticloadbalancing:") {
		t.Errorf("header %+v", header)
	}
	if string(raw[1]) != `{"email":"user@example.test","sub":"user-1"}` {
		t.Errorf("claims %s", raw[1])
	}
	text, found := s.PublicKey(header.Kid)
	block, _ := pem.Decode(text)
	if !found || block == nil {
		t.Fatalf("no public key %q", header.Kid)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	public, isEC := key.(*ecdsa.PublicKey)
	if !isEC || len(raw[2]) != 64 || !ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(raw[2][:32]), new(big.Int).SetBytes(raw[2][32:])) {
		t.Error("the signature is not by that key")
	}
	if _, found := s.PublicKey("another"); found {
		t.Error("any key is found")
	}
}

func TestUnauthenticatedRequestsAreDeniedOrAllowed(t *testing.T) {
	p := newProvider(t)
	target := newStub(t, nil, ok)
	cfg, opt := p.config(target.addr, func(c *AuthenticateOIDC) { c.OnUnauthenticatedRequest = "deny" })
	m := start(t, cfg, opt)
	if status, _, body := m.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); status != 401 || !strings.Contains(body, "401 Authorization Required") {
		t.Errorf("deny: status %d, %q", status, body)
	}
	if line := quoted(m.logLines(1)[0]); line[logActions] != "authenticate" || line[logReason] != "-" {
		t.Errorf("deny: logged %q", line)
	}
	m.counted(map[string]int64{"ELBAuthFailure": 0, "HTTPCode_ELB_4XX_Count": 1})

	cfg, opt = p.config(target.addr, func(c *AuthenticateOIDC) { c.OnUnauthenticatedRequest = "allow" })
	m = start(t, cfg, opt)
	forged := "X-Amzn-Oidc-Identity: admin\r\n folded\r\nx-amzn-oidc-data: a.b.c\r\nX-Other: 1\r\n"
	for name, cookie := range map[string]string{"no cookie": "", "a bad cookie": "Cookie: AWSELBAuthSessionCookie-0=bad\r\n"} {
		if status, _, _ := m.ask("GET / HTTP/1.1\r\nHost: a\r\n" + cookie + forged + "\r\n"); status != 200 {
			t.Errorf("allow with %s: status %d", name, status)
		}
		if head := target.head(t); strings.Contains(strings.ToLower(head), "oidc") || strings.Contains(head, "folded") || !has(head, "X-Other") {
			t.Errorf("allow with %s: the target got %q", name, head)
		}
	}
}

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
		if logged := quoted(m.logLines(2 * (i + 1))[2*i+1]); logged[logStatus] != c.status || logged[logActions] != "authenticate" || logged[logReason] != c.reason || logged[logPriority] != "-1" {
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
			if line := quoted(m.logLines(2)[1]); line[logReason] != c.reason || line[logActions] != "authenticate" {
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

func TestSessionsEndAndBadOnesAre401(t *testing.T) {
	p := newProvider(t)
	target := newStub(t, nil, ok)
	cfg, opt := p.config(target.addr, func(c *AuthenticateOIDC) { c.SessionTimeout = 1 })
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
		t.Errorf("a session of a second gave %v", statuses)
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
	cfg.Listeners[0].Attributes = map[string]any{"routing.http.response.x_frame_options.header_value": "DENY"}
	opt.TimeScale = 0.5
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

func TestAuthenticateInARuleLeavesTheOthersAlone(t *testing.T) {
	p := newProvider(t)
	target := newStub(t, nil, ok)
	cfg, opt := p.config(target.addr, nil)
	l := &cfg.Listeners[0]
	l.Rules = []Rule{{Priority: 5, Conditions: onPath("/private/*"), Actions: l.Default.Actions, Transforms: []Transform{urlRewrite("^/private", "")}}}
	l.Default = Default{Actions: []Action{{Type: "fixed-response", StatusCode: 404}}}
	m := start(t, cfg, opt)
	b := newBrowser(t)
	if resp := b.follow("https://" + m.addr + "/private/x"); resp.StatusCode != 200 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	head := target.head(t)
	if line, _, _ := strings.Cut(head, "\r\n"); line != "GET /x HTTP/1.1" || fieldOf(head, "x-amzn-oidc-identity") != "user-1" {
		t.Errorf("the target got %q", head)
	}
	if resp := b.get("https://" + m.addr + "/public"); resp.StatusCode != 404 {
		t.Errorf("another path: status %d", resp.StatusCode)
	}
	plain := start(t, secure(t, target.addr), Options{})
	if resp := b.get("https://" + plain.addr + "/oauth2/idpresponse"); resp.StatusCode != 200 {
		t.Errorf("the path on a listener without authentication: status %d", resp.StatusCode)
	}
}

func TestAuthenticateOverH2(t *testing.T) {
	p := newProvider(t)
	cfg, opt := p.config(newStub(t, nil, ok).addr, nil)
	m := start(t, cfg, opt)
	resp, err := h2Transport(t).RoundTrip(httpRequest(t, "https://"+m.addr+"/x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	to, err := resp.Location()
	if err != nil || resp.StatusCode != 302 || to.Query().Get("redirect_uri") != "https://"+m.addr+"/oauth2/idpresponse" || len(resp.Cookies()) != 1 {
		t.Errorf("%d %v %q", resp.StatusCode, to, resp.Header)
	}
}

func TestAuthenticateCognitoIsTheSameByItsNames(t *testing.T) {
	p := newProvider(t)
	p.idToken = func(c map[string]any) { c["iss"] = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Pool" }
	target := newStub(t, nil, ok)
	cfg := secure(t, target.addr)
	c := &AuthenticateCognito{
		UserPoolARN: "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_Pool", UserPoolClientID: clientID,
		UserPoolDomain: strings.TrimPrefix(p.URL, "https://"), ClientSecret: clientSecret,
	}
	cfg.Listeners[0].Default = Default{Actions: []Action{{Type: "authenticate-cognito", AuthenticateCognitoConfig: c}, {Type: "forward", TargetGroup: "t"}}}
	m := start(t, cfg, Options{IdentityRoots: p.roots()})
	if resp := newBrowser(t).follow("https://" + m.addr + "/"); resp.StatusCode != 200 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	if head := target.head(t); fieldOf(head, "x-amzn-oidc-identity") != "user-1" {
		t.Errorf("the target got %q", head)
	}

	c.UserPoolDomain = "my-pool"
	m = start(t, cfg, Options{})
	conn, _ := m.dialTLS(&tls.Config{})
	conn.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, head, _ := conn.response(); !strings.HasPrefix(fieldOf(head, "Location"), "https://my-pool.auth.eu-west-1.amazoncognito.com/oauth2/authorize?") {
		t.Errorf("a prefix leads to %q", head)
	}
}

func TestAuthenticateIsChecked(t *testing.T) {
	forward := Action{Type: "forward", TargetGroup: "t"}
	good := func() *AuthenticateOIDC {
		return &AuthenticateOIDC{
			Issuer: "https://i", AuthorizationEndpoint: "https://i/a", TokenEndpoint: "https://i/t", UserInfoEndpoint: "https://i/u",
			ClientID: "c", ClientSecret: "s",
		}
	}
	oidc := func(edit func(c *AuthenticateOIDC)) []Action {
		c := good()
		edit(c)
		return []Action{{Type: "authenticate-oidc", AuthenticateOIDCConfig: c}, forward}
	}
	cognito := func(c AuthenticateCognito) []Action {
		return []Action{{Type: "authenticate-cognito", AuthenticateCognitoConfig: &c}, forward}
	}
	fine := oidc(func(*AuthenticateOIDC) {})
	params := map[string]string{}
	for i := range 11 {
		params[strings.Repeat("p", i+1)] = "v"
	}
	const arn = "arn:aws:cognito-idp:eu-west-1:1:userpool/p"
	for want, actions := range map[string][]Action{
		"authenticate_oidc_config: is needed":        {{Type: "authenticate-oidc"}, forward},
		"authenticate_cognito_config: is needed":     {{Type: "authenticate-cognito"}, forward},
		"authorization_endpoint: \"http://a\": must": oidc(func(c *AuthenticateOIDC) { c.AuthorizationEndpoint = "http://a" }),
		"token_endpoint: \"\": must":                 oidc(func(c *AuthenticateOIDC) { c.TokenEndpoint = "" }),
		"user_info_endpoint: \"https://\": must":     oidc(func(c *AuthenticateOIDC) { c.UserInfoEndpoint = "https://" }),
		"issuer: \"i\": must":                        oidc(func(c *AuthenticateOIDC) { c.Issuer = "i" }),
		"client_id and client_secret":                oidc(func(c *AuthenticateOIDC) { c.ClientSecret = "" }),
		"on_unauthenticated_request":                 oidc(func(c *AuthenticateOIDC) { c.OnUnauthenticatedRequest = "redirect" }),
		"session_timeout":                            oidc(func(c *AuthenticateOIDC) { c.SessionTimeout = 604801 }),
		"session_cookie_name":                        oidc(func(c *AuthenticateOIDC) { c.SessionCookieName = "a b" }),
		"11, and at most 10":                         oidc(func(c *AuthenticateOIDC) { c.AuthenticationRequestExtraParams = params }),
		"with at most one of authenticate-oidc":      {fine[0], fine[0], forward},
		"must be the last action":                    {fine[0]},
		"user_pool_arn":                              cognito(AuthenticateCognito{UserPoolARN: "arn:aws:cognito-idp:eu-west-1:1:pool/p"}),
		"user_pool_domain: \"a/b\": must be":         cognito(AuthenticateCognito{UserPoolARN: arn, UserPoolDomain: "a/b"}),
		"user_pool_client_id and client_secret":      cognito(AuthenticateCognito{UserPoolARN: arn, UserPoolDomain: "a"}),
	} {
		cfg := secure(t, "127.0.0.1:1")
		cfg.Listeners[0].Default = Default{Actions: actions}
		if _, err := New(cfg, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	cfg := plain("127.0.0.1:1")
	cfg.Listeners[0].Default = Default{Actions: fine}
	if _, err := New(cfg, Options{}); err == nil || !strings.Contains(err.Error(), "authenticate-oidc needs an HTTPS listener") {
		t.Errorf("on an HTTP listener: %v", err)
	}
	cfg = secure(t, "127.0.0.1:1")
	cfg.Listeners[0].Default = Default{Actions: fine}
	s, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if shown := string(asJSON(t, s.Config())); !strings.Contains(shown, `"client_secret":"hidden"`) {
		t.Errorf("shown is %s", shown)
	}
}
