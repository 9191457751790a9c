package albsim

import (
	"crypto/tls"
	"strings"
	"testing"
)

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
