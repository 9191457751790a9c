package albsim

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
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

	got := map[[3]string]int{}
	for _, fields := range m.logLines(3) {
		line := quoted(fields)
		if got[[3]string{line[logStatus], line[logPriority], line[logActions]}]++; line[logReason] != "-" {
			t.Errorf("logged %q", line)
		}
	}
	if got[[3]string{"302", "0", "authenticate"}] != 1 || got[[3]string{"302", "-1", "authenticate"}] != 1 || got[[3]string{"200", "0", "authenticate,forward"}] != 1 {
		t.Errorf("logged %v", got)
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
