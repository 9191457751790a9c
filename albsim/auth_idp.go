package albsim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxUser is what the claims and the access token may come to: D, "11K bytes", 500 by listener-authenticate-users (TRB has it under
// 401). What is read of an answer is bounded by maxAnswer.
const (
	maxUser   = 11 << 10
	maxAnswer = 64 << 10
)

// granted is what the token endpoint gives: RFC 6749 section 5.1 and OpenID Connect Core 3.1.3.3.
type granted struct {
	Access  string      `json:"access_token"`
	Kind    string      `json:"token_type"`
	ID      string      `json:"id_token"`
	Refresh string      `json:"refresh_token"`
	Seconds json.Number `json:"expires_in"`
}

// refresh is the session with claims and tokens fetched anew, or nil: then the user has to log in again (D).
func (o *oidc) refresh(ctx context.Context, x *exchange, old *session) *session {
	s, f := o.ask(ctx, x, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.Refresh}}, old)
	if f != nil {
		x.s.log.Debug("session not refreshed", "reason", f.reason, "err", f.err)
		return nil
	}
	if err := o.keep(x, s); err != nil {
		x.s.log.Debug("session not refreshed", "err", err)
		return nil
	}
	x.s.count.auth.refreshed.Add(1)
	return s
}

// ask has the provider grant tokens, and asks for the claims by them. old is the session that they are to go on with, or nil.
func (o *oidc) ask(ctx context.Context, x *exchange, form url.Values, old *session) (*session, *authFault) {
	begun := time.Now()
	defer func() { x.s.count.auth.latency.Add(int64(time.Since(begun))) }()
	g, f := o.grant(ctx, x.s, form)
	if f != nil {
		return nil, f
	}
	s := &session{Began: begun, Access: g.Access, Refresh: g.Refresh}
	switch {
	case old != nil: // without an ID token of its own, perhaps: Core 12.2
		s.Began, s.Subject = old.Began, old.Subject
		if s.Refresh == "" {
			s.Refresh = old.Refresh
		}
	case g.ID == "":
		return nil, &authFault{401, "AuthInvalidTokenResponse", errors.New("there is no ID token: is openid in the scope?")}
	default:
		var err error
		if s.Subject, err = o.subject(g.ID, begun); err != nil {
			return nil, &authFault{401, "AuthInvalidIdToken", err}
		}
	}
	if n, err := g.Seconds.Int64(); err == nil && n > 0 {
		s.Until = begun.Add(x.s.scaled(time.Duration(min(n, int64(forever/time.Second))) * time.Second))
	}
	if s.Claims, f = o.claims(ctx, x.s, s); f != nil {
		return nil, f
	}
	return s, nil
}

// grant asks the token endpoint. An endpoint that is not reached, or not in time, is 500 (D); one that answers with an error is 561 (D:
// "the IdP returned an error code when authenticating the user"); an answer that cannot be used is 401 (inferred from re:Post's causes).
func (o *oidc) grant(ctx context.Context, s *Server, form url.Values) (g granted, f *authFault) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return g, &authFault{500, "AuthUnhandledException", err}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	r.SetBasicAuth(url.QueryEscape(o.clientID), url.QueryEscape(o.secret)) // RFC 6749 section 2.3.1
	status, body, err := s.fetch(ctx, r, maxAnswer)
	if _, large := errors.AsType[*tooLargeError](err); err != nil && !large {
		return g, &authFault{500, "AuthTokenEpRequestTimeout", err}
	}
	switch {
	case status/100 != 2:
		var said struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(body, &said) == nil && said.Error == "invalid_grant" {
			return g, &authFault{561, "AuthInvalidGrantError", nil}
		}
		return g, &authFault{561, "AuthTokenEpRequestFailed", fmt.Errorf("status %d: %.100q", status, said.Error)}
	case err == nil:
		err = json.Unmarshal(body, &g)
	}
	if err != nil || !visible(g.Access) || g.Kind != "" && !strings.EqualFold(g.Kind, "Bearer") {
		return g, &authFault{401, "AuthInvalidTokenResponse", err}
	}
	return g, nil
}

// subject judges an ID token but for its signature: OpenID Connect Core 3.1.3.7.
func (o *oidc) subject(raw string, now time.Time) (string, error) {
	t, err := parseToken(raw)
	if err != nil {
		return "", err
	}
	audience, ok := claimed(t.claims["aud"], "string-array")
	if !ok {
		audience, _ = claimed(t.claims["aud"], "single-string")
	}
	subject, _ := t.claims["sub"].(string)
	until, _, ok := t.seconds("exp")
	switch {
	case t.claims["iss"] != o.issuer:
		return "", fmt.Errorf("the issuer is %.100v, want %s", t.claims["iss"], o.issuer)
	case !slices.Contains(audience, o.clientID):
		return "", fmt.Errorf("%s is not in the audience", o.clientID)
	case !ok || until <= float64(now.Unix()):
		return "", errors.New("it has expired")
	case !visible(subject):
		return "", errors.New("there is no subject that a field could hold")
	}
	return subject, nil
}

// claims asks the user info endpoint.
func (o *oidc) claims(ctx context.Context, s *Server, of *session) (json.RawMessage, *authFault) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.userInfoURL, nil)
	if err != nil {
		return nil, &authFault{500, "AuthUnhandledException", err}
	}
	r.Header.Set("Authorization", "Bearer "+of.Access)
	r.Header.Set("Accept", "application/json")
	status, body, err := s.fetch(ctx, r, maxAnswer)
	_, large := errors.AsType[*tooLargeError](err)
	switch {
	case err != nil && !large:
		return nil, &authFault{500, "AuthUserinfoEpRequestTimeout", err}
	case status/100 != 2:
		return nil, &authFault{561, "AuthUserinfoEpRequestFailed", fmt.Errorf("status %d", status)}
	case large:
		return nil, &authFault{500, "AuthUserinfoResponseSizeExceeded", err}
	}
	var said struct {
		Subject string `json:"sub"`
	}
	var compact bytes.Buffer
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, &authFault{401, "AuthInvalidUserinfoResponse", err}
	}
	if err := json.Compact(&compact, body); err != nil || said.Subject != of.Subject { // Core 5.3.2: the subjects must be the same
		return nil, &authFault{401, "AuthInvalidUserinfoResponse", err}
	}
	if compact.Len()+len(of.Access) > maxUser {
		return nil, &authFault{500, "AuthUserinfoResponseSizeExceeded", nil}
	}
	return compact.Bytes(), nil
}

// visible tells whether a text may stand in a header field as it is.
func visible(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f })
}
