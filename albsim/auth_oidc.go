package albsim

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Authentication follows AWS's guide, page listener-authenticate-users (2023 at awsdocs@c9a99d2, and later as alb.md section 7 has it):
// no session cookie, and the user is sent to the identity provider; who comes back to /oauth2/idpresponse with a code gets the tokens
// and claims fetched for him, a session cookie, and is sent where he wanted to go. Later requests reach the target with the claims.
//
// AWS is silent, and it is assumed here, that the ID token's signature is not verified, since it came over TLS from the token endpoint
// (OpenID Connect Core 3.1.3.7 lets it be so, and there is no word for keys); that the client's secret goes by HTTP Basic; and that
// x-amzn-oidc-* of a client do not pass.

// oidc is an authenticate action. Two of the same provider, client and cookie share their sessions.
type oidc struct {
	id                             string
	issuer, tokenURL, userInfoURL  string
	authorize                      url.URL
	clientID, secret               string
	scope, cookie, unauthenticated string
	extra                          map[string]string
	timeout                        time.Duration
	key                            *dataKey
}

func (o *oidc) admit(ctx context.Context, x *exchange) bool {
	x.rec.did("authenticate")
	x.req.fields = withoutUser(x.req.fields)
	s, f := o.session(x)
	if s != nil && s.stale(time.Now()) {
		s = o.refresh(ctx, x, s)
	}
	switch {
	case s != nil:
		x.req.user = o.userFields(s, time.Now())
		return true
	case o.unauthenticated == "allow":
		return true
	case f != nil:
		x.s.count.auth.failed(f.reason)
		x.turnAway(f)
	case o.unauthenticated == "deny":
		x.turnAway(&authFault{401, "", nil})
	default:
		o.login(x)
	}
	return false
}

// withoutUser takes out what only an authentication may say; a folded line goes with its field.
func withoutUser(fields []field) []field {
	forged := false
	return slices.DeleteFunc(fields, func(f field) bool {
		if f.raw == "" {
			forged = strings.HasPrefix(strings.ToLower(f.name), "x-amzn-oidc-")
		}
		return forged
	})
}

func (p *plan) planOIDC(c AuthenticateOIDC, path string, faults *Faults) guard {
	o := p.planSession(c.AuthenticateSession, path, faults)
	o.issuer, o.tokenURL, o.userInfoURL = c.Issuer, c.TokenEndpoint, c.UserInfoEndpoint
	o.clientID, o.secret = c.ClientID, string(c.ClientSecret)
	for _, one := range []struct{ word, url string }{
		{"issuer", c.Issuer},
		{"authorization_endpoint", c.AuthorizationEndpoint},
		{"token_endpoint", c.TokenEndpoint},
		{"user_info_endpoint", c.UserInfoEndpoint},
	} {
		checkEndpoint(one.url, path+"."+one.word, faults)
	}
	if c.ClientID == "" || c.ClientSecret == "" {
		faults.add(path+".client_id", "client_id and client_secret are needed")
	}
	return o.named(c.AuthorizationEndpoint)
}

func (p *plan) planCognito(c AuthenticateCognito, path string, faults *Faults) guard {
	o := p.planSession(c.AuthenticateSession, path, faults)
	o.clientID, o.secret = c.UserPoolClientID, string(c.ClientSecret)
	arn := strings.Split(c.UserPoolARN, ":") // arn:aws:cognito-idp:region:account:userpool/pool
	pool, ok := strings.CutPrefix(arn[len(arn)-1], "userpool/")
	if len(arn) != 6 || arn[2] != "cognito-idp" || arn[3] == "" || !ok || pool == "" {
		faults.add(path+".user_pool_arn", "%q: must be arn:aws:cognito-idp:REGION:ACCOUNT:userpool/POOL", c.UserPoolARN)
		return nil
	}
	host := c.UserPoolDomain
	if !strings.Contains(host, ".") {
		host += ".auth." + arn[3] + ".amazoncognito.com"
	}
	checkEndpoint("https://"+host+"/oauth2/authorize", path+".user_pool_domain", faults)
	if c.UserPoolDomain == "" || strings.ContainsAny(c.UserPoolDomain, "/?#") {
		faults.add(path+".user_pool_domain", "%q: must be a prefix or a host", c.UserPoolDomain)
	}
	if c.UserPoolClientID == "" || c.ClientSecret == "" {
		faults.add(path+".user_pool_client_id", "user_pool_client_id and client_secret are needed")
	}
	o.issuer = "https://cognito-idp." + arn[3] + ".amazonaws.com/" + pool
	o.tokenURL, o.userInfoURL = "https://"+host+"/oauth2/token", "https://"+host+"/oauth2/userInfo"
	return o.named("https://" + host + "/oauth2/authorize")
}

func (p *plan) planSession(c AuthenticateSession, path string, faults *Faults) *oidc {
	if p.dataKey == nil {
		p.dataKey = newDataKey()
	}
	o := &oidc{
		scope: cmp.Or(c.Scope, "openid"), cookie: cmp.Or(c.SessionCookieName, "AWSELBAuthSessionCookie"), extra: c.AuthenticationRequestExtraParams,
		unauthenticated: cmp.Or(c.OnUnauthenticatedRequest, "authenticate"), key: p.dataKey,
		timeout: time.Duration(cmp.Or(c.SessionTimeout, 604800)) * time.Second,
	}
	if !slices.Contains([]string{"deny", "allow", "authenticate"}, o.unauthenticated) {
		faults.add(path+".on_unauthenticated_request", "%q: must be deny, allow or authenticate", o.unauthenticated)
	}
	if !validToken(o.cookie) {
		faults.add(path+".session_cookie_name", "%q: must be the name of a cookie", o.cookie)
	}
	if n := c.SessionTimeout; n < 0 || n > 604800 {
		faults.add(path+".session_timeout", "%d: must be from 1 to 604800", n)
	}
	if n := len(c.AuthenticationRequestExtraParams); n > 10 {
		faults.add(path+".authentication_request_extra_params", "%d, and at most 10 are taken", n)
	}
	return o
}

// named completes the action with where it sends users, which was checked, and its id.
func (o *oidc) named(authorize string) *oidc {
	if u, err := url.Parse(authorize); err == nil {
		o.authorize = *u
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{o.issuer, authorize, o.tokenURL, o.clientID, o.cookie}, "\n")))
	o.id = base64.RawURLEncoding.EncodeToString(sum[:12])
	return o
}
